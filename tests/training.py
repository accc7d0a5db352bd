"""Small trainings for tests: a config without Hydra, and the real trainer in a folder of the test's own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from dltrain import assembly, config, config_files, registry, run
from dltrain.callbacks.base import Callback
from dltrain.config import Config, setting
from dltrain.data import Data
from dltrain.run_folder import RunFolder
from dltrain.steps import EagerStep, Step
from dltrain.trainer import Trainer

_GROUPS = {
    "device": "cpu",
    "trainer": "default",
    "data": "iris",
    "model": "linear",
    "loss": "auto",
    "optimizer": "sgd",
    "scheduler": "constant",
    "sweep": "auto",
}


def settings_of(kind: str, name: str, **changes: Any) -> Any:
    """Returns a component's settings as its YAML file has them, with changes."""
    values = config_files.values(config_files.options(kind, [])[name])[kind]
    values = values[name] if kind == "callbacks" else values
    problems: list[str] = []
    converted = config.convert({**values, **changes}, registry.find(kind, name).settings, kind, problems)
    assert not problems, problems
    return converted


def configure(folder: Path, *overrides: str, callbacks: tuple[str, ...] = ()) -> tuple[Config, dict[str, Any]]:
    """Returns a checked config and its plain values: what the command line would give, with these callbacks.

    Args:
        overrides: group=option or key=value, as on the command line.
    """
    chosen = dict(_GROUPS)
    values = {}
    for override in overrides:
        key, _, value = override.partition("=")
        if key in chosen:
            chosen[key] = value
        else:
            values[key] = yaml.safe_load(value)
    container = config_files.values(config_files.config_dir() / "train.yaml")
    for group, option in chosen.items():
        for name, content in config_files.values(config_files.options(group, [])[option]).items():
            container[name] = {**container.get(name, {}), **content}
    container["callbacks"] = {}
    for name in callbacks:
        files = config_files.options("callbacks", [])
        own = config_files.values(files[name])["callbacks"] if name in files else {name: {"name": name}}
        container["callbacks"].update(own)
    container["device"]["threads"] = 1
    container["run_dir"] = str(folder)
    for key, value in values.items():
        *parents, last = key.split(".")
        group = container
        for parent in parents:
            group = group[parent]
        group[last] = value
    return config.load(container), container


def train(folder: Path, *overrides: str, callbacks: tuple[str, ...] = ()) -> run.Outcome:
    return run.train(*configure(folder, *overrides, callbacks=callbacks), list(overrides))


def resume(folder: Path, *overrides: str) -> run.Outcome | None:
    """Goes on with a run, with overrides of values as on the command line."""
    container = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    for override in overrides:
        key, _, value = override.partition("=")
        *parents, last = key.split(".")
        group = container
        for parent in parents:
            group = group[parent]
        group[last] = yaml.safe_load(value)
    return run.resume(RunFolder(folder), config.load(container), container, list(overrides))


def build_trainer(
    folder: Path,
    *overrides: str,
    callbacks: tuple[str, ...] = (),
    data: Data | None = None,
    step: type[Step] | None = None,
) -> Trainer:
    """Builds a trainer that has not started.

    Args:
        data: instead of what the config names.
        step: the class of the step, instead of the one that the optimizer needs.
    """
    loaded, container = configure(folder, *overrides, callbacks=callbacks)
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(run.dump_yaml(container), encoding="utf-8")
    parts = assembly.build(loaded)
    if data is not None:
        parts = replace(parts, data=data)
    built = assembly.build_step(parts)
    if step is not None:
        built = step(built.model, built.loss, built.optimizer, built.clip_norm, built.autocast)
    return assembly.build_trainer(parts, built, RunFolder(folder), container)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "epoch_seconds"} for row in rows]


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class NameOnly:
    """Settings of a callback that has none."""

    name: str = setting("Name of the callback.")


def register_callback(monkeypatch, kind: type[Callback], name: str) -> None:
    """Registers a callback for the time of one test, as a user's module would."""
    for group in registry.BUILT_IN:
        registry.names(group)  # loads our own first, which must stay
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register("callbacks", name, NameOnly)(kind)


class FailsAt(EagerStep):
    """A step whose loss is NaN at one batch; ``batch`` counts all batches of the training from 0."""

    batch = 0
    done = 0

    def __call__(self, batch, share=1.0, update=True):
        result = super().__call__(batch, share, update)
        self.done += 1
        return result._replace(loss=result.loss * float("nan")) if self.done - 1 == self.batch else result
