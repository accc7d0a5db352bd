"""Early stopping, fed with values one at a time."""

from __future__ import annotations

import math

import pytest
import torch
from training import build_trainer, result_of, resume, rows_of, train

NAN, INF = math.nan, math.inf


@pytest.fixture
def feed(tmp_path):
    """Feeds values to a new callback until it asks to stop; returns it, the trainer, and how many were taken."""

    def fed(values, monitor="val/loss", patience=2, **changes):
        overrides = [f"callbacks.early_stopping.{key}={value}" for key, value in changes.items()]
        trainer = build_trainer(
            tmp_path, f"callbacks.early_stopping.monitor={monitor}",
            f"callbacks.early_stopping.patience={patience or 'null'}", *overrides, callbacks=("early_stopping",),
        )  # fmt: skip
        callback = trainer.callbacks["early_stopping"]
        for taken, value in enumerate(values, 1):
            with torch.no_grad():
                trainer.model.layer.bias.fill_(taken)
            trainer.row = {monitor: value}
            callback.on_validation_end(trainer)
            if trainer.stop_reason is not None:
                return callback, trainer, taken
        return callback, trainer, len(values)

    return fed


@pytest.mark.parametrize(
    ("values", "changes", "taken", "stops"),
    [
        ([3, 2, 1, 0], {}, 4, False),
        ([1, 2, 3, 0], {}, 3, True),
        ([1, 1, 1], {}, 3, True),  # the same value is no better one
        ([2, 3, 1, 2, 0.5, 1, 1, 1], {}, 7, True),  # each better value starts the count again
        ([1, 2], {"patience": 1}, 2, True),
        ([1, 2, 3, 4, 5], {"patience": None}, 5, False),
        ([1, 2, 3, 3], {"monitor": "val/accuracy"}, 4, False),
        ([3, 2, 1, 4], {"monitor": "val/accuracy"}, 3, True),
        ([1, 0.95, 0.91, 0.5], {"min_change": 0.1}, 3, True),
        ([1, 0.89, 0.78, 0.67], {"min_change": 0.1}, 4, False),
        ([1.0, 0.75, 0.75], {"min_change": 0.25}, 3, True),  # better by just as much is not more
        ([0.5, 0.6, 0.65], {"min_change": 0.2, "monitor": "val/accuracy"}, 3, True),
        ([NAN, NAN], {}, 2, True),
        ([NAN, 1, NAN, 0.5, NAN, NAN], {}, 6, True),  # NaN is never better, and never the value to beat
        ([1, NAN, NAN, 0], {"monitor": "val/accuracy"}, 3, True),
        ([INF, INF, 5, 4], {}, 4, False),
    ],
)
def test_it_stops_after_so_many_values_that_are_no_better(values, changes, taken, stops, feed):
    _, trainer, number = feed(values, **changes)
    assert (number, trainer.stop_reason is not None) == (taken, stops)


def test_the_reason_names_the_metric_and_its_best_value(feed):
    _, trainer, _ = feed([0.5, 0.75, 1.0])
    assert trainer.stop_reason == ("early stopping: val/loss has not become better than 0.5 for 2 evaluations")


@pytest.mark.parametrize(("restore", "bias"), [("true", 2.0), ("false", None)])
def test_the_best_weights_are_kept_only_where_they_are_to_be_restored(restore, bias, feed):
    callback, _, _ = feed([3, 1, 2, 2], restore_best=restore)
    weights = callback.best_weights()
    assert (None if weights is None else weights["layer.bias"].unique().item()) == bias


def test_its_state_goes_on_where_it_was(feed):
    whole, _, taken = feed([3, 1, 2, 0.5, 1, 1, 1])
    assert taken == 6
    first, _, _ = feed([3, 1, 2])
    second, trainer, _ = feed([])
    second.load_state_dict(first.state_dict())
    for value in (0.5, 1, 1):
        trainer.row = {"val/loss": value}
        second.on_validation_end(trainer)
    assert trainer.stop_reason is not None
    assert (second.best, second.waited) == (whole.best, whole.waited)


def test_the_test_split_is_evaluated_with_the_best_weights(tmp_path):
    common = ("optimizer.lr=100", "trainer.max_epochs=8", "callbacks.early_stopping.patience=2")
    best = train(tmp_path / "best", *common, callbacks=("early_stopping",))
    last = train(
        tmp_path / "last", *common, "callbacks.early_stopping.restore_best=false", callbacks=("early_stopping",)
    )
    losses = [row["val/loss"] for row in rows_of(tmp_path / "best")]
    assert losses == [row["val/loss"] for row in rows_of(tmp_path / "last")]
    assert min(losses) != losses[-1] and len(losses) == losses.index(min(losses)) + 3
    assert (best.result["test_weights"], last.result["test_weights"]) == ("early_stopping", "last")
    for outcome, expected in ((best, min(losses)), (last, losses[-1])):
        split = outcome.trainer.validation
        with torch.no_grad():
            loss = outcome.parts.loss(outcome.trainer.model(split.stored.inputs), split.stored.targets)
        assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_with_another_metric_it_counts_anew(feed):
    first, _, _ = feed([3, 1, 2])
    assert first.state_dict()["monitor"] == "val/loss"
    second, _, _ = feed([], monitor="val/accuracy")
    second.load_state_dict(first.state_dict())
    assert (second.best, second.waited, second.best_weights()) == (None, 0, None)


def test_a_run_that_was_killed_after_it_stopped_stops_again_and_trains_no_further(tmp_path):
    run = tmp_path / "run"
    common = ("optimizer.lr=100", "trainer.max_epochs=30", "callbacks.early_stopping.patience=2")
    train(run, *common, callbacks=("checkpoint", "early_stopping"))
    expected, rows = result_of(run), rows_of(run)
    assert expected["stop_reason"].startswith("early stopping: val/loss") and expected["epochs"] < 30
    (run / "result.json").write_text('{"status": "running"}')
    resume(run)
    again = result_of(run)
    for name in ("status", "stop_reason", "steps", "best", "test"):
        assert again[name] == expected[name], name
    assert rows_of(run) == rows
