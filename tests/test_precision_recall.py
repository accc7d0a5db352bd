"""Counts on the device, compared with TensorBoard's own and with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_score, recall_score
from torch.utils.tensorboard.summary import compute_curve

from dltrain.data import IGNORED, InputSpec, Task
from dltrain.precision_recall import NUM_THRESHOLDS, CurveCounts, curve_names

CPU = torch.device("cpu")


def task(kind: str, size: int, names: tuple[str, ...] = (), per_step: bool = False) -> Task:
    return Task(kind, InputSpec((3,)), size, names, per_step)


def counted(own: Task, outputs: torch.Tensor, targets: torch.Tensor, most: int = 20, batch: int = 7):
    counts = CurveCounts(own, most, CPU)
    for part in zip(outputs.split(batch), targets.split(batch), strict=True):
        counts.update(*part)
    return counts.curves()


def expected(chances: torch.Tensor, is_there: torch.Tensor) -> np.ndarray:
    """Returns what TensorBoard counts of one class: true positives and false positives."""
    return compute_curve(is_there.numpy(), chances.numpy(), num_thresholds=NUM_THRESHOLDS)[:2]


def assert_curve(hits: torch.Tensor, alarms: torch.Tensor, chances: torch.Tensor, is_there: torch.Tensor) -> None:
    assert (np.stack([hits.numpy(), alarms.numpy()]) == expected(chances, is_there)).all()


def random(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("count", [1, 500])
def test_binary_is_one_curve(count):
    outputs, targets = random(count, 1), (random(count, 1, 1)[:, 0] > 0).float()
    hits, alarms = counted(task("binary", 1), outputs, targets)
    assert hits.shape == alarms.shape == (1, NUM_THRESHOLDS)
    assert_curve(hits[0], alarms[0], outputs.sigmoid()[:, 0], targets[:, 0])


def test_labels_have_a_curve_each_and_one_together():
    outputs, targets = random(200, 4), (random(200, 4, 1)[..., 0] > 0).float()
    hits, alarms = counted(task("multilabel", 4), outputs, targets)
    assert len(hits) == 5
    for label in range(4):
        assert_curve(hits[label], alarms[label], outputs.sigmoid()[:, label], targets[:, label])
    assert_curve(hits[4], alarms[4], outputs.sigmoid().flatten(), targets.flatten())


@pytest.mark.parametrize("most", [1, 3, 5, 20])
def test_of_many_classes_the_first_have_a_curve_and_all_are_in_the_last(most):
    outputs = random(300, 5)
    targets = torch.arange(300) % 5
    hits, alarms = counted(task("multiclass", 5), outputs, targets, most)
    own = min(5, most)
    assert len(hits) == own + 1 == len(list(curve_names(task("multiclass", 5), most)))
    chances, is_there = outputs.softmax(dim=1), torch.nn.functional.one_hot(targets, 5)
    for label in range(own):
        assert_curve(hits[label], alarms[label], chances[:, label], is_there[:, label])
    assert_curve(hits[own], alarms[own], chances.flatten(), is_there.flatten())
    assert hits[own, 0] == 300 and alarms[own, 0] == 1200  # all, at the threshold 0


def test_steps_without_a_target_do_not_count():
    outputs, targets = random(10, 6, 3), torch.arange(60).reshape(10, 6) % 3
    targets[:, 4:] = IGNORED
    hits, alarms = counted(task("sequence_labels", 3, per_step=True), outputs, targets)
    chances = outputs[:, :4].flatten(0, 1).softmax(dim=1)
    for label in range(3):
        assert_curve(hits[label], alarms[label], chances[:, label], (targets[:, :4].flatten() == label).long())
    assert hits[3, 0] + alarms[3, 0] == 40 * 3


def test_shares_of_classes_count_as_the_larger_one():
    outputs, shares = random(50, 3), random(50, 3, 1)[..., 0].softmax(dim=1)
    mixed = counted(task("multiclass", 3), outputs, shares)
    plain = counted(task("multiclass", 3), outputs, shares.argmax(dim=1))
    assert all(torch.equal(*pair) for pair in zip(mixed, plain, strict=True))


def test_the_figures_are_those_of_scikit_learn():
    outputs, targets = random(400, 1), (random(400, 1, 1)[:, 0] > 0.3).float()
    hits, alarms = counted(task("binary", 1), outputs, targets)
    chances = outputs.sigmoid()[:, 0].numpy()
    for place in (20, 63, 100):
        said = chances * (NUM_THRESHOLDS - 1) >= place
        precision = hits[0, place] / (hits[0, place] + alarms[0, place])
        assert float(precision) == pytest.approx(precision_score(targets[:, 0], said), abs=1e-6)
        assert float(hits[0, place] / hits[0, 0]) == pytest.approx(recall_score(targets[:, 0], said), abs=1e-6)


def test_what_is_kept_does_not_grow():
    counts = CurveCounts(task("multiclass", 1000), 20, CPU)
    kept = counts._counts.data_ptr()
    for _ in range(3):
        counts.update(random(64, 1000), torch.arange(64))
    assert counts._counts.data_ptr() == kept and counts._counts.numel() == 21 * NUM_THRESHOLDS * 2 + 1


def test_outputs_that_are_no_numbers_count_as_the_least_likely():
    outputs = torch.tensor([[float("nan")], [9.0]])
    hits, alarms = counted(task("binary", 1), outputs, torch.tensor([[1.0], [1.0]]))
    assert hits[0, 0] == 2 and hits[0, 1] == 1 and not alarms.any()


@pytest.mark.parametrize(
    ("own", "names"),
    [
        (task("binary", 1, ("아니요", "네")), ["네"]),
        (task("binary", 1), ["positive"]),
        (task("multiclass", 3, ("가", "나", "다")), ["가", "나", "all classes"]),
        (task("multiclass", 2, ("가", "가")), ["가", "가 (1)", "all classes"]),
        (task("multilabel", 2), ["0", "1", "all classes"]),
        (task("multiclass", 2, ("all classes", "b")), ["all classes", "b", "all classes together"]),
    ],
)
def test_names(own, names):
    assert list(curve_names(own, 2)) == names
