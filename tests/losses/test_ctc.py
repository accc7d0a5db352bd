"""Connectionist temporal classification, against all paths counted one by one."""

from __future__ import annotations

import itertools

import pytest
import torch

from dltrain.data import IGNORED, Data, InputSpec, Samples, Task
from dltrain.errors import ConfigError
from dltrain.losses.ctc import labels_of, steps_needed
from dltrain.metrics import Metrics, check_monitor

NONE = IGNORED
TASK = Task("sequence_labels", InputSpec((5,), "int64", 12), 3, per_step=True)


def spelled(path: tuple[int, ...], blank: int) -> list[int]:
    """Returns what a path of a class a step spells: equal neighbours are one label, and blanks are none."""
    return [label for label, _ in itertools.groupby(path) if label != blank]


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("targets", [[1, NONE, 1, NONE, NONE], [NONE, 1, 0, NONE, 2], [NONE, NONE, 2, 1, NONE]])
def test_the_loss_is_minus_the_logarithm_of_all_paths_that_spell_the_labels(build, blank, targets):
    outputs = torch.randn(1, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chances = outputs[0].softmax(dim=1)
    labels = [target for target in targets if target not in (NONE, blank)]
    paths = [path for path in itertools.product(range(3), repeat=5) if spelled(path, blank) == labels]
    total = sum(torch.stack([chances[step, label] for step, label in enumerate(path)]).prod() for path in paths)
    value = build("ctc", TASK, blank=blank)(outputs, torch.tensor([targets]))
    count = sum(target != NONE for target in targets)
    torch.testing.assert_close(value, -torch.log(torch.as_tensor(total)) / count)


def test_labels_are_the_targets_in_order_without_the_blanks():
    targets = torch.tensor([[NONE, 4, 0, 2, NONE], [NONE, NONE, NONE, NONE, NONE], [1, 1, 0, 1, 3]])
    labels, counts = labels_of(targets, blank=0)
    assert counts.tolist() == [2, 0, 4]
    assert labels[0, :2].tolist() == [4, 2] and labels[2, :4].tolist() == [1, 1, 1, 3]
    assert steps_needed(targets, blank=0).tolist() == [2, 0, 6]  # two pairs of equal neighbours take a blank each


def test_a_blank_that_is_no_class_is_refused(build):
    with pytest.raises(ConfigError) as caught:
        build("ctc", TASK, blank=3)
    assert str(caught.value) == "loss.blank = 3: the data has 3 classes, counted from 0"


def data(*targets: list[int]) -> Data:
    part = Samples(torch.zeros(len(targets), 5, dtype=torch.int64), torch.tensor(targets))
    return Data(TASK, train=part, validation=part, test=None)


SHORT, LONG = [1, NONE, 1, NONE, NONE], [1, 1, 2, 2, NONE]
TOO_LONG = (
    "has more labels than its 5 steps can spell (sample {} takes 6: a step for each label, and one between equal "
    "ones). {}For a label of each step choose loss=cross_entropy"
)


def test_texts_that_the_steps_cannot_spell_are_refused_or_left_out(build):
    loss = build("ctc", TASK)
    loss.check_data(data(SHORT, SHORT))
    with pytest.raises(ConfigError) as caught:
        loss.check_data(data(SHORT, LONG))
    mend = "Set loss.zero_infinity=true to leave such samples out. "
    assert str(caught.value) == "loss.name = 'ctc': sample 2 of train " + TOO_LONG.format(2, mend)
    loss = build("ctc", TASK, zero_infinity=True)
    loss.check_data(data(SHORT, LONG))
    outputs = torch.randn(2, 5, 3, requires_grad=True)
    value = loss(outputs, torch.tensor([SHORT, LONG]))
    value.backward()
    alone = loss(outputs[:1], torch.tensor([SHORT]))
    torch.testing.assert_close(value * 6, alone * 2)  # six steps have a target, and two of them count
    assert outputs.grad[0].any() and not outputs.grad[1].any()


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_data_of_which_nothing_would_be_left_is_refused_in_any_case(build, zero_infinity):
    with pytest.raises(ConfigError) as caught:
        build("ctc", TASK, zero_infinity=zero_infinity).check_data(data(LONG, LONG))
    assert str(caught.value) == "loss.name = 'ctc': every sample of train " + TOO_LONG.format(1, "")


def test_a_model_learns_to_spell_where_no_step_is_told(build):
    """Each token from 1 to 3 is a label, others are noise; the targets are the labels, all at the first steps."""
    generator = torch.Generator().manual_seed(0)
    task = Task("sequence_labels", InputSpec((8,), "int64", 8), 4, per_step=True)
    inputs = torch.randint(4, 8, (64, 8), generator=generator)
    targets = torch.full((64, 8), NONE)
    for row in range(64):
        places = torch.randperm(4, generator=generator)[:3].sort().values * 2  # never side by side
        inputs[row, places] = targets[row, :3] = torch.randint(1, 4, (3,), generator=generator)
    loss, table = build("ctc", task), torch.zeros(8, 4, requires_grad=True)
    optimizer = torch.optim.Adam([table], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(table[inputs], targets)
        value.backward()
        optimizer.step()
    paths = table[inputs].argmax(dim=2).tolist()
    assert [spelled(tuple(path), 0) for path in paths] == targets[:, :3].tolist()


def test_figures_that_compare_step_with_step_are_not_there(build):
    loss = build("ctc", TASK)
    metrics = Metrics(TASK, loss, evaluating=True)
    outputs, targets = torch.randn(2, 5, 3), torch.tensor([SHORT, [1, 2, NONE, NONE, NONE]])
    metrics.update(loss(outputs, targets), outputs, targets)
    assert list(metrics.compute()) == ["loss"] and metrics.confusion is None
    check_monitor("callbacks.checkpoint.monitor", "val/loss", TASK, loss)
    with pytest.raises(ConfigError, match=r"^callbacks\.checkpoint\.monitor = 'val/accuracy': this run logs no such"):
        check_monitor("callbacks.checkpoint.monitor", "val/accuracy", TASK, loss)
