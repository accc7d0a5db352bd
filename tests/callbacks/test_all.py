"""What holds for every callback there is, alone and together with all others."""

from __future__ import annotations

import random
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from killing import assert_same, what_counts
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import configure, register_callback, result_of, resume, rows_of, train

from dltrain import assembly, config_files, registry, run, seed
from dltrain.callbacks.base import Callback
from dltrain.errors import ConfigError, Interrupted
from dltrain.trainer import Trainer

OURS = registry.names("callbacks")

# Trainings that are easily disturbed: dropout draws random numbers, normalisation has buffers, updates take two
# batches, rows are due within epochs. 6 updates an epoch and 5, two epochs and a half.
_COMMON = (
    "trainer.accumulate=2", "trainer.evaluate_every_steps=4", "trainer.max_epochs=null", "scheduler=cosine",
    "optimizer=adam",
)  # fmt: skip
SETUPS = {
    "classes": (
        "data=iris", "model=mlp", "model.hidden=[6]", "model.norm=batch", "model.dropout=0.3", "trainer.batch_size=8",
        "trainer.max_steps=15", *_COMMON,
    ),
    "tokens": (
        "data=korean_text", "model=gru", "model.hidden=8", "model.dropout=0.3", "trainer.batch_size=2",
        "trainer.max_steps=8", *_COMMON,
    ),
}  # fmt: skip
STOPS_AT = 5  # within an epoch, and at no row

# What makes a callback do something in so short a training.
SETTINGS = {
    "tensorboard": ("callbacks.tensorboard.graph=false", "callbacks.tensorboard.histograms_every_epochs=1"),
    "checkpoint": ("callbacks.checkpoint.min_seconds=0", "callbacks.checkpoint.keep_last=2"),
    "early_stopping": ("callbacks.early_stopping.patience=9",),
    "ema": ("callbacks.ema.decay=0.5", "callbacks.ema.every_steps=2"),
    "swa": ("callbacks.swa.start_epoch=1", "callbacks.swa.every_steps=2"),
    "lr_sweep": ("callbacks.lr_sweep.steps=20",),
    "learning_rate_monitor": ("callbacks.learning_rate_monitor.every_steps=1",),
    "predictions": ("callbacks.predictions.num_tokens=4",),  # each is a step, which the profiler has to write down
    "profiler": ("callbacks.profiler.first_step=5", "callbacks.profiler.steps=2"),
    "device_stats": ("callbacks.device_stats.every_seconds=0.000001",),
}

# Callbacks whose purpose it is that other weights are evaluated.
AVERAGING = [name for name in OURS if registry.find("callbacks", name).factory.overrides("averaged_weights")]
# What depends on the clock and on the machine.
MEASURED = ("device/", "epoch_seconds", "seconds", "peak_")


@cache
def fits(name: str, setup: str) -> bool:
    """Tells whether a callback goes with a training."""
    overrides = settings_of(name)
    try:
        assembly.build(configure(Path("unused"), *SETUPS[setup], *overrides, callbacks=(name,))[0])
    except ConfigError as error:
        assert all(problem.startswith(f"callbacks.{name}") for problem in error.problems), error
        return False
    return True


def settings_of(*names: str) -> tuple[str, ...]:
    return tuple(override for name in names for override in SETTINGS.get(name, ()))


def setup_of(name: str) -> str:
    """Returns the first training that a callback goes with."""
    return next(setup for setup in SETUPS if fits(name, setup))


def test_each_callback_goes_with_some_training_and_has_a_file():
    files = config_files.options("callbacks", [])
    assert set(files) - {"default", "none"} == set(OURS)
    for name in OURS:
        assert any(fits(name, setup) for setup in SETUPS), name


def events(folder: Path) -> dict[str, list[Any]]:
    """Returns all that TensorBoard shows of a run, each with its step, but for what is measured."""
    if not (folder / "tensorboard").exists():
        return {}
    read = EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
    ).Reload()
    shown: dict[str, list[Any]] = {}
    for tag in read.Tags()["scalars"]:
        shown[tag] = [(event.step, event.value) for event in read.Scalars(tag)]
    for tag in read.Tags()["histograms"]:
        shown[tag] = [(event.step, event.histogram_value) for event in read.Histograms(tag)]
    for tag in read.Tags()["images"]:
        shown[tag] = [(event.step, event.encoded_image_string) for event in read.Images(tag)]
    for tag in read.Tags()["tensors"]:
        protos = [(event.step, event.tensor_proto) for event in read.Tensors(tag)]
        shown[tag] = [(step, proto.string_val[:], proto.float_val[:]) for step, proto in protos]
    return {tag: seen for tag, seen in shown.items() if not tag.startswith((*MEASURED, "config"))}


def unmeasured(value: Any) -> Any:
    """Returns nested values without what the clock and the machine say."""
    if isinstance(value, dict):
        kept = {key: unmeasured(item) for key, item in value.items() if not str(key).startswith(MEASURED)}
        return {key: item for key, item in kept.items() if key != "device_stats"}
    return [unmeasured(item) for item in value] if isinstance(value, list) else value


class Stops(Callback):
    """Is stopped by a signal, in the middle of an epoch, where the folder's name says so."""

    def on_step_end(self, trainer) -> None:
        if trainer.state.step == STOPS_AT and self.context.folder.path.name == "parts":
            trainer.request_stop("stopped", 15)


def stopped(folder: Path, setup: str, callbacks: tuple[str, ...]) -> Path:
    """Trains until the signal; returns the folder, whose events are those of an earlier second.

    TensorBoard sorts its files by the second of their start.
    """
    with pytest.raises(Interrupted):
        train(folder / "parts", *SETUPS[setup], *settings_of(*callbacks), callbacks=(*callbacks, "stops"))
    for path in (folder / "parts" / "tensorboard").glob("events*"):
        *first, second, host, process, number = path.name.rsplit(".", 4)
        path.rename(path.with_name(".".join([*first, str(int(second) - 1), host, process, number])))
    return folder / "parts"


@dataclass(frozen=True)
class Ended:
    """A training that has ended.

    Attributes:
        state: of the instant before the best weights are loaded: weights and buffers, random numbers, modes.
    """

    outcome: run.Outcome
    rows: list[dict[str, Any]]
    state: list[Any]


def ended(folder: Path, setup: str, callbacks: tuple[str, ...] = (), others: tuple[str, ...] = ()) -> Ended:
    """Trains to the end.

    Args:
        others: callbacks without settings of their own.
    """
    states: list[Any] = []
    load = Trainer._load_final_weights

    def noted(trainer: Trainer) -> None:
        weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        modes = {name: module.training for name, module in trainer.model.named_modules()}
        states.append([weights, seed.generator_states(), modes])
        load(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_load_final_weights", noted)
        outcome = train(folder, *SETUPS[setup], *settings_of(*callbacks), callbacks=(*callbacks, *others))
    (state,) = states
    return Ended(outcome, rows_of(folder), state)


class Compared:
    """The trainings that the tests of all callbacks compare with, each of which is made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, str], Any] = {}

    def bare(self, setup: str) -> Ended:
        """Returns the training without any callback."""
        return self._once("bare", setup, lambda folder: ended(folder, setup))

    def saved(self, setup: str) -> Ended:
        """Returns the uninterrupted training of ``saved_in_part``."""
        return self._once("saved", setup, lambda folder: ended(folder, setup, ("checkpoint",), ("stops",)))

    def saved_in_part(self, setup: str) -> Path:
        """Returns the folder of a training that was stopped, with no callback but that which saves it."""
        return self._once("part", setup, lambda folder: stopped(folder, setup, ("checkpoint",)))

    def _once(self, what: str, setup: str, make: Any) -> Any:
        if (what, setup) not in self._made:
            self._made[what, setup] = make(self._folder / f"{what}-{setup}")
        return self._made[what, setup]


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Compared:
    return Compared(tmp_path_factory.mktemp("compared"))


SLOW = ("mlflow", "wandb", "profiler")  # whose libraries take seconds to start


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in OURS]
)
def test_a_run_that_was_stopped_goes_on_as_the_uninterrupted_one_and_without_a_callback_too(
    name, compared, monkeypatch, tmp_path
):
    register_callback(monkeypatch, Stops, "stops")
    setup, callbacks = setup_of(name), tuple(dict.fromkeys(["checkpoint", name]))
    parts = stopped(tmp_path / "with", setup, callbacks)
    left = Path(shutil.copytree(parts, tmp_path / "left" / "parts"))

    assert resume(parts) is not None
    train(tmp_path / "whole", *SETUPS[setup], *settings_of(*callbacks), callbacks=(*callbacks, "stops"))
    counted = [unmeasured(what_counts(folder)) for folder in (tmp_path / "whole", parts)]
    for one in counted:
        one["files"] = None  # how many older ones are kept depends on where it stopped
        one["state"]["callbacks"]["checkpoint"].pop("saved")
    assert_same(*counted)
    assert events(tmp_path / "whole") == events(parts)

    gone_on = resume(left, 'callbacks={"stops": {"name": "stops"}}')
    assert gone_on is not None
    assert_has_ended_as(gone_on, compared.bare(setup))


def assert_has_ended_as(outcome: run.Outcome, whole: Ended) -> None:
    """Checks that a training has ended where another one has, with the same state of its optimizer."""
    assert outcome.trainer.state == whole.outcome.trainer.state
    assert_same(outcome.trainer.step.state_dict(), whole.outcome.trainer.step.state_dict())


@pytest.mark.parametrize("name", OURS)
def test_a_callback_may_join_a_run_that_goes_on(name, compared, monkeypatch, tmp_path):
    if name == "checkpoint":
        pytest.skip("without it nothing is saved to go on with")
    register_callback(monkeypatch, Stops, "stops")
    setup = setup_of(name)
    values = configure(tmp_path, *SETUPS[setup], *settings_of(name), callbacks=(name,))[1]["callbacks"][name]
    parts = Path(shutil.copytree(compared.saved_in_part(setup), tmp_path / "parts"))
    outcome = resume(parts, f"callbacks.{name}={yaml.safe_dump(values, default_flow_style=True)}")
    assert outcome is not None
    assert_has_ended_as(outcome, compared.saved(setup))
    assert name in yaml.safe_load((parts / "config.yaml").read_text(encoding="utf-8"))["callbacks"]


@pytest.mark.parametrize("name", OURS)
def test_a_callback_does_not_change_the_training_and_leaves_random_numbers_modes_and_buffers_alone(
    name, compared, tmp_path
):
    alone, without = ended(tmp_path / "alone", setup_of(name), (name,)), compared.bare(setup_of(name))
    for one, other in zip(unmeasured(alone.rows), unmeasured(without.rows), strict=True):
        names = [n for n in other if name not in AVERAGING or not n.startswith("val/")]
        assert {n: one[n] for n in names} == {n: other[n] for n in names}
    assert_same(alone.state, without.state)
    assert_has_ended_as(alone.outcome, without)
    for outcome in (alone.outcome, without.outcome):
        assert outcome.result["status"] == "done"
        assert all(parameter.grad is None for parameter in outcome.trainer.model.parameters())
    if all(one.outcome.result.get("test_weights", "last") == "last" for one in (alone, without)):
        assert_same(*(one.outcome.trainer.model.state_dict() for one in (alone, without)))


@pytest.mark.parametrize("what", ["random numbers", "modes", "buffers", "nothing"])
def test_a_callback_that_disturbs_the_training_would_be_found(what, compared, monkeypatch, tmp_path):
    class Disturbs(Callback):
        def on_epoch_end(self, trainer) -> None:
            if what == "random numbers":
                torch.rand(1)
            elif what == "modes":
                trainer.model.eval()
            elif what == "buffers":
                trainer.model(next(trainer.train.batches(0)).inputs)

        def on_fit_end(self, trainer) -> None:
            self.on_epoch_end(trainer)

    register_callback(monkeypatch, Disturbs, "disturbs")
    disturbed = ended(tmp_path / "disturbed", "classes", others=("disturbs",))
    with nullcontext() if what == "nothing" else pytest.raises(AssertionError):
        assert_same(disturbed.state, compared.bare("classes").state)


def together(setup: str, average: str) -> list[str]:
    """Returns all callbacks that can stand in one run, with one average of the weights."""
    return [name for name in OURS if fits(name, setup) and (name not in AVERAGING or name == average)]


def shuffled(names: list[str], number: int) -> list[str]:
    order = list(names)
    random.Random(number).shuffle(order)
    return order


def what_stays(folder: Path, setup: str, order: list[str]) -> Any:
    """Trains with callbacks in this order; returns all that may not depend on it."""
    folder.parent.mkdir()
    outcome = train(folder, *SETUPS[setup], *settings_of(*sorted(order)), callbacks=tuple(order))
    assert list(outcome.trainer.callbacks) == order
    counted = unmeasured(what_counts(folder))
    counted["config"]["callbacks"] = dict(sorted(counted["config"]["callbacks"].items()))
    counted["state"]["callbacks"] = dict(sorted(counted["state"]["callbacks"].items()))
    paths = [path.relative_to(folder) for path in folder.rglob("*") if "tfevents" not in path.name]
    files = [str(path) for path in paths if path.parts[0] != "wandb"]  # whose names have the time of day
    return {
        **counted,
        "weights": outcome.trainer.model.state_dict(),
        "result": unmeasured(result_of(folder)),
        "columns": [list(row) for row in rows_of(folder)],
        "events": events(folder),
        "all_files": sorted(files),
    }


@pytest.mark.parametrize(
    ("setup", "average", "seeds"),
    [
        ("classes", "ema", (0,)),
        *[
            pytest.param(*which, marks=pytest.mark.slow)
            for which in (("tokens", "swa", (1,)), ("classes", "swa", range(2, 8)), ("tokens", "ema", range(2, 8)))
        ],
    ],
)
def test_the_order_in_the_yaml_changes_nothing(setup, average, seeds, tmp_path):
    names = together(setup, average)
    assert {"checkpoint", "tensorboard", "early_stopping", "summary", "progress", average} < set(names)
    first = what_stays(tmp_path / "names" / "run", setup, names)
    assert_same(first, what_stays(tmp_path / "reversed" / "run", setup, names[::-1]))
    for number in seeds:
        assert_same(first, what_stays(tmp_path / str(number) / "run", setup, shuffled(names, number)))
