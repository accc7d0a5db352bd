"""What holds for every callback there is, alone and together with all others."""

from __future__ import annotations

import random
import time
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from killing import assert_same, what_counts
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import build_trainer, configure, register_callback, result_of, resume, rows_of, train

from dltrain import assembly, config_files, registry, seed
from dltrain.callbacks.base import Callback
from dltrain.errors import ConfigError, Interrupted

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
        "data=korean_text", "model=gru", "model.dropout=0.3", "trainer.batch_size=2", "trainer.max_steps=8", *_COMMON,
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
    "profiler": ("callbacks.profiler.first_step=4", "callbacks.profiler.steps=3"),
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


def setup_of(name: str) -> tuple[str, ...]:
    (first, *_) = [setup for setup in SETUPS if fits(name, setup)]
    return (*SETUPS[first], *settings_of(name))


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
    """Is stopped by a signal once, in the middle of an epoch."""

    def on_step_end(self, trainer) -> None:
        mark = self.context.folder.path.parent / "stopped"
        if trainer.state.step == STOPS_AT and "parts" in self.context.folder.path.name and not mark.exists():
            mark.touch()
            trainer.request_stop("stopped", 15)


def in_parts(tmp_path: Path, overrides: tuple[str, ...], callbacks: tuple[str, ...], monkeypatch, *changes: str) -> Any:
    """Trains in two parts, the second with changed overrides."""
    register_callback(monkeypatch, Stops, "stops")
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", *overrides, callbacks=(*callbacks, "stops"))
    for path in (tmp_path / "parts" / "tensorboard").glob("events*"):  # which are sorted by the second of their start
        while time.time() < int(path.name.split(".")[3]) + 1:
            time.sleep(0.01)
    outcome = resume(tmp_path / "parts", *changes)
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("name", OURS)
def test_a_run_that_was_stopped_and_goes_on_is_the_uninterrupted_one(name, monkeypatch, tmp_path):
    callbacks = tuple(dict.fromkeys(["checkpoint", name]))
    overrides = (*setup_of(name), *settings_of("checkpoint"))
    in_parts(tmp_path, overrides, callbacks, monkeypatch)
    train(tmp_path / "whole", *overrides, callbacks=(*callbacks, "stops"))
    whole, parts = (unmeasured(what_counts(tmp_path / folder)) for folder in ("whole", "parts"))
    for counted in (whole, parts):
        counted["files"] = None  # how many older ones are kept depends on where it stopped
        counted["state"]["callbacks"]["checkpoint"].pop("saved")
    assert_same(whole, parts)
    assert events(tmp_path / "whole") == events(tmp_path / "parts")


@pytest.mark.parametrize("name", OURS)
def test_a_callback_does_not_change_the_training(name, tmp_path):
    overrides = setup_of(name)
    outcomes = [
        train(tmp_path / "alone", *overrides, callbacks=(name,)),
        train(tmp_path / "without", *[o for o in overrides if not o.startswith("callbacks.")]),
    ]
    generators = []
    for trainer in (outcome.trainer for outcome in outcomes):
        generators.append(seed.generator_states())
        assert all(parameter.grad is None for parameter in trainer.model.parameters())
    alone, without = (unmeasured(rows_of(outcome.folder.path)) for outcome in outcomes)
    for one, other in zip(alone, without, strict=True):
        names = [n for n in other if name not in AVERAGING or not n.startswith("val/")]
        assert {n: one[n] for n in names} == {n: other[n] for n in names}
    for result in (outcome.result for outcome in outcomes):
        assert result["status"] == "done"
    if all(outcome.result.get("test_weights", "last") == "last" for outcome in outcomes):
        assert_same(*(outcome.trainer.model.state_dict() for outcome in outcomes))
    assert_same(*(outcome.trainer.step.state_dict() for outcome in outcomes))


def end_of(folder: Path, overrides: tuple[str, ...], callbacks: tuple[str, ...]) -> list[Any]:
    """Trains; returns the state of the instant at which the training ends, before the best weights are loaded."""
    if not callbacks:
        overrides = tuple(override for override in overrides if not override.startswith("callbacks."))
    trainer = build_trainer(folder, *overrides, callbacks=callbacks)
    trainer._load_final_weights = lambda: None
    trainer.test = None
    trainer.fit()
    modes = {name: module.training for name, module in trainer.model.named_modules()}
    return [trainer.model.state_dict(), seed.generator_states(), modes]


@pytest.mark.parametrize("name", OURS)
def test_random_numbers_modes_and_buffers_are_left_alone(name, tmp_path):
    with_it = end_of(tmp_path / "with", setup_of(name), (name,))
    assert_same(with_it, end_of(tmp_path / "without", setup_of(name), ()))


@pytest.mark.parametrize("what", ["random numbers", "modes", "buffers", "nothing"])
def test_a_callback_that_disturbs_the_training_would_be_found(what, monkeypatch, tmp_path):
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
    ends = [end_of(tmp_path / str(len(names)), SETUPS["classes"], names) for names in (("disturbs",), ())]
    with nullcontext() if what == "nothing" else pytest.raises(AssertionError):
        assert_same(*ends)


@pytest.mark.parametrize("name", OURS)
def test_a_callback_may_join_a_run_that_goes_on(name, monkeypatch, tmp_path):
    if name == "checkpoint":
        pytest.skip("without it nothing is saved to go on with")
    values = configure(tmp_path, *setup_of(name), callbacks=(name,))[1]["callbacks"][name]
    plain = (*[o for o in setup_of(name) if not o.startswith("callbacks.")], *settings_of("checkpoint"))
    changes = [f"callbacks.{name}={yaml.safe_dump(values, default_flow_style=True)}"]
    outcome = in_parts(tmp_path, plain, ("checkpoint",), monkeypatch, *changes)
    whole = train(tmp_path / "whole", *plain, callbacks=("checkpoint", "stops"))
    assert outcome.trainer.state == whole.trainer.state
    assert_same(outcome.trainer.step.state_dict(), whole.trainer.step.state_dict())
    assert name in yaml.safe_load((tmp_path / "parts" / "config.yaml").read_text(encoding="utf-8"))["callbacks"]


@pytest.mark.parametrize("name", OURS)
def test_a_callback_may_leave_a_run_that_goes_on(name, monkeypatch, tmp_path):
    callbacks = tuple(dict.fromkeys(["checkpoint", name]))
    overrides = (*setup_of(name), *settings_of("checkpoint"))
    outcome = in_parts(tmp_path, overrides, callbacks, monkeypatch, 'callbacks={"stops": {"name": "stops"}}')
    whole = train(tmp_path / "whole", *[o for o in overrides if not o.startswith("callbacks.")])
    assert outcome.trainer.state == whole.trainer.state
    assert_same(outcome.trainer.step.state_dict(), whole.trainer.step.state_dict())


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
