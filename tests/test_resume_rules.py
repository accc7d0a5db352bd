"""What may change when a run goes on: every setting is decided on, and each difference is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from training import configure

from dltrain import resume_rules
from dltrain.config import DeviceSettings, TrainerSettings
from dltrain.resume_rules import Difference, differences, refusals

RUN = Path("run")
MAY = {
    "max_epochs",
    "max_steps",
    "max_time",
    "on_divergence",
    "max_rollbacks",
    "rollback_factor",
    "evaluate_every_epochs",
    "evaluate_every_steps",
    "evaluation_batch_size",
}
MAY_NOT = {"batch_size", "accumulate", "clip_norm", "auto_batch_size"}


def refused(key, old=1, new=2, **more) -> list[str]:
    return refusals([Difference(key, old, new)], RUN, {}, **more)


def test_every_setting_of_the_trainer_and_the_device_is_decided_on():
    fields = {field.name for field in dataclasses.fields(TrainerSettings)}
    assert fields == MAY | MAY_NOT, "decide in resume_rules.py whether a run that goes on may change it"
    for name in fields:
        assert bool(refused(f"trainer.{name}")) == (name in MAY_NOT)
    assert not any(refused(f"device.{field.name}") for field in dataclasses.fields(DeviceSettings))


@pytest.mark.parametrize("key", ["data.path", "data.test_path", "data.root", "data.workers", "imports", "optimizer.lr",
                                 "callbacks.mine", "callbacks.mine.every", "optimizer.groups.a.*.lr"])  # fmt: skip
def test_what_may_change(key):
    assert refused(key) == []


@pytest.mark.parametrize("key", ["data.batch", "data.buffer", "model", "model.hidden", "loss.l1", "optimizer.momentum",
                                 "scheduler.gamma", "seed", "run_dir", "resume", "sweep.name",
                                 "optimizer.groups", "optimizer.groups.a.weight_decay"])  # fmt: skip
def test_what_may_not_change_is_told_with_the_reason_and_the_way_out(key):
    (problem,) = refused(key)
    assert problem.startswith(f"{key}: 1 -> 2. A run that goes on cannot change it: ")
    assert "Train a new run" in problem and "model.init_from=run" in problem


def test_the_way_out_is_said_once_with_all_that_changes():
    found = refusals([Difference("seed", 0, 3), Difference("model.hidden", [1], [2, 3])], RUN, {})
    assert len(found) == 2 and "Train" not in found[0]
    assert found[1].endswith(
        "Train a new run from these weights instead: "
        "dltrain --config run/config.yaml model.init_from=run seed=3 'model.hidden=[2, 3]'"
    )


def test_a_rate_changes_only_where_it_is_said():
    (problem,) = refused("optimizer.lr", said=lambda key: False)
    assert (
        problem == "optimizer.lr: 1 -> 2. A run that goes on keeps its rate unless the command line says optimizer.lr"
    )


def test_a_difference_names_what_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = configure(tmp_path / "run", callbacks=("early_stopping", "progress"))[1]
    assert differences(before, configure(tmp_path / "run", callbacks=("progress", "early_stopping"))[1]) == []
    now = configure(tmp_path / "run", "model=mlp", "trainer.max_epochs=9", callbacks=("progress", "ema"))[1]
    found = {change.key: change for change in differences(before, now)}
    assert set(found) == {"model", "trainer.max_epochs", "callbacks.early_stopping", "callbacks.ema"}
    assert str(found["model"]) == "model: linear -> mlp"
    assert found["callbacks.early_stopping"].override == "callbacks.early_stopping=null"
    one, other = ({"data": {"name": "csv", "path": path}} for path in ("a.csv", str(tmp_path / "a.csv")))
    assert differences(one, other) == []
    two = {"optimizer": {"name": "sgd", "groups": {"a": {"lr": 1}, "b": {"lr": 2}}}}
    turned = {"optimizer": {"name": "sgd", "groups": {"b": {"lr": 2}, "a": {"lr": 1}}}}
    assert [change.key for change in differences(two, turned)] == ["optimizer.groups"]  # the last that fits holds


def test_what_says_nothing_of_the_training_stays_as_the_run_had_it():
    own = {"run_dir": "/a", "resume": False, "sweep": {"name": "grid"}, "model": {"name": "mlp", "init_from": "/x"}}
    found = {"batch_size": 8, "accumulate": 4, "evaluation_batch_size": 64, "auto_batch_size": False}
    asked = {"batch_size": 32, "accumulate": 1, "evaluation_batch_size": 64, "auto_batch_size": True}
    other = {"run_dir": "b", "resume": True, "sweep": {}, "model": {"name": "mlp", "init_from": "last"}, "seed": 3}
    before, now = {**own, "trainer": found}, {**other, "trainer": asked}
    assert resume_rules.with_own(before, now) == {**before, "seed": 3}
