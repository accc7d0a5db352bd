"""When the state and the best weights are saved, and which of them are kept."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training import build_trainer, register_callback, result_of, resume, rows_of, train

from dltrain.callbacks.base import Callback
from dltrain.checkpoint import CheckpointStore

RAGGED = ("data=iris", "trainer.batch_size=32")  # 3 batches an epoch
NOW = "callbacks.checkpoint.min_seconds=0"


def saved(folder) -> list[str]:
    return CheckpointStore(folder / "checkpoints").names()


def steps_saved(monkeypatch, folder, *overrides: str) -> list[int]:
    """Trains and returns the steps at which the state was saved."""
    steps = []
    save = CheckpointStore.save

    def noting(self, name, state, pointer=None):
        if name.startswith("step-"):
            steps.append(int(name[5:]))
        save(self, name, state, pointer)

    monkeypatch.setattr(CheckpointStore, "save", noting)
    build_trainer(folder, *RAGGED, *overrides, callbacks=("checkpoint",)).fit()
    return steps


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.max_epochs=3", NOW], [3, 6, 9]),
        (["trainer.max_epochs=3"], [9]),  # saves that come sooner than after min_seconds are left out
        (["trainer.max_epochs=5", NOW, "callbacks.checkpoint.every_epochs=2"], [6, 12, 15]),
        (["trainer.max_steps=4", NOW, "callbacks.checkpoint.every_epochs=null"], [4]),
        (["trainer.max_steps=4", NOW, "callbacks.checkpoint.every_steps=2"], [2, 3, 4]),
        (["trainer.max_epochs=2", "callbacks.checkpoint.every_seconds=0.000001"], [1, 2, 3, 4, 5, 6]),
        (
            ["trainer.max_epochs=2", NOW, "callbacks.checkpoint.every_epochs=null",
             "callbacks.checkpoint.every_steps=3", "callbacks.checkpoint.every_seconds=null"],
            [3, 6],
        ),
    ],
)  # fmt: skip
def test_the_state_is_saved_when_it_is_due_and_at_the_end(overrides, expected, monkeypatch, tmp_path):
    assert steps_saved(monkeypatch, tmp_path, *overrides) == expected


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_the_newest_states_are_kept(keep, tmp_path):
    train(
        tmp_path / "run", *RAGGED, NOW, f"callbacks.checkpoint.keep_last={keep}", "trainer.max_epochs=3",
        "callbacks.checkpoint.keep_best=0", callbacks=("checkpoint",),
    )  # fmt: skip
    assert saved(tmp_path / "run") == [f"step-{step:08d}" for step in (3, 6, 9)][-keep:]


VALUES = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf]), st.floats(0, 3)), min_size=1, max_size=12
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=VALUES, keep=st.integers(0, 3), higher=st.booleans(), saves=st.lists(st.booleans(), min_size=12, max_size=12)
)
def test_the_best_of_all_values_are_kept_in_order(values, keep, higher, saves, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    monitor = "val/accuracy" if higher else "val/loss"
    trainer = build_trainer(
        folder, f"callbacks.checkpoint.monitor={monitor}", f"callbacks.checkpoint.keep_best={keep}", NOW,
        callbacks=("checkpoint",),
    )  # fmt: skip
    callback = trainer.callbacks["checkpoint"]
    callback.on_fit_start(trainer)
    for step, (value, saves_now) in enumerate(zip(values, saves, strict=False), 1):
        trainer.state.step, trainer.state.epoch = step, step
        trainer.row = {"epoch": step, "step": step, monitor: value}
        with torch.no_grad():
            trainer.model.layer.bias.fill_(step)
        callback.on_validation_end(trainer)
        held = sum(best.weights is not None for best in callback.best)
        assert held <= keep, "weights that are not among the best take no memory"
        if saves_now:
            callback.on_checkpoint(trainer)
    trainer.stop_reason = "the end"
    callback.on_checkpoint(trainer)
    callback.on_fit_end(trainer)
    numbered = [(value, step) for step, value in enumerate(values, 1) if value == value]
    expected = sorted(numbered, key=lambda pair: (-pair[0] if higher else pair[0], pair[1]))[:keep]
    assert [(best.value, best.step) for best in callback.best] == expected
    store = CheckpointStore(folder / "checkpoints")
    on_disk = {name for name in store.names() if name.startswith("best-")}
    assert on_disk == {f"best-step-{step:08d}" for _, step in expected}
    for value, step in expected:
        state = store.load(f"best-step-{step:08d}")
        assert state["value"] == value and state["model"]["layer.bias"].unique().item() == step
    assert store.pointed("best") == (f"best-step-{expected[0][1]:08d}" if expected else None)


@pytest.mark.parametrize(("monitor", "choose"), [("val/loss", min), ("val/accuracy", max), ("train/f1", max)])
def test_the_best_row_is_the_best_checkpoint(monitor, choose, tmp_path):
    overrides = (f"callbacks.checkpoint.monitor={monitor}", "optimizer.lr=30", "trainer.max_epochs=8")
    outcome = train(tmp_path / "run", *RAGGED, *overrides, callbacks=("checkpoint",))
    rows = rows_of(tmp_path / "run")
    values = [row[monitor] for row in rows]
    best = rows[values.index(choose(values))]  # the first of equal ones
    assert outcome.result["best"] == {
        "metric": monitor,
        "value": best[monitor],
        "epoch": best["epoch"],
        "step": best["step"],
        "checkpoint": f"best-step-{best['step']:08d}",
    }
    split = outcome.trainer.validation
    if monitor == "val/loss":  # the model that is left is the best one
        with torch.no_grad():
            loss = outcome.parts.loss(outcome.trainer.model(split.stored.inputs), split.stored.targets)
        assert float(loss) == pytest.approx(best[monitor], rel=1e-5)


def test_a_checkpoint_is_not_pruned_before_the_next_one_is_whole(monkeypatch, tmp_path):
    store_states = []
    remove = CheckpointStore.remove

    def noting(self, name):
        state, notes = self.load_newest()
        store_states.append((name, state["progress"]["step"], notes))
        remove(self, name)

    monkeypatch.setattr(CheckpointStore, "remove", noting)
    build_trainer(
        tmp_path, *RAGGED, NOW, "trainer.max_epochs=3", "callbacks.checkpoint.keep_best=0", callbacks=("checkpoint",)
    ).fit()
    assert store_states == [("step-00000003", 6, []), ("step-00000006", 9, [])]


def test_a_run_that_fails_after_a_best_value_leaves_none_that_its_state_does_not_know(monkeypatch, tmp_path):
    """What a kill leaves: best weights on disk that came after the newest state. The resumed run sweeps them."""

    class FailsOnce(Callback):
        def on_validation_end(self, trainer) -> None:
            if trainer.state.epoch == 3 and not (tmp_path / "failed").exists():
                (tmp_path / "failed").touch()
                raise OverflowError

    register_callback(monkeypatch, FailsOnce, "fails_once")
    common = (*RAGGED, NOW, "trainer.max_epochs=4", "callbacks.checkpoint.keep_best=2")
    with pytest.raises(OverflowError):
        train(tmp_path / "run", *common, callbacks=("checkpoint", "fails_once"))
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    store.save("best-step-00000099", {"model": {}}, pointer="best")
    resume(tmp_path / "run")
    train(tmp_path / "whole", *common, callbacks=("checkpoint", "fails_once"))
    assert saved(tmp_path / "run") == saved(tmp_path / "whole")
    assert result_of(tmp_path / "run")["best"] == result_of(tmp_path / "whole")["best"]
    assert store.pointed("best") == result_of(tmp_path / "run")["best"]["checkpoint"]


def test_with_another_metric_the_best_weights_are_looked_for_anew(tmp_path):
    common = (*RAGGED, NOW, "callbacks.checkpoint.keep_last=9")
    train(tmp_path, *common, "trainer.max_epochs=3", callbacks=("checkpoint",))
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.load(store.pointed("last"))["callbacks"]["checkpoint"]["monitor"] == "val/loss"
    outcome = resume(tmp_path, "trainer.max_epochs=4", "callbacks.checkpoint.monitor=val/accuracy")
    assert result_of(tmp_path)["best"]["metric"] == "val/accuracy"
    assert result_of(tmp_path)["best"]["step"] == 12  # nothing of the steps before counts
    assert [name for name in saved(tmp_path) if name.startswith("step-")] == [
        f"step-{step:08d}" for step in (3, 6, 9, 12)
    ]
    assert outcome is not None and store.pointed("best") == result_of(tmp_path)["best"]["checkpoint"]
