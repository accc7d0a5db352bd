"""What may change when a run goes on, and why the rest may not.

A run that goes on must be the run that it was: what is computed from the same state stays the same. What only says how
long it trains, what it reports and where it runs may change, and the learning rate where somebody says so. Anything
else would be another training, which has a way of its own: a new run from these weights (``model.init_from``).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain import config_files
from dltrain.errors import ConfigError

GROUPS = "optimizer.groups"

# Keys that may change, and beginnings of keys where they end in a dot.
MAY_CHANGE = (
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.on_divergence",
    "trainer.max_rollbacks",
    "trainer.rollback_factor",
    "trainer.evaluate_every_epochs",
    "trainer.evaluate_every_steps",
    "trainer.evaluation_batch_size",
    "optimizer.lr",
    "callbacks.",
    "device.",
    "data.workers",
    "imports",
    "report",
)

# Beginnings of keys, and why a run cannot go on with another value; the first that fits a key holds.
_WHY = {
    "run_dir": "a run stays in its folder; one that was moved is named as it lies now",
    "model.init_from": "it has weights of its own by now",
    "seed": "the order of the samples would be another",
    "data.": "the samples, or what a model sees of them, would be others",
    "model.": "the saved weights and what the optimizer has gathered belong to the model as it was",
    "loss.": "another loss would be minimised",
    GROUPS: "what the optimizer has gathered is sorted by these groups; of a group, lr alone may change",
    "optimizer.": "what the optimizer has gathered belongs to its settings as they were",
    "scheduler.": "the learning rate would leave its course",
    "trainer.batch_size": "an epoch would be cut into other steps, and the place in it would be lost",
    "trainer.accumulate": "an epoch would be cut into other updates, and the place in it would be lost",
    "": "the training would be another",
}

# Optimizers that compute the weights anew from the sums of all gradients and the rate: another one scales the weights.
_WEIGHTS_FROM_RATE = ("ftrl", "adagrad_dual_averaging")

# What trainer.auto_batch_size writes into the config.
FOUND = ("batch_size", "accumulate", "evaluation_batch_size", "auto_batch_size")

_COMPONENTS = ("data", "model", "loss", "optimizer", "scheduler")


@dataclass(frozen=True)
class Difference:
    """A setting that is not what it was; None stands for one that is not there."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} -> {_shown(self.new)}"

    @property
    def override(self) -> str:
        """What says the new value on a command line."""
        return f"{self.key}={_shown(self.new)}"


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """Returns what differs between the config of a run and the one that it is to go on with.

    A component or a callback that is another one is one difference. Paths are compared as absolute ones, since a run
    keeps them so.
    """
    return [change for change in _of_part("", before, now) if not _is_same_path(change)]


def _of_part(key: str, old: Any, new: Any) -> list[Difference]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [Difference(key, old, new)]
    if old.get("name") != new.get("name") and key in _COMPONENTS:
        return [Difference(key, old.get("name"), new.get("name"))]
    if old.get("name") != new.get("name") and key.startswith("callbacks."):
        return [Difference(key, old, new)]
    if key == GROUPS and list(old) != list(new):  # their order decides what fits a name
        return [Difference(key, old, new)]
    names = [*new, *(name for name in old if name not in new)]
    return [
        change
        for name in names
        for change in _of_part(f"{key}.{name}" if key else str(name), old.get(name), new.get(name))
    ]


def with_own(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Returns the config as it is now, with what says nothing of the training as the run had it."""
    own = {key: before[key] for key in ("run_dir", "resume", "sweep") if key in before}
    whole = now | own
    if "init_from" in (before.get("model") or {}):
        whole["model"] = {**now["model"], "init_from": before["model"]["init_from"]}
    if now["trainer"].get("auto_batch_size"):  # the run has found what fits
        whole["trainer"] = {**now["trainer"], **{name: before["trainer"][name] for name in FOUND}}
    return whole


def taken_over(
    before: dict[str, Any], container: dict[str, Any], overrides: Iterable[str], path: Path
) -> tuple[dict[str, Any], list[Difference]]:
    """Returns the config with which a run of the same command goes on (``resume=true``), and what of it is another.

    Args:
        before: the run's config.
        container: as it is composed now.
        overrides: that were said, for a default that has changed since is none of the user's.

    Raises:
        ConfigError: the run was started with other settings, of those that may not change.
    """
    container = with_own(before, container)
    changes = differences(before, container)
    words = [text.lstrip("+~").partition("=")[0] for text in overrides]
    said = [word for word in words if word not in config_files.GROUPS]  # a group's values stand in a YAML file
    refused = refusals(changes, path, container, lambda key: any(f"{key}.".startswith(f"{name}.") for name in said))
    if refused:
        refused[-1] += f"\nOr go on with the run as it was: dltrain resume {path}"
        raise ConfigError(*refused)
    return container, changes


def refusals(
    changes: list[Difference], folder: Path, now: dict[str, Any], said: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """Returns why a run cannot go on with these differences, a line each, and what to do instead.

    Args:
        now: the config with them.
        said: whether the command line itself says a key, and not a YAML file; the learning rate changes only then.
    """
    problems, instead = [], []
    for change in changes:
        is_rate = _is_rate(change)
        if is_rate and not said(change.key):
            problems.append(f"{change}. A run that goes on keeps its rate unless the command line says {change.key}")
        elif is_rate and (name := _component(now, "optimizer")) in _WEIGHTS_FROM_RATE:
            problems.append(f"{change}. optimizer={name} computes the weights from the rate: they would jump")
            instead.append(change)
        elif not is_rate and not _may_change(change):
            problems.append(f"{change}. A run that goes on cannot change it: {_why(change.key)}")
            instead.append(change)
    if instead:
        problems[-1] += _remedy(instead, folder)
    return problems


def _remedy(changes: list[Difference], folder: Path) -> str:
    """Returns the command of a new run with these changes, from the weights of the old one."""
    if any(change.key in _COMPONENTS for change in changes):
        return f".\nTrain a new run instead; model.init_from={folder} starts it from these weights where they fit"
    changed = " ".join(_quoted(change.override) for change in changes)
    start = f"dltrain --config {folder / 'config.yaml'} model.init_from={folder}"
    return f".\nTrain a new run from these weights instead: {start} {changed}"


def _may_change(change: Difference) -> bool:
    return _fits(change.key, MAY_CHANGE) or _is_path(change.key)


def _is_rate(change: Difference) -> bool:
    """Tells whether this is the learning rate, or that of a group of parameters which was there before."""
    key = change.key
    return key == "optimizer.lr" or (key.startswith(f"{GROUPS}.") and key.endswith(".lr"))


def _why(key: str) -> str:
    return next(why for start, why in _WHY.items() if f"{key}.".startswith(start))


def _fits(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in names)


def _is_path(key: str) -> bool:
    """Tells whether a setting of the data says where they lie; whether they are the same, their fingerprint tells."""
    return key.startswith("data.") and key.endswith(("path", "root"))


def _is_same_path(change: Difference) -> bool:
    if not _is_path(change.key) or not isinstance(change.old, str) or not isinstance(change.new, str):
        return False
    return Path(change.old).expanduser().resolve() == Path(change.new).expanduser().resolve()


def _component(container: dict[str, Any], group: str) -> Any:
    return (container.get(group) or {}).get("name")


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)


def _quoted(override: str) -> str:
    """Returns an override as a shell takes it."""
    return shlex.quote(override) if any(letter in override for letter in " '\"{}[]*$|&;<>()") else override
