"""One run as a table shows it: its settings, its figures, and how it went."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dltrain.directions import is_higher_better
from dltrain.results import folders
from dltrain.results.reading import Figures, Outcome

# What a run has for a key that it has not.
MISSING: Any = object()

# Keys of what is no setting and no figure, each with what it means.
FACTS = {
    "name": "the folder below runs/",
    "status": "done, running, interrupted, failed, killed (its process is gone) or damaged",
    "best": "the best value of the metric that decides which weights are kept",
    "metric": "the name of that metric",
    "epochs": "that were trained",
    "steps": "optimizer updates",
    "age": "time since its training began or was last gone on with",
    "time": "that the training took",
    "size": "of its folder on the disk",
}

# Where nothing else is said, a run is best by this.
DEFAULT_METRIC = "val/loss"

# What says which samples a run is evaluated on: figures of others do not compare.
DATA = ("data.name", "data.path", "data.target")
SAMPLES = (
    "data.folds",
    "data.split_seed",
    "data.validation_fraction",
    "data.test_fraction",
    "data.validation_path",
    "data.test_path",
)


@dataclass
class Run:
    """What is known of one run.

    Attributes:
        path: its folder.
        name: the folder below the folder of all runs, or of its sweep.
        sections: its settings by their full keys, a mapping for each group; shared with other runs.
        status: see ``FACTS``.
        outcome: how it went.
        trained: when its training began or was last gone on with, in seconds since 1970.
        problems: what of its files cannot be read.
    """

    path: str
    name: str
    sections: list[dict[str, Any]]
    status: str
    outcome: Outcome
    trained: float
    problems: list[str]

    @property
    def numbers(self) -> dict[str, float]:
        """Epochs, steps and seconds, as far as they are known."""
        return self.outcome.numbers

    @property
    def best(self) -> dict[str, Any]:
        """Metric, value, epoch and step of the best weights; {} where there are none."""
        return self.outcome.best

    @property
    def test(self) -> Figures:
        """Figures on the test split."""
        return self.outcome.test

    @functools.cached_property
    def last(self) -> Figures:
        """Figures of the last row."""
        return self.outcome.last()

    @functools.cached_property
    def size(self) -> int:
        """Bytes on the disk, counted when they are asked for."""
        return folders.size_of(self.path)

    @property
    def age(self) -> float:
        """Seconds since its training began or was last gone on with."""
        return max(0.0, time.time() - self.trained)

    @property
    def seconds(self) -> float | None:
        """How long it was trained; of a running one so far."""
        return self.age if self.status == "running" else self.numbers.get("seconds")

    @property
    def config(self) -> dict[str, Any]:
        """All settings by their full keys."""
        return {key: value for section in self.sections for key, value in section.items()}

    def setting(self, key: str) -> Any:
        """Returns the value of a setting, or ``MISSING``."""
        for section in self.sections:
            if key in section:
                return section[key]
        return MISSING

    def figure(self, name: str) -> float | None:
        """Returns a figure such as "test/accuracy" or "val/loss": its best value where the run kept its weights by it,
        else that of the last row; None where it has none."""
        if name.startswith("test/"):
            return self.test.get(name)
        if self.best.get("metric") == name:
            value: float = self.best["value"]
            return value
        return self.last.get(name)

    def value(self, key: str) -> Any:
        """Returns what a run has for a key: a fact, a figure or a setting; ``MISSING`` where it has none."""
        if key in FACTS:
            value = self._fact(key)
            return MISSING if value is None else value
        if "/" in key:
            figure = self.figure(key)
            return MISSING if figure is None else figure
        return self.setting(key)

    def _fact(self, key: str) -> Any:
        if key == "best":
            return self.best.get("value")
        if key == "metric":
            return self.best.get("metric")
        if key == "time":
            return self.seconds
        return self.numbers.get(key) if key in ("epochs", "steps") else getattr(self, key)


def settings_of(runs: Sequence[Run], key: str) -> list[Any]:
    """Returns the value of a setting, or ``MISSING``, for each of many runs, whose groups mostly stand alike."""
    place, values = 0, []
    for run in runs:
        sections = run.sections
        if place < len(sections) and key in sections[place]:
            values.append(sections[place][key])
            continue
        place = next((number for number, section in enumerate(sections) if key in section), place)
        values.append(run.setting(key))
    return values


def monitor_of(sections: list[dict[str, Any]]) -> str:
    """Returns the metric by which a run keeps its weights: what its checkpoint callback watches."""
    for section in sections:
        for key, value in section.items():
            if value == "checkpoint" and key.startswith("callbacks.") and key.endswith(".name"):
                monitor = section.get(f"{key.removesuffix('name')}monitor")
                return monitor if isinstance(monitor, str) else DEFAULT_METRIC
    return DEFAULT_METRIC


def goodness(run: Run, key: str) -> float | None:
    """Returns a number that is the larger the better a run is by a figure, or by "best"; None where it has none."""
    name = run.best.get("metric", DEFAULT_METRIC) if key == "best" else key
    value = run.value(key)
    if value is MISSING or isinstance(value, str):
        return None
    return float(value) if is_higher_better(name) else -float(value)
