"""Metrics against scikit-learn, in batches of any size, and taken up again in the middle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from dltrain import losses, metrics
from dltrain.checkpoint import pack, unpack
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.losses import LossSettings
from dltrain.metrics import Metrics

TASKS = {
    "binary": Task("binary", InputSpec((2,)), 1),
    "two classes": Task("multiclass", InputSpec((4,)), 2),
    "three classes": Task("multiclass", InputSpec((4,)), 3),
    "ten classes": Task("multiclass", InputSpec((4,)), 10),
    "next token": Task("next_token", InputSpec((5,), "int64", 12), 12),
    "regression": Task("regression", InputSpec((4,)), 1),
    "regression of two": Task("regression", InputSpec((4,)), 2),
}
CLASSES = ("two classes", "three classes", "ten classes")
NUM_SAMPLES = 500

Update = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def samples(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns outputs (N, K), and targets that they meet more often than by chance."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(NUM_SAMPLES, task.output_size, generator=generator)
    noisy = outputs + torch.randn(outputs.shape, generator=generator)
    if task.kind == "regression":
        return outputs, 3 + 2 * noisy
    return outputs, (noisy > 0).float() if task.kind == "binary" else noisy.argmax(dim=1)


def ragged() -> Iterator[slice]:
    """Yields batches of 1 to 13 samples, more than are kept back at once."""
    start, size = 0, 1
    while start < NUM_SAMPLES:
        yield slice(start, min(start + size, NUM_SAMPLES))
        start, size = start + size, size % 13 + 1


def updates(task: Task) -> list[Update]:
    outputs, targets = samples(task)
    loss = losses.auto(LossSettings("auto", None), task=task)
    return [(loss(outputs[part], targets[part]), outputs[part], targets[part]) for part in ragged()]


def accumulated(task: Task) -> Metrics:
    result = Metrics(task)
    for update in updates(task):
        result.update(*update)
    return result


def test_the_batches_are_ragged_and_more_than_are_kept_back():
    sizes = {part.stop - part.start for part in ragged()}
    assert sizes == set(range(1, 14))
    assert len(list(ragged())) > metrics._FLUSH_BATCHES


# --- against scikit-learn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_is_the_mean_over_samples_and_not_over_batches(name):
    outputs, targets = samples(TASKS[name])
    whole = losses.auto(LossSettings("auto", None), task=TASKS[name])(outputs, targets)
    assert accumulated(TASKS[name]).compute()["loss"] == pytest.approx(whole.item(), rel=1e-6)


@pytest.mark.parametrize("name", [*CLASSES, "next token"])
def test_accuracy_and_top_5_are_scikit_learns(name):
    outputs, targets = samples(TASKS[name])
    figures = accumulated(TASKS[name]).compute()
    assert figures["accuracy"] == pytest.approx(sk.accuracy_score(targets, outputs.argmax(dim=1)), abs=1e-12)
    if TASKS[name].output_size > 5:
        expected = sk.top_k_accuracy_score(targets, outputs, k=5)
        assert figures["top5"] == pytest.approx(expected, abs=1e-12)
    else:
        assert "top5" not in figures


@pytest.mark.parametrize("name", ["three classes", "ten classes"])
def test_precision_recall_and_f1_of_several_classes_are_scikit_learns_macro_means(name):
    outputs, targets = samples(TASKS[name])
    expected = sk.precision_recall_fscore_support(targets, outputs.argmax(dim=1), average="macro")[:3]
    figures = accumulated(TASKS[name]).compute()
    assert [figures[key] for key in ("precision", "recall", "f1")] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["binary", "two classes"])
def test_precision_recall_and_f1_of_two_classes_are_those_of_the_positive_one(name):
    outputs, targets = samples(TASKS[name])
    predicted = (outputs > 0).flatten() if name == "binary" else outputs.argmax(dim=1)
    expected = sk.precision_recall_fscore_support(targets.flatten(), predicted, average="binary")[:3]
    figures = accumulated(TASKS[name]).compute()
    assert [figures[key] for key in ("precision", "recall", "f1")] == pytest.approx(expected, abs=1e-12)
    assert figures["accuracy"] == pytest.approx(sk.accuracy_score(targets.flatten(), predicted), abs=1e-12)


@pytest.mark.parametrize("name", [*CLASSES, "binary"])
def test_the_confusion_matrix_is_scikit_learns(name):
    outputs, targets = samples(TASKS[name])
    predicted = (outputs > 0).long().flatten() if name == "binary" else outputs.argmax(dim=1)
    expected = sk.confusion_matrix(targets.flatten(), predicted)
    assert np.array_equal(accumulated(TASKS[name]).confusion.numpy(), expected)


@pytest.mark.parametrize("name", ["regression", "regression of two"])
def test_regression_figures_are_scikit_learns(name):
    outputs, targets = (tensor.double().numpy() for tensor in samples(TASKS[name]))
    figures = accumulated(TASKS[name]).compute()
    assert figures["mae"] == pytest.approx(sk.mean_absolute_error(targets, outputs), rel=1e-9)
    assert figures["rmse"] == pytest.approx(sk.mean_squared_error(targets, outputs) ** 0.5, rel=1e-9)
    # With several outputs the mean of each one's R2: their units may have nothing in common.
    assert figures["r2"] == pytest.approx(sk.r2_score(targets, outputs), rel=1e-9)


def test_r2_keeps_its_digits_where_the_targets_are_far_from_0():
    outputs, targets = samples(TASKS["regression"])
    figures = Metrics(TASKS["regression"])
    figures.update(torch.tensor(0.0), outputs.double() + 1e5, targets.double() + 1e5)
    expected = sk.r2_score(targets.double() + 1e5, outputs.double() + 1e5)
    assert figures.compute()["r2"] == pytest.approx(expected, rel=1e-4)


def test_perplexity_is_e_to_the_mean_cross_entropy():
    outputs, targets = samples(TASKS["next token"])
    figures = accumulated(TASKS["next token"]).compute()
    chances = outputs.double().softmax(dim=1)
    expected = math.exp(sk.log_loss(targets, chances, labels=range(12)))
    assert figures["perplexity"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", [0.1, 99.0])
def test_perplexity_does_not_depend_on_the_loss(loss):
    """The loss may smooth its targets."""
    figures = Metrics(TASKS["next token"])
    outputs, targets = samples(TASKS["next token"])
    for part in ragged():
        figures.update(torch.tensor(loss), outputs[part], targets[part])
    result = figures.compute()
    assert result["loss"] == pytest.approx(loss)
    expected = accumulated(TASKS["next token"]).compute()["perplexity"]
    assert result["perplexity"] == pytest.approx(expected, rel=1e-6)


# --- edges ------------------------------------------------------------------------------------------------


def one_batch(name: str, outputs: list[list[float]], targets: list) -> dict[str, float]:
    task = TASKS[name]
    result = Metrics(task)
    kind = torch.float32 if task.kind in ("binary", "regression") else torch.int64
    result.update(torch.tensor(0.5), torch.tensor(outputs), torch.tensor(targets, dtype=kind))
    return result.compute()


def test_a_class_that_is_never_predicted_counts_as_0():
    figures = one_batch("binary", [[-1.0], [-1.0]], [[1], [0]])
    assert (figures["precision"], figures["recall"], figures["f1"]) == (0, 0, 0)
    assert figures["accuracy"] == 0.5


def test_a_class_that_does_not_occur_is_left_out_of_the_mean():
    figures = one_batch("three classes", [[1.0, 0, 0], [0, 1.0, 0]], [0, 1])
    assert (figures["precision"], figures["recall"], figures["f1"]) == (1, 1, 1)


def test_r2_of_targets_that_are_all_the_same_is_no_number():
    assert math.isnan(one_batch("regression", [[1.0], [2.0]], [[3], [3]])["r2"])
    assert math.isnan(one_batch("regression of two", [[1.0, 1.0], [2.0, 2.0]], [[3, 1], [3, 2]])["r2"])


def test_a_perplexity_beyond_all_numbers_is_infinite():
    result = Metrics(TASKS["next token"])
    result.update(torch.tensor(0.5), 1000 * torch.eye(12)[:2], torch.tensor([1, 2]))
    assert result.compute()["perplexity"] == math.inf


def test_more_classes_than_a_person_can_read_have_no_confusion_matrix():
    task = Task("multiclass", InputSpec((4,)), 5000)
    assert metrics.metric_names(task) == ["loss", "accuracy", "top5"]
    result = Metrics(task)
    result.update(torch.tensor(1.0), torch.randn(2, 5000), torch.tensor([1, 2]))
    assert result.confusion is None
    assert set(result.compute()) == {"loss", "accuracy", "top5"}


def test_large_outputs_are_not_kept_back_for_long(monkeypatch):
    expected = accumulated(TASKS["ten classes"]).compute()
    monkeypatch.setattr(metrics, "_FLUSH_NUMBERS", 100)
    result = Metrics(TASKS["ten classes"])
    for update in updates(TASKS["ten classes"]):
        result.update(*update)
        assert result._kept_numbers < 100
    assert result.compute() == pytest.approx(expected)


# --- taken up again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 1, 5, metrics._FLUSH_BATCHES, metrics._FLUSH_BATCHES + 3])
@pytest.mark.parametrize("name", TASKS)
def test_a_state_in_the_middle_gives_the_same_bits(name, done):
    task = TASKS[name]
    whole, first, rest = Metrics(task), Metrics(task), Metrics(task)
    for number, update in enumerate(updates(task)):
        whole.update(*update)
        if number < done:
            first.update(*update)
        if number == done:
            rest.load_state_dict(unpack(pack(first.state_dict()), Path("middle")))
        if number >= done:
            rest.update(*update)
    assert rest.compute() == whole.compute()
    assert rest.num_batches == whole.num_batches


def test_saving_a_state_changes_nothing():
    task = TASKS["regression"]
    saved = Metrics(task)
    for update in updates(task):
        saved.update(*update)
        saved.state_dict()
    assert saved.compute() == accumulated(task).compute()


def test_reset_forgets_all():
    task = TASKS["three classes"]
    result = accumulated(task)
    figures = result.compute()
    result.reset()
    assert result.num_batches == 0
    for update in updates(task):
        result.update(*update)
    assert result.compute() == figures


# --- losses that are no number ----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 3, 63, 64, 70])
@pytest.mark.parametrize("batches", [71, 130])
def test_the_first_bad_batch_is_found_kept_back_or_summed(bad, place, batches):
    result = Metrics(TASKS["regression"])
    for number in range(batches):
        assert number > place or result.first_bad_batch() is None
        value = bad if number in (place, place + 1) else 1.0
        result.update(torch.tensor(value), torch.zeros(1, 1), torch.zeros(1, 1))
    assert result.first_bad_batch() == place


def test_finite_losses_have_no_bad_batch():
    assert accumulated(TASKS["regression"]).first_bad_batch() is None


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("binary", ["loss", "accuracy", "precision", "recall", "f1"]),
        ("three classes", ["loss", "accuracy", "precision", "recall", "f1"]),
        ("ten classes", ["loss", "accuracy", "top5", "precision", "recall", "f1"]),
        ("next token", ["loss", "accuracy", "top5", "perplexity"]),
        ("regression", ["loss", "mae", "rmse", "r2"]),
    ],
)
def test_a_task_has_these_metrics_in_this_order(name, names):
    assert metrics.metric_names(TASKS[name]) == names
    figures = accumulated(TASKS[name]).compute()
    assert list(figures) == names
    assert all(type(figure) is float for figure in figures.values())


def test_every_metric_says_which_way_is_better():
    named = {name for task in TASKS.values() for name in metrics.metric_names(task, evaluating=True)}
    assert named == set(metrics.HIGHER_IS_BETTER)
    assert metrics.is_higher_better("val/accuracy")
    assert not metrics.is_higher_better("train/loss")


@pytest.mark.parametrize("monitor", ["val/loss", "train/loss", "val/accuracy"])
def test_a_metric_that_is_logged_can_be_monitored(monitor):
    metrics.check_monitor("callbacks.checkpoint.monitor", monitor, TASKS["three classes"])


@pytest.mark.parametrize(
    ("monitor", "hint"),
    [
        ("val/acuracy", " Did you mean 'val/accuracy'?"),
        ("loss", ""),
        ("val/rmse", ""),
    ],
)
def test_a_metric_that_is_not_logged_is_refused(monitor, hint):
    with pytest.raises(ConfigError) as caught:
        metrics.check_monitor("callbacks.checkpoint.monitor", monitor, TASKS["three classes"])
    start = f"callbacks.checkpoint.monitor = '{monitor}': this run logs no such metric."
    assert str(caught.value).startswith(start + hint)


# --- more than one figure a sample ------------------------------------------------------------------------


def of(task: Task, outputs: torch.Tensor, targets: torch.Tensor, *, evaluating: bool = False) -> dict[str, float]:
    """Returns the figures of samples in ragged batches."""
    loss = losses.auto(LossSettings("auto", None), task=task)
    result = Metrics(task, loss, evaluating=evaluating)
    for part in ragged():
        result.update(loss(outputs[part], targets[part]), outputs[part], targets[part])
    return result.compute()


@pytest.mark.parametrize("decimals", [0, 1, 9])  # few decimals make ties
def test_auroc_is_that_of_scikit_learn(decimals):
    outputs, targets = samples(TASKS["binary"])
    rounded = outputs.double().round(decimals=decimals)
    figures = of(TASKS["binary"], rounded, targets.double(), evaluating=True)
    assert figures["auroc"] == pytest.approx(sk.roc_auc_score(targets, rounded), abs=1e-12)
    assert "auroc" not in of(TASKS["binary"], outputs, targets)


def test_auroc_of_two_logits_is_that_of_the_second_class():
    outputs, targets = samples(TASKS["two classes"])
    expected = sk.roc_auc_score(targets, outputs.double().softmax(dim=1)[:, 1])
    assert of(TASKS["two classes"], outputs, targets, evaluating=True)["auroc"] == pytest.approx(expected, abs=1e-6)


def test_auroc_of_one_class_is_not_a_number():
    outputs, _ = samples(TASKS["binary"])
    assert math.isnan(of(TASKS["binary"], outputs, torch.ones_like(outputs), evaluating=True)["auroc"])


def test_steps_without_a_target_count_for_nothing():
    task = Task("seq2seq", InputSpec((4,), "int64", 12), 12, per_step=True)
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(NUM_SAMPLES, 4, 12, generator=generator)
    targets = torch.randint(0, 12, (NUM_SAMPLES, 4), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.3] = -100
    targets[:, 0] = outputs[:, 0].argmax(dim=1)
    has_target = targets != -100
    figures = of(task, outputs, targets)
    loss = torch.nn.functional.cross_entropy(outputs[has_target].double(), targets[has_target]).item()
    assert figures["loss"] == pytest.approx(loss, rel=1e-6)
    assert figures["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    hits = outputs.argmax(dim=2)[has_target] == targets[has_target]
    assert figures["accuracy"] == pytest.approx(hits.double().mean().item())


def test_labels_of_steps_have_a_confusion_of_those_with_a_target():
    task = Task("sequence_labels", InputSpec((4,)), 3, per_step=True)
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(NUM_SAMPLES, 4, 3, generator=generator)
    targets = torch.randint(-1, 3, (NUM_SAMPLES, 4), generator=generator)
    targets[targets < 0] = -100
    has_target = targets != -100
    figures = of(task, outputs, targets)
    expected = sk.f1_score(targets[has_target], outputs.argmax(dim=2)[has_target], average="macro")
    assert figures["f1"] == pytest.approx(expected)


def test_labels_of_many_are_counted_each():
    task = Task("multilabel", InputSpec((4,)), 5)
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(NUM_SAMPLES, 5, generator=generator)
    targets = (outputs + torch.randn(outputs.shape, generator=generator) > 0).float()
    figures = of(task, outputs, targets)
    assert figures["accuracy"] == pytest.approx(((outputs > 0) == (targets > 0)).double().mean().item())
    assert figures["f1"] == pytest.approx(sk.f1_score(targets, (outputs > 0).float(), average="micro"))


def test_a_sample_mixed_of_two_classes_counts_as_the_larger_part():
    task = TASKS["three classes"]
    outputs, targets = samples(task)
    mixed = torch.nn.functional.one_hot(targets, 3) * 0.6 + torch.nn.functional.one_hot((targets + 1) % 3, 3) * 0.4
    assert of(task, outputs, mixed)["accuracy"] == of(task, outputs, targets)["accuracy"]


def test_errors_are_in_the_unit_of_the_targets():
    plain = TASKS["regression of two"]
    scaled = Task("regression", InputSpec((4,)), 2, target_shift=(5.0, -1.0), target_scale=(10.0, 0.5))
    outputs, targets = samples(plain)
    shift, scale = torch.tensor(scaled.target_shift), torch.tensor(scaled.target_scale)
    in_unit = of(plain, outputs * scale + shift, targets * scale + shift)
    figures = of(scaled, outputs, targets)
    assert figures["loss"] == of(plain, outputs, targets)["loss"]
    for name in ("mae", "rmse", "r2"):
        assert figures[name] == pytest.approx(in_unit[name], rel=1e-5)


HEADS = Task("several", InputSpec((4,)), 4, heads={"kind": TASKS["three classes"], "price": TASKS["regression"]})


def test_each_of_several_targets_has_its_own_figures():
    loss = losses.auto(LossSettings("auto", {"price": 0.5}), task=HEADS)
    parts = {name: samples(head) for name, head in HEADS.heads.items()}
    outputs = torch.cat([parts["kind"][0], parts["price"][0]], dim=1)
    targets = {name: part[1] for name, part in parts.items()}
    result = Metrics(HEADS, loss)
    for part in ragged():
        some = {name: target[part] for name, target in targets.items()}
        result.update(loss(outputs[part], some), outputs[part], some)
    alone = {name: of(head, *parts[name]) for name, head in HEADS.heads.items()}
    figures = result.compute()
    assert list(figures) == metrics.metric_names(HEADS)
    for name, expected in alone.items():
        for metric, value in expected.items():
            assert figures[f"{name}/{metric}"] == pytest.approx(value, rel=1e-6)
    assert figures["loss"] == pytest.approx(alone["kind"]["loss"] + 0.5 * alone["price"]["loss"], rel=1e-5)
    metrics.check_monitor("callbacks.x.monitor", "val/price/mae", HEADS)
    assert metrics.is_higher_better("val/kind/accuracy") and not metrics.is_higher_better("val/price/mae")


def test_figures_of_several_targets_are_taken_up_where_they_were(tmp_path):
    loss = losses.auto(LossSettings("auto", None), task=HEADS)
    parts = {name: samples(head) for name, head in HEADS.heads.items()}
    outputs = torch.cat([parts["kind"][0], parts["price"][0]], dim=1)
    whole, first = Metrics(HEADS, loss), Metrics(HEADS, loss)
    for place, part in enumerate(ragged()):
        some = {name: pair[1][part] for name, pair in parts.items()}
        whole.update(loss(outputs[part], some), outputs[part], some)
        if place == 30:
            rest = Metrics(HEADS, loss)
            rest.load_state_dict(unpack(pack(first.state_dict()), tmp_path))
            first = rest
        first.update(loss(outputs[part], some), outputs[part], some)
    assert first.compute() == whole.compute()
