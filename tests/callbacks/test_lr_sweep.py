"""A run with a sweep gives the bits of one without it; with ``use`` it trains at the rate that was found."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from families import FAMILIES, OTHERS, overrides_of
from killing import EVERY_STEP, assert_same, what_counts
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import configure, register_callback, result_of, resume, rows_of, train, without_times

from dltrain import assembly
from dltrain.callbacks.base import Callback
from dltrain.checkpoint import CheckpointStore
from dltrain.errors import ConfigError, Interrupted
from dltrain.lr_sweep import RULES

# 120 samples in 4 batches, with dropout and batch normalisation: with chance, buffers and a bit of everything.
RUN = (
    "model=mlp", "model.hidden=[8]", "model.norm=batch", "model.dropout=0.2", "optimizer=adam",
    "trainer.batch_size=32", "trainer.max_epochs=4",
)  # fmt: skip
SWEEP = ("callbacks.lr_sweep.steps=100",)


def last_state(folder):
    store = CheckpointStore(folder / "checkpoints")
    return store.load(store.pointed("last"))


def without_callbacks(state):
    return {name: value for name, value in state.items() if name not in ("callbacks", "callback_names", "row")}


@pytest.mark.parametrize("optimizer", ["adam", "momentum", "muon", "lion"])
def test_a_run_gives_the_same_bits_with_it_and_without(tmp_path, optimizer):
    run = (*RUN, "model.hidden=[8, 8]", f"optimizer={optimizer}", "scheduler=cosine")
    train(tmp_path / "plain", *run, callbacks=("ema", "checkpoint"))
    train(tmp_path / "swept", *run, *SWEEP, callbacks=("ema", "lr_sweep", "checkpoint"))
    assert without_times(rows_of(tmp_path / "plain")) == without_times(rows_of(tmp_path / "swept"))
    plain, swept = last_state(tmp_path / "plain"), last_state(tmp_path / "swept")
    assert_same(without_callbacks(plain), without_callbacks(swept))
    assert_same(plain["callbacks"]["ema"], swept["callbacks"]["ema"])
    assert result_of(tmp_path / "plain")["test"] == result_of(tmp_path / "swept")["test"]


# What a sweep passes through: layers with statistics, cells, embeddings, augmentation, frozen layers, worker processes.
SWEPT = {name: () for name in (*FAMILIES, *OTHERS) if name != "lbfgs"} | {"streamed": ("data.workers=2",)}


@pytest.mark.slow
@pytest.mark.parametrize("family", SWEPT)
def test_any_family_gives_the_same_bits_with_it_and_without(dltrain, work, files, family):
    common = (*overrides_of(family, files), *EVERY_STEP, "callbacks.checkpoint.every_steps=null", *SWEPT[family])
    chosen = next((word for word in common if word.startswith("callbacks=")), "callbacks=[default]")
    rest = [word for word in common if word != chosen]
    assert dltrain(chosen, *rest, "run_dir=plain").code == 0
    swept = dltrain(chosen.replace("]", ",lr_sweep]"), *rest, "callbacks.lr_sweep.steps=30", "run_dir=swept")
    assert swept.code == 0, swept.err
    plain, swept = what_counts(work / "plain"), what_counts(work / "swept")
    assert len((work / "swept" / "lr_sweep.csv").read_text().splitlines()) > 10
    assert sorted([*plain.pop("files"), "lr_sweep.csv", "lr_sweep.svg"]) == swept.pop("files")
    for counted in (plain, swept):
        counted["config"] = None
        for state in (counted["state"], counted["best"]):
            for group in ("callbacks", "callback_names"):
                state.get(group, {}).pop("lr_sweep", None)
    assert_same(plain, swept)


def test_what_it_leaves_in_the_run_folder(tmp_path):
    train(tmp_path, *RUN, *SWEEP, callbacks=("lr_sweep", "checkpoint"))
    with (tmp_path / "lr_sweep.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    found = result_of(tmp_path)["lr_sweep"]
    assert found["steps"] == len(points) and points[0]["step"] == "1"
    assert float(points[0]["learning_rate"]) == 1e-6
    assert found["diverged_at"] is None or found["diverged_at"] >= float(points[-1]["learning_rate"])
    assert all(1e-6 < found[rule] < 10 for rule in RULES if found[rule] is not None)
    assert ElementTree.parse(tmp_path / "lr_sweep.svg").getroot().tag.endswith("svg")
    log = (tmp_path / "train.log").read_text(encoding="utf-8")
    assert "lr_sweep: up to 100 steps with rates from 1e-06 to 10" in log
    assert f"lr_sweep: steepest {found['steepest']:g}, valley {found['valley']:g}" in log
    assert "used" not in found


def test_it_stands_in_tensorboard_as_a_picture_where_there_are_curves(tmp_path):
    quick = (*RUN, *SWEEP, "callbacks.tensorboard.graph=false")
    train(tmp_path / "with", *quick, callbacks=("lr_sweep", "tensorboard"))
    events = EventAccumulator(str(tmp_path / "with" / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert [event.step for event in events.Images("lr_sweep")] == [0]
    assert len(events.Scalars("train/loss")) == 4  # in the same file
    train(tmp_path / "without", *RUN, *SWEEP, callbacks=("lr_sweep",))
    assert not (tmp_path / "without" / "tensorboard").exists()


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_use_trains_as_if_that_rate_were_in_the_config(tmp_path, schedule):
    groups = "optimizer.groups={layers.1.*: {lr: 2.0e-4}}"
    run = (*RUN, f"scheduler={schedule}", "optimizer.lr=1.0e-4")
    train(tmp_path / "swept", *run, groups, *SWEEP, "callbacks.lr_sweep.use=valley", callbacks=("lr_sweep",))
    rate = result_of(tmp_path / "swept")["lr_sweep"]["used"]
    assert rate == result_of(tmp_path / "swept")["lr_sweep"]["valley"] != 1e-4
    own = f"optimizer.groups={{layers.1.*: {{lr: {2e-4 / 1e-4 * rate!r}}}}}"
    train(tmp_path / "set", *run, f"optimizer.lr={rate!r}", own)
    assert without_times(rows_of(tmp_path / "swept")) == without_times(rows_of(tmp_path / "set"))
    assert "lr/layers.1.*" in rows_of(tmp_path / "swept")[0]


# --- runs that go on --------------------------------------------------------------------------------------

USE = ("callbacks.lr_sweep.use=steepest", "optimizer.lr=1.0e-4")
SAVING = "callbacks.checkpoint.min_seconds=0"


class Stops(Callback):
    """Asks to stop as a signal does: where the run begins (before the sweep or after it), or at a step."""

    at = 0

    def on_fit_start(self, trainer):
        if self.at == 0:
            self.stop(trainer)

    def on_step_end(self, trainer):
        if trainer.state.step == self.at:
            self.stop(trainer)

    def stop(self, trainer):
        mark = self.context.folder.path / "stopped"
        if "cut" in self.context.folder.path.name and not mark.exists():
            mark.touch()
            trainer.request_stop("stopped by SIGTERM", 15)


@pytest.fixture
def cut(monkeypatch, tmp_path):
    """Returns a function that trains a run in two parts."""

    def in_two_parts(at: int, callbacks: tuple[str, ...], *changes: str):
        register_callback(monkeypatch, Stops, "stops")
        monkeypatch.setattr(Stops, "at", at)
        with pytest.raises(Interrupted):
            train(tmp_path / "cut", *RUN, *SWEEP, *USE, SAVING, "scheduler=cosine", callbacks=callbacks)
        assert resume(tmp_path / "cut", *changes) is not None
        return tmp_path / "cut"

    return in_two_parts


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of the run that ``cut`` trains, in one part."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder, *RUN, *SWEEP, *USE, SAVING, "scheduler=cosine", callbacks=("lr_sweep", "checkpoint"))
    return folder


@pytest.mark.parametrize(
    ("at", "order"),
    [
        (0, ("stops", "lr_sweep", "checkpoint")),  # before the sweep, which ends at once
        (0, ("lr_sweep", "stops", "checkpoint")),  # after it
        (3, ("stops", "checkpoint", "lr_sweep")),
        (8, ("stops", "lr_sweep", "checkpoint")),
    ],
)
def test_a_resumed_run_goes_on_with_the_rate_that_was_found(whole, cut, at, order):
    folder = cut(at, order)
    rates = [row["lr"] for row in rows_of(folder)]
    assert max(rates) > 3e-4  # not that of the config
    assert without_times(rows_of(folder)) == without_times(rows_of(whole))
    assert_same(without_callbacks(last_state(folder)), without_callbacks(last_state(whole)))
    assert result_of(folder)["lr_sweep"] == result_of(whole)["lr_sweep"]
    log = (folder / "train.log").read_text(encoding="utf-8")
    assert log.count("lr_sweep: up to") == (2 if order[0] == "stops" and at == 0 else 1)


def test_a_rate_that_is_given_at_a_resume_holds(cut):
    folder = cut(8, ("stops", "lr_sweep", "checkpoint"), "optimizer.lr=5.0e-4")
    cosine = [row["lr"] for row in rows_of(folder)]
    assert cosine[0] > 5e-4 and cosine[-1] < 5e-4
    assert last_state(folder)["learning_rate"] == 5e-4


def test_without_the_callback_a_resumed_run_keeps_the_rate(whole, cut):
    folder = cut(8, ("stops", "lr_sweep", "checkpoint"), "callbacks={stops: {name: stops}}")
    assert without_times(rows_of(folder)) == without_times(rows_of(whole))


def test_a_run_that_it_joins_is_not_swept(tmp_path):
    train(tmp_path, *RUN, "callbacks.checkpoint.min_seconds=0", callbacks=("checkpoint",))
    own = "{name: lr_sweep, start: 1.0e-6, end: 1, steps: 30, scale: linear, smoothing: 0.5, diverge_factor: 4, "
    own += "use: valley}"
    resume(tmp_path, "trainer.max_epochs=5", f"callbacks.lr_sweep={own}")
    assert "lr_sweep looks at new runs alone" in (tmp_path / "train.log").read_text(encoding="utf-8")
    assert not (tmp_path / "lr_sweep.csv").exists() and "lr_sweep" not in result_of(tmp_path)


# --- what cannot be ---------------------------------------------------------------------------------------


def test_without_a_rate_the_training_keeps_its_own_and_says_so(tmp_path):
    flat = ("callbacks.lr_sweep.end=1.0e-5", "callbacks.lr_sweep.use=valley")
    train(tmp_path / "swept", *RUN, *SWEEP, *flat, callbacks=("lr_sweep",))
    train(tmp_path / "plain", *RUN)
    assert without_times(rows_of(tmp_path / "swept")) == without_times(rows_of(tmp_path / "plain"))
    log = (tmp_path / "swept" / "train.log").read_text(encoding="utf-8")
    assert "lr_sweep: no rate found (the last rate, 1e-05, was reached)" in log
    assert "WARNING lr_sweep: use=valley found no rate, so the training keeps optimizer.lr = 0.001" in log
    found = result_of(tmp_path / "swept")["lr_sweep"]
    assert [found[rule] for rule in RULES] == [None] * 3 and "used" not in found


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ("optimizer=lbfgs",),
            "optimizer.name = 'lbfgs': its lr is the first step of a line search. optimizer=adam can",
        ),
        (("model=knn",), "the model is fitted in one step, without a learning rate. Leave the callback out"),
        (("data=gate", "model=perceptron"), "the model learns by its own rule, which does not follow the loss."),
    ],
)
def test_what_cannot_be_swept_is_told_before_there_is_a_folder(tmp_path, overrides, reason):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", *overrides, callbacks=("lr_sweep",))
    assert str(caught.value).startswith(f"callbacks.lr_sweep: {reason}")
    assert not (tmp_path / "run").exists()


def test_an_error_in_the_sweep_ends_the_run_as_one_in_the_training(tmp_path, monkeypatch):
    loaded, _ = configure(tmp_path, *RUN)
    parts = assembly.build(loaded)
    kind, calls = type(parts.loss), []

    def fail(self, outputs, targets, weights=None):
        calls.append(torch.get_rng_state())
        if len(calls) == 5:
            raise RuntimeError("boom")
        return outputs.square().mean()

    monkeypatch.setattr(kind, "__call__", fail)
    with pytest.raises(RuntimeError, match="boom"):
        train(tmp_path / "run", *RUN, *SWEEP, callbacks=("lr_sweep",))
    assert result_of(tmp_path / "run")["status"] == "failed"
