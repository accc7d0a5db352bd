"""What is told of the draws is what the metrics of a training say of the same samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluations import SIZE, TASKS, samples

from dltrain.data import Samples
from dltrain.evaluate import evaluate
from dltrain.evaluation import bootstrap, decisions, gathering, telling
from dltrain.evaluation.gathering import Gatherer
from dltrain.evaluation.telling import Teller
from dltrain.metrics import Metrics

# What only an evaluation tells.
MORE = ("median_absolute_error", "label_error_rate")


def gathered(parts):
    split = parts.split("validation")
    gatherer = Gatherer(parts.data.task, parts.loss, split.num_samples)
    metrics = Metrics(parts.data.task, parts.loss, evaluating=True)
    figures = evaluate(parts.model, split, parts.loss, metrics, observe=gatherer.add)
    return figures, gatherer.finished()


def told(found, resample):
    """Returns all figures, those of heads under their names."""
    figures = {}
    for head, one in found.items():
        own = Teller(one)(resample)
        figures |= {f"{head}/{name}" if head else name: values for name, values in own.items() if name not in MORE}
    return figures


def drawn(source: Samples, places) -> Samples:
    index = torch.from_numpy(places)
    targets = source.targets
    chosen = {n: t[index] for n, t in targets.items()} if isinstance(targets, dict) else targets[index]
    return Samples(source.inputs[index], chosen)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("batch_size", [1, 16, 1000])
def test_all_samples_have_the_figures_of_the_metrics(name, batch_size, parts_of):
    figures, found = gathered(parts_of(TASKS[name], batch_size=batch_size))
    assert {n: v[0] for n, v in told(found, bootstrap.once(SIZE)).items()} == pytest.approx(figures, rel=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_each_draw_has_the_figures_of_its_samples(name, parts_of):
    task = TASKS[name]
    _, found = gathered(parts_of(task))
    (resample,) = bootstrap.draws(SIZE, 3, seed=0)
    values = told(found, resample)
    for row, places in enumerate(resample.places):
        expected, _ = gathered(parts_of(task, source=drawn(samples(task), places)))
        assert {n: v[row] for n, v in values.items()} == pytest.approx(expected, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "loss"),
    [("classes", "focal"), ("classes", "mse"), ("values", "huber"), ("binary", "hinge"), ("answers", "focal")],
)
def test_other_losses(name, loss, parts_of):
    figures, found = gathered(parts_of(TASKS[name], loss))
    assert told(found, bootstrap.once(SIZE))["loss"][0] == pytest.approx(figures["loss"], rel=1e-5)


def test_predictions_of_a_loss_with_a_link(parts_of):
    source = samples(TASKS["one value"])
    counts = Samples(source.inputs, source.targets.exp().round())
    figures, found = gathered(parts_of(TASKS["one value"], "poisson", source=counts))
    values = told(found, bootstrap.once(SIZE))
    assert {n: v[0] for n, v in values.items()} == pytest.approx(figures, rel=1e-5)


def test_targets_that_are_mixed_of_two_classes_count_as_the_larger(parts_of):
    source = samples(TASKS["classes"])
    shares = 0.7 * torch.nn.functional.one_hot(source.targets, 4).float()
    shares[:, 0] += 0.3
    figures, found = gathered(parts_of(TASKS["classes"], source=Samples(source.inputs, shares)))
    assert {n: v[0] for n, v in told(found, bootstrap.once(SIZE)).items()} == pytest.approx(figures, rel=1e-5)


def test_what_steps_spell(parts_of):
    outputs = torch.full((3, 4, 3), -9.0)
    for row, steps in enumerate([[1, 1, 0, 2], [0, 2, 2, 0], [1, 0, 1, 0]]):
        outputs[row, torch.arange(4), torch.tensor(steps)] = 9.0
    targets = torch.tensor([[1, 2, -100, -100], [1, 2, -100, -100], [1, 2, 1, -100]])
    task = TASKS["steps"].__class__("sequence_labels", TASKS["steps"].inputs, 3, per_step=True)
    parts = parts_of(task, "ctc", source=Samples(outputs, targets))
    figures, found = gathered(parts)
    own = found[""]
    assert own.sums["errors"].tolist() == [0, 1, 1] and own.sums["labels"].tolist() == [2, 2, 3]
    values = Teller(own).of_all()
    assert values["label_error_rate"] == pytest.approx(2 / 7)
    assert values["loss"] == pytest.approx(figures["loss"], rel=1e-5)


# --- bounded memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["classes", "steps", "labels", "values", "binary"])
def test_of_more_numbers_than_fit_those_of_every_so_many_samples_are_kept(name, parts_of, monkeypatch):
    whole = gathered(parts_of(TASKS[name]))[1][""]
    numbers = SIZE * TASKS[name].input.shape[0] * (TASKS[name].input.shape[1] if name == "steps" else 1)
    monkeypatch.setattr(gathering, "MOST_NUMBERS", numbers * (4 if name == "values" else 1) // 3)
    part = gathered(parts_of(TASKS[name]))[1][""]
    assert whole.every == 1 and part.every == 3
    if name == "values":
        assert (part.predictions == whole.predictions[::3]).all() and (part.targets == whole.targets[::3]).all()
    elif name == "steps":
        assert (part.scores == whole.scores[whole.owner % 3 == 0]).all()
    else:
        assert (part.scores == whole.scores[::3]).all()
    one, other = (told({"": found}, bootstrap.once(SIZE)) for found in (whole, part))
    assert set(one) - set(other) == {"binary": {"auroc"}, "values": {"r2"}}.get(name, set())
    assert {n: v[0] for n, v in other.items()} == pytest.approx({n: one[n][0] for n in other})


@pytest.mark.parametrize("name", ["next token", "stream", "answers"])
def test_of_language_no_scores_are_kept(name, parts_of):
    found = gathered(parts_of(TASKS[name]))[1][""]
    assert found.scores is None and found.true is None
    assert found.reliability.count == found.sums["count"].sum()


def test_of_sequences_with_many_classes_the_counts_of_each_are_not_kept(parts_of, monkeypatch):
    monkeypatch.setattr(telling, "_MOST", 10)
    _, found = gathered(parts_of(TASKS["steps"]))
    assert set(told(found, bootstrap.once(SIZE))) == {"loss", "accuracy"}


@pytest.mark.parametrize("name", ["classes", "steps", "stream"])
def test_few_logits_at_a_time_change_nothing(name, parts_of, monkeypatch):
    whole = gathered(parts_of(TASKS[name]))[1][""]
    monkeypatch.setattr(decisions, "_LOGITS", 30)
    parts = gathered(parts_of(TASKS[name]))[1][""]
    assert all(whole.sums[key] == pytest.approx(parts.sums[key]) for key in whole.sums)
    assert whole.reliability.plain() == parts.reliability.plain()


def test_reading_now_and_then_changes_nothing(parts_of, monkeypatch):
    whole = gathered(parts_of(TASKS["classes"], batch_size=3))[1][""]
    monkeypatch.setattr(gathering, "_BATCHES", 2)
    monkeypatch.setattr(gathering, "_NUMBERS", 50)
    parts = gathered(parts_of(TASKS["classes"], batch_size=3))[1][""]
    assert all((whole.sums[name] == parts.sums[name]).all() for name in whole.sums)
    assert (whole.scores == parts.scores).all() and (whole.true == parts.true).all()
    assert np.array(whole.reliability.plain()["brier"]) == pytest.approx(parts.reliability.plain()["brier"])
