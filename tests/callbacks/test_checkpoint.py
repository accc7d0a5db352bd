"""When the state and the best weights are saved, and which of them are kept."""

from __future__ import annotations

import math
import threading
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training import build_trainer, register_callback, result_of, resume, rows_of, train

from dltrain import checkpoint
from dltrain.callbacks.base import Callback
from dltrain.checkpoint import CheckpointStore
from dltrain.errors import DivergedError, MachineError
from dltrain.packing import pack

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
        (["trainer.max_epochs=3", "callbacks.checkpoint.min_seconds=60"], [9]),  # what comes sooner is left out
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
        held = sum(best.content is not None for best in callback.best)
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


# --- beside the training ----------------------------------------------------------------------------------


class Noting(Callback):
    """Keeps what the state was at each place where it may be saved."""

    def on_fit_start(self, trainer) -> None:
        self.states = {}

    def on_checkpoint(self, trainer) -> None:
        state = trainer.state_dict()
        self.states[trainer.state.step] = bytes(pack({name: state[name] for name in self.LIVE}))

    LIVE = ("model", "optimizer", "metrics", "random", "progress")


def test_a_slow_write_saves_what_was_there_when_it_began(monkeypatch, tmp_path):
    """The training goes on meanwhile, and changes weights, momentum, sums and generators in place."""
    write_file, during = checkpoint.write_file, []

    def slowly(path, content):
        before = trainer.state.step
        time.sleep(0.005)
        write_file(path, content)
        during.append(trainer.state.step - before)

    monkeypatch.setattr(checkpoint, "write_file", slowly)
    register_callback(monkeypatch, Noting, "noting")
    trainer = build_trainer(
        tmp_path, "data=iris", "model=mlp", "model.dropout=0.3", "trainer.batch_size=8", "trainer.max_epochs=8",
        "optimizer.momentum=0.9", "callbacks.checkpoint.every_steps=5", "callbacks.checkpoint.keep_last=99", NOW,
        callbacks=("checkpoint", "noting"),
    )  # fmt: skip
    trainer.fit()
    assert sum(during) > 20, "nothing was trained during the writing: this test looked at nothing"
    store = CheckpointStore(tmp_path / "checkpoints")
    names = [name for name in store.names() if name.startswith("step-")]
    assert len(names) > 20
    for name in names:
        state = store.load(name)
        assert (
            bytes(pack({key: state[key] for key in Noting.LIVE})) == trainer.callbacks["noting"].states[int(name[5:])]
        )


def test_the_next_state_is_copied_when_the_one_before_is_on_the_disk(monkeypatch, tmp_path):
    """So that one copy at most is in memory, however slow the disk is."""
    on_disk = []

    class Looks(Callback):
        def state_dict(self):
            on_disk.append(CheckpointStore(tmp_path / "checkpoints").pointed("last"))
            return {}

    write_file = checkpoint.write_file
    monkeypatch.setattr(checkpoint, "write_file", lambda *words: (time.sleep(0.005), write_file(*words)))
    register_callback(monkeypatch, Looks, "looks")
    build_trainer(
        tmp_path, *RAGGED, NOW, "callbacks.checkpoint.every_steps=1", "trainer.max_epochs=2",
        callbacks=("checkpoint", "looks"),
    ).fit()  # fmt: skip
    assert on_disk[-6:] == [None, *(f"step-{step:08d}" for step in range(1, 6))]


def test_the_weights_that_were_best_are_those_of_their_evaluation(monkeypatch, tmp_path):
    """They are written at a later save, when the model has long changed."""

    class NotingBest(Callback):
        def on_fit_start(self, trainer) -> None:
            self.weights = {}

        def on_validation_end(self, trainer) -> None:
            self.weights[trainer.state.step] = bytes(pack(trainer.model.state_dict()))

    register_callback(monkeypatch, NotingBest, "noting_best")
    trainer = build_trainer(
        tmp_path, *RAGGED, "trainer.max_epochs=6", "callbacks.checkpoint.every_epochs=4", NOW,
        "callbacks.checkpoint.keep_best=3", callbacks=("checkpoint", "noting_best"),
    )  # fmt: skip
    trainer.fit()
    store = CheckpointStore(tmp_path / "checkpoints")
    best = [name for name in store.names() if name.startswith("best-")]
    assert len(best) == 3
    for name in best:
        assert bytes(pack(store.load(name)["model"])) == trainer.callbacks["noting_best"].weights[int(name[10:])]


def test_an_error_of_writing_ends_the_training_at_its_next_step(monkeypatch, tmp_path):
    def failing(self, name, state, pointer=None):
        raise MachineError("the disk is gone")

    monkeypatch.setattr(CheckpointStore, "save", failing)
    trainer = build_trainer(
        tmp_path, *RAGGED, "callbacks.checkpoint.every_seconds=0.000001", "trainer.max_epochs=1000",
        callbacks=("checkpoint",),
    )  # fmt: skip
    with pytest.raises(MachineError, match="the disk is gone"):
        trainer.fit()
    assert trainer.state.step <= 2
    assert trainer.callbacks["checkpoint"].result() == {}, "there is no best checkpoint"


def test_an_error_of_writing_does_not_hide_the_one_that_ended_the_training(monkeypatch, tmp_path, caplog):
    class Fails(Callback):
        def on_step_end(self, trainer) -> None:
            if trainer.state.step == 2:
                raise OverflowError("the first")

    may_fail = threading.Event()

    def failing(self, name, state, pointer=None):
        may_fail.wait(0.3)
        raise MachineError("the second")

    monkeypatch.setattr(CheckpointStore, "save", failing)
    register_callback(monkeypatch, Fails, "fails")
    trainer = build_trainer(
        tmp_path, *RAGGED, "callbacks.checkpoint.every_steps=1", NOW, callbacks=("checkpoint", "fails")
    )
    with caplog.at_level("WARNING", "dltrain"), pytest.raises(OverflowError, match="the first"):
        trainer.fit()
    assert caplog.messages == ["the second"]


def test_a_save_that_fails_half_way_leaves_a_callback_that_can_go_on(tmp_path):
    """As after a batch that diverged and is left out: the state that was not saved counts for nothing."""
    trainer = build_trainer(tmp_path, *RAGGED, NOW, "trainer.max_epochs=3", callbacks=("checkpoint",))
    callback = trainer.callbacks["checkpoint"]
    trainer.fit()
    before = callback.state_dict()
    trainer.state.step += 1
    whole = trainer.model.layer.bias.detach().clone()
    with torch.no_grad():
        trainer.model.layer.bias.fill_(math.nan)
    with pytest.raises(DivergedError):
        callback.on_checkpoint(trainer)
    assert callback.state_dict() == before and "step-00000010" not in saved(tmp_path)
    with torch.no_grad():
        trainer.model.layer.bias.copy_(whole)
    callback.on_checkpoint(trainer)
    callback.on_fit_end(trainer)
    assert "step-00000010" in saved(tmp_path) and "step-00000009" not in saved(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "cpu_seconds", "elapsed", "due"),
    [
        (0.0, 0.0, 0.4, False),  # never sooner than after half a second
        (0.0, 0.0, 0.6, True),
        (0.008, 0.012, 0.9, False),  # 20 ms are 2 % of a second
        (0.008, 0.012, 1.1, True),
    ],
)
def test_saves_by_epochs_take_two_percent_of_the_time_at_most(seconds, cpu_seconds, elapsed, due, tmp_path):
    trainer = build_trainer(tmp_path, *RAGGED, callbacks=("checkpoint",))
    callback = trainer.callbacks["checkpoint"]
    callback._seconds, callback.context.store.writer.cpu_seconds = seconds, cpu_seconds
    callback._last_save = time.monotonic() - elapsed
    assert callback._is_due(trainer) is due


# --- checkpoints for ever ---------------------------------------------------------------------------------

FOR_EVER = (*RAGGED, "callbacks.checkpoint.keep_every_epochs=2", "callbacks.checkpoint.keep_best=0")


def test_the_checkpoint_of_every_other_epoch_is_kept_even_where_saves_are_left_out(tmp_path):
    train(tmp_path, *FOR_EVER, "trainer.max_epochs=7", "callbacks.checkpoint.min_seconds=60", callbacks=("checkpoint",))
    assert saved(tmp_path) == [f"step-{3 * epoch:08d}" for epoch in (2, 4, 6, 7)]


def test_what_is_kept_for_ever_outlives_resuming_extending_and_sweeping(tmp_path):
    train(tmp_path / "run", *FOR_EVER, NOW, "trainer.max_epochs=5", callbacks=("checkpoint",))
    assert saved(tmp_path / "run") == [f"step-{3 * epoch:08d}" for epoch in (2, 4, 5)]
    CheckpointStore(tmp_path / "run" / "checkpoints").save("step-00000099", {"model": {}})  # of a killed process
    resume(tmp_path / "run", "trainer.max_epochs=7")
    assert saved(tmp_path / "run") == [f"step-{3 * epoch:08d}" for epoch in (2, 4, 6, 7)]
    resume(tmp_path / "run", "trainer.max_epochs=9", "callbacks.checkpoint.keep_every_epochs=null")
    assert saved(tmp_path / "run") == [f"step-{3 * epoch:08d}" for epoch in (2, 4, 6, 9)]


def test_what_is_kept_for_ever_counts_among_the_last(tmp_path):
    train(
        tmp_path, *FOR_EVER, NOW, "callbacks.checkpoint.keep_last=3", "trainer.max_epochs=6", callbacks=("checkpoint",)
    )
    assert saved(tmp_path) == [f"step-{3 * epoch:08d}" for epoch in (2, 4, 5, 6)]
