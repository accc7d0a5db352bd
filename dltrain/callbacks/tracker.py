"""What the callbacks of trackers share: programs that keep the figures of many runs, such as MLflow.

A tracker gets the config and the rows of figures. It never ends a training: what it cannot write or send is said once,
is kept, and is tried once more at the end.
"""

from __future__ import annotations

import abc
import contextlib
import importlib
import importlib.util
import logging
import os
import random
import re
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import Config
from dltrain.console import log
from dltrain.data import Data
from dltrain.run_folder import read_json, refuse_links, write_json

if TYPE_CHECKING:
    from torch import nn

    from dltrain.history import Row
    from dltrain.losses import Loss
    from dltrain.trainer import Trainer

# Of a row, what is not told as a figure: the step is told beside each, and of a partial row there is nothing to say.
_NO_FIGURES = ("step", "partial")

# Letters of an error that are said.
_LONGEST = 240


@dataclass(frozen=True)
class Point:
    """The figures of one row.

    Attributes:
        seconds: when it came, since 1970.
    """

    step: int
    seconds: float
    figures: dict[str, float]


class Tracker(Callback, abc.ABC):
    """Hands the rows of a run to another program, several at once and at most every ``flush_seconds``.

    What the program calls the run is kept in the run folder, so that a run which goes on goes on there as well, and so
    is up to which step it has the rows: what a killed process had not yet handed over is made up for. What is computed
    a second time, from the newest checkpoint on, is told a second time.
    """

    title: ClassVar[str]  # what a person calls the program
    package: ClassVar[str]  # what it is imported as
    environment: ClassVar[dict[str, str]]  # variables that it is called with, where nobody has set them

    def __init__(self, settings: Any, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._trainer: Trainer | None = None
        self._waiting: list[Point] = []
        self._run: str | None = None
        self._has_failed = False
        self._last_flush = 0.0

    # --- what each program does in its own way ------------------------------------------------------------

    @abc.abstractmethod
    def open(self, known: str | None) -> str:
        """Begins a run in the program, or goes on with one; returns what the program calls it.

        Args:
            known: what this returned when the run began; None where it begins.
        """

    @abc.abstractmethod
    def send(self, points: list[Point]) -> None:
        """Hands over rows, oldest first."""

    @abc.abstractmethod
    def finish(self, result: dict[str, Any]) -> None:
        """Hands over the figures of the test split, and ends the run in the program.

        Args:
            result: as ``result.json`` will have it, but for the time; its status is done, interrupted or failed.
        """

    # --- the hooks ----------------------------------------------------------------------------------------

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        if importlib.util.find_spec(cls.package) is None:
            return [f'{key}: {cls.title} is not installed. Install it with: pip install "dltrain[trackers]"']
        return []

    def on_fit_start(self, trainer: Trainer) -> None:
        self._trainer = trainer
        with self._surviving():
            self._open(trainer)
        self._last_flush = time.monotonic()

    def on_validation_end(self, trainer: Trainer) -> None:
        self._waiting.append(_point(trainer.row))
        if not self._has_failed and time.monotonic() - self._last_flush >= self.settings.flush_seconds:
            with self._surviving():
                self._flush()
            self._last_flush = time.monotonic()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._close("failed")

    def result(self) -> dict[str, Any]:
        """Ends the run there: this is asked once the test split is evaluated, and no hook comes after that."""
        if self._trainer is not None:
            self._close("done" if self._trainer.completed else "interrupted")
        return {}

    # --- its parts ----------------------------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self.context.folder.path / f"{self.package}.json"

    def _open(self, trainer: Trainer) -> None:
        refuse_links([self._file, self.context.folder.path / self.package])
        kept = read_json(self._file) if self._file.exists() else {}
        known = kept.get("run")
        self._run = self.open(known if isinstance(known, str) else None)
        told = kept.get("step", -1) if self._run == known else -1
        self._waiting = [_point(row) for row in trainer.history.rows() if row["step"] > told]
        write_json(self._file, {"run": self._run, "step": told})

    def _flush(self) -> None:
        if self._waiting:
            self.send(self._waiting)
            write_json(self._file, {"run": self._run, "step": self._waiting[-1].step})
            self._waiting = []

    def _close(self, status: str) -> None:
        """Hands over what is left, and ends the run; once. Where it failed before, it is tried once more."""
        trainer, self._trainer = self._trainer, None
        if trainer is None:
            return
        with self._surviving():
            if self._run is None:
                self._open(trainer)
            self._flush()
            self.finish(_result(trainer, status))
            if self._has_failed:
                log.info("%s could be reached in the end, and has all figures", self.title)

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        """Lets nothing that the program raises end the training, and nothing that it does disturb it."""
        try:
            with undisturbed(self.environment, self.package):
                yield
        except Exception as error:  # whatever the program and its server raise: the figures stand in metrics.jsonl too
            if not self._has_failed:
                text = _first_words(error)
                shown = f"{text}." if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
                log.warning("%s gets no more figures: %s The training goes on without", self.title, shown)
            self._has_failed = True


def _first_words(error: Exception) -> str:
    """Returns the first line of an error, with those below it where it only counts them, as Pydantic's does."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [""]
    text = " ".join(lines[:3]) if re.match(r"\d+ validation error", lines[0]) else lines[0]
    return text.rstrip(".") or type(error).__name__


def _point(row: Row) -> Point:
    figures = {
        name: float(value)
        for name, value in row.items()
        if name not in _NO_FIGURES and isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return Point(row["step"], time.time(), figures)


def _result(trainer: Trainer, status: str) -> dict[str, Any]:
    """Returns what ``result.json`` will say of a training, but for the time that it took."""
    result: dict[str, Any] = {
        "status": status,
        "stop_reason": trainer.stop_reason,
        "epochs": trainer.state.epoch,
        "steps": trainer.state.step,
        "samples": trainer.state.samples,
        "last": trainer.row,
    }
    for callback in trainer.callbacks.values():
        if not isinstance(callback, Tracker):
            result.update(callback.result())
    if trainer.test_figures:
        result["test"] = {f"test/{name}": value for name, value in trainer.test_figures.items()}
    return result


@contextlib.contextmanager
def undisturbed(environment: dict[str, str], package: str) -> Iterator[None]:
    """Keeps what a package does of the process: Python's and NumPy's random numbers, its exit, warnings, log lines.

    Args:
        environment: variables that are set in the block, where nobody has set them.
        package: whose log lines are not shown, unless they are errors.
    """
    generators = random.getstate(), np.random.get_state()
    at_exit = sys.exit, sys.excepthook
    unset = [name for name in environment if name not in os.environ]
    os.environ.update({name: environment[name] for name in unset})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(package)  # which sets the level of its log itself
            with _silent(package), _silent("alembic"), _silent("urllib3"):
                yield
    finally:
        for name in unset:
            os.environ.pop(name, None)
        sys.exit, sys.excepthook = at_exit
        np.random.set_state(generators[1])
        random.setstate(generators[0])


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
