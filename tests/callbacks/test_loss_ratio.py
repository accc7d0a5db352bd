"""The ratio of losses is a figure of the row like any other."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import register_callback, result_of, rows_of, train

from dltrain.callbacks.base import Callback
from dltrain.callbacks.loss_ratio import NAME, ratio
from dltrain.errors import ConfigError

RAGGED = ("data=iris", "trainer.batch_size=32", "trainer.max_epochs=3")


def test_each_row_has_it_before_any_hook_sees_the_row(monkeypatch, tmp_path):
    seen = []

    class Reads(Callback):
        def on_validation_end(self, trainer) -> None:
            seen.append(trainer.row[NAME])

    register_callback(monkeypatch, Reads, "reads")
    train(tmp_path, *RAGGED, callbacks=("reads", "loss_ratio", "tensorboard"))
    rows = rows_of(tmp_path)
    assert seen == [row["val/loss"] / row["train/loss"] for row in rows] == [row[NAME] for row in rows]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars(NAME)] == pytest.approx(seen)


def test_a_penalty_for_large_weights_is_no_part_of_it(tmp_path):
    train(tmp_path, *RAGGED, "loss.l2={'*.weight': 0.1}", callbacks=("loss_ratio",))
    for row in rows_of(tmp_path):
        assert row["train/main_loss"] < row["train/loss"]
        assert row[NAME] == row["val/loss"] / row["train/main_loss"]


def test_early_stopping_can_watch_it_and_the_console_shows_it(dltrain):
    answer = dltrain(
        *RAGGED, "device=cpu", "callbacks=[default,loss_ratio]", "~callbacks.tensorboard", "trainer.max_epochs=200",
        f"callbacks.early_stopping.monitor={NAME}", "callbacks.early_stopping.patience=3", "run_dir=run",
    )  # fmt: skip
    assert answer.code == 0 and f"  {NAME} " in answer.err
    assert result_of(Path("run"))["stop_reason"].startswith(f"early stopping: {NAME} has not become better than ")


def test_without_it_nothing_of_that_name_can_be_watched(tmp_path):
    with pytest.raises(ConfigError, match=f"monitor = '{NAME}': this run logs no such metric"):
        train(
            tmp_path, *RAGGED, f"callbacks.early_stopping.monitor={NAME}", callbacks=("early_stopping",),
        )  # fmt: skip


def test_a_training_without_loss_is_not_divided_by():
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) == math.inf and ratio(0.0, 0.0) == 1.0 and math.isnan(ratio(math.nan, 0.0))
    assert math.isnan(ratio(-1.0, 2.0)) and math.isnan(ratio(1.0, -2.0))
