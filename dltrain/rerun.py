"""A run once more, from what its folder keeps, and whether it came to the same figures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dltrain import run, transfer
from dltrain.agreement import Agreement
from dltrain.assembly import Shared
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import Config
from dltrain.console import log
from dltrain.errors import DivergedError, DltrainError, Interrupted, TimeUp
from dltrain.run_folder import RunFolder, write_json

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

# Settings that were changed on the way, and are without effect on the figures up to there.
_HARMLESS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "callbacks.", "imports", "report")

# Lines of train.log of which each says that something was no longer what it had been when the run went on.
_CHANGED = re.compile(r"^\S+ \S+ (?:INFO changed: (.+)|WARNING (.+ before, now .+))$")


@dataclass(frozen=True)
class Repeated:
    """A run that was repeated.

    Attributes:
        outcome: None where something ended it before its time.
        stopped_by: what that was: its loss diverged, or ``trainer.max_time`` was used up.
    """

    folder: RunFolder
    outcome: run.Outcome | None
    stopped_by: DltrainError | None


def container(before: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Returns what is to be trained: a run's config in a folder of its own, with what the command line changes.

    Raises:
        ConfigError: an override cannot be used.
    """
    # The old folder is never written to, and there is nothing yet to go on with.
    again = {**before, "run_dir": None, "resume": False}
    if overrides:
        from dltrain import compose

        again = compose.override_values(again, overrides)
    return again


def changed_on_the_way(folder: RunFolder, config: Config) -> list[str]:
    """Returns a line for each setting, and each machine, that the run had in its first part and not in its last.

    A run that went on with other settings is repeated with those of its end from the start on.
    """
    if not folder.log.exists():
        return []
    has_schedule = config.scheduler.name != "constant"  # whose course may depend on the length
    lines = []
    for line in folder.log.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _CHANGED.match(line)
        if found is None:
            continue
        text = found[1] or found[2]
        harmless = any(text.startswith(key) for key in _HARMLESS)
        if not harmless or (has_schedule and text.startswith("trainer.max_")):
            lines.append(f"changed on the way: {text}")
    return list(dict.fromkeys(lines))


def weights_changed(config: Config, began: Any) -> list[str]:
    """Returns a line where the weights that the run started from were written after it began.

    Args:
        began: when, as ``environment.json`` says it; None where that is not known.

    Raises:
        ConfigError: they are not there any more.
    """
    if config.transfer.init_from is None or not isinstance(began, str):
        return []
    source = transfer.source(config.transfer.init_from)
    try:
        start = datetime.strptime(began, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return []
    if _written(source) <= start + 1:  # the file has whole seconds
        return []
    return [f"weights: {source}, which model.init_from names, was written to after the run began"]


def _written(source: Path) -> float:
    """Returns when weights were last written, in seconds since 1970."""
    files = [source] if source.is_file() else list(RunFolder(source).checkpoints.glob("*"))
    return max((path.stat().st_mtime for path in files), default=0.0)


@dataclass(frozen=True)
class _WatcherSettings:
    name: str = "rerun"


class _Watcher(Callback):
    """Knows the folder of the run that it is in, and says in its log what that repeats."""

    def __init__(self, context: RunContext, old: RunFolder) -> None:
        super().__init__(_WatcherSettings(), context=context)
        self._old = old

    @property
    def folder(self) -> RunFolder:
        return self.context.folder

    def on_fit_start(self, trainer: Trainer) -> None:
        log.info("repeats %s", self._old.path)


def repeat(old: RunFolder, config: Config, container: dict[str, Any], overrides: list[str], shared: Shared) -> Repeated:
    """Trains a run again, in a new folder.

    Args:
        config, container: as ``container`` returns it.
        overrides: what the command line changes, for ``overrides.yaml``.

    Raises:
        DltrainError: see ``run.train``; ``Interrupted`` says how to compare what is there when it has gone on.
    """
    watchers: list[_Watcher] = []

    def watch(context: RunContext) -> Callback:
        watchers.append(_Watcher(context, old))
        return watchers[-1]

    shared.observers = (watch,)
    try:
        outcome = run.train(config, container, [*_said(old), *overrides], shared)
        return Repeated(outcome.folder, outcome, None)
    except Interrupted as error:
        new = watchers[-1].folder.path
        raise Interrupted(
            f"{error}, and compare it then with: dltrain rerun {old.path} --with {new}", error.exit_code - 128
        ) from error
    except (DivergedError, TimeUp) as error:
        return Repeated(watchers[-1].folder, None, error)


def _said(folder: RunFolder) -> list[str]:
    """Returns the command line of a run, as far as its folder tells."""
    try:
        said = yaml.safe_load(folder.overrides.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return []
    return [str(text) for text in said if not str(text).startswith(("run_dir=", "resume="))] if said else []


def write_verdict(old: RunFolder, new: RunFolder, known: list[str], agreement: Agreement) -> None:
    """Writes ``rerun.json`` into the new run's folder.

    Raises:
        MachineError: the disk is full.
    """
    first = agreement.discrepancies[0] if agreement.discrepancies else None
    write_json(
        new.path / "rerun.json",
        {
            "of": str(old.path.absolute()),
            "agrees": agreement.agrees,
            "rows": agreement.rows,
            "rows_only_in_old": agreement.only_old,
            "rows_only_in_new": agreement.only_new,
            "known_differences": known,
            "differing_figures": len(agreement.discrepancies),
            "first": None if first is None else vars(first),
            "largest_relative_difference": max((found.relative for found in agreement.discrepancies), default=0.0),
        },
    )
