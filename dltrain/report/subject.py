"""What the report of a run is about: the run's folder and, where they could be built, its data and trained model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dltrain import saved
from dltrain.errors import CheckpointError
from dltrain.history import History, Row
from dltrain.run_folder import RunFolder, read_json

if TYPE_CHECKING:
    from dltrain.assembly import Parts
    from dltrain.config import Config
    from dltrain.data import Data, Task


@dataclass(frozen=True)
class Looking:
    """How closely the samples are looked at.

    Attributes:
        split: of which; None takes test where there is one, else validation.
        worst: how many of the worst samples are shown.
        most: of how many samples at most; None looks at all.
        resamples: for the intervals of the figures; 0 makes none.
        costs: whether the FLOPs of the layers are counted.
    """

    split: str | None = None
    worst: int = 20
    most: int | None = None
    resamples: int = 1000
    costs: bool = True


def quickly(trained: int) -> Looking:
    """Returns how closely the report at the end of a training looks, so that it takes a small part of its time.

    Args:
        trained: samples that the training has computed.
    """
    return Looking(most=min(10_000, max(1_000, trained // 10)), resamples=0, costs=False)


@dataclass(frozen=True)
class Subject:
    """
    Attributes:
        config: checked; None where it cannot be used any more.
        parts: with trained weights; None where something is missing.
        weights: which these are, in words.
        missing: why there are no parts; "" where there are.
    """

    folder: RunFolder
    parts: Parts | None
    weights: str
    looking: Looking
    missing: str = ""
    autocast: AbstractContextManager[Any] | None = None
    config: Config | None = None

    @cached_property
    def container(self) -> dict[str, Any]:
        """The config as plain values; to be asked only where ``config`` is None, for to read it takes a while."""
        return saved.saved_config(self.folder)

    @cached_property
    def result(self) -> dict[str, Any]:
        """What the run reported; {} where that is not known."""
        return _readable(self.folder.read_result)

    @cached_property
    def environment(self) -> dict[str, Any]:
        return _readable(lambda: read_json(self.folder.environment))

    @cached_property
    def task_file(self) -> dict[str, Any]:
        """What the folder keeps of the data."""
        return _readable(self.folder.read_task)

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of figures; what is no row of a file that somebody changed is left out."""
        return [row for row in History(self.folder.metrics).rows() if isinstance(row, dict)]

    @cached_property
    def task(self) -> Task | None:
        if self.parts is not None:
            return self.parts.data.task
        try:
            return saved.saved_task(self.folder)
        except (CheckpointError, KeyError, TypeError, ValueError, AttributeError):  # of a damaged file
            return None

    @cached_property
    def targets(self) -> list[str]:
        """What the columns that are predicted are called; [] where the data have no such names."""
        kept = self.task_file.get("preprocessing") if self.parts is None else self.parts.data.preprocessing
        kept = kept if isinstance(kept, dict) else {}
        target = kept.get("targets", kept.get("target"))
        found = target if isinstance(target, list) else [target]
        names = [one.get("name") if isinstance(one, dict) else one for one in found]
        return [name for name in names if isinstance(name, str)]

    @property
    def data(self) -> Data | None:
        return None if self.parts is None else self.parts.data

    def name_of(self, group: str) -> str:
        """Returns the name of the "data" or the "model"."""
        if self.config is not None:
            return str(getattr(self.config, group).name)
        own = self.container.get(group)
        return str(own.get("name", "")) if isinstance(own, dict) else ""

    @property
    def seed(self) -> Any:
        return self.container.get("seed") if self.config is None else self.config.seed

    @property
    def wrote_gradient_norms(self) -> bool:
        """Tells whether a callback of the run wrote the norms of the gradients for TensorBoard."""
        if self.config is not None:
            found = [(own.name, getattr(own, "norms", False)) for own in self.config.callbacks.values()]
        else:
            plain = self.container.get("callbacks")
            own = plain.values() if isinstance(plain, dict) else ()
            found = [(one.get("name"), one.get("norms")) for one in own if isinstance(one, dict)]
        return any(name == "histograms" and norms for name, norms in found)

    @property
    def split(self) -> str:
        """The split that is looked at."""
        if self.looking.split is not None:
            return self.looking.split
        return "test" if self.parts is not None and self.parts.data.test is not None else "validation"


def _readable(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns what a file of the folder holds; {} where it is missing or damaged: the rest is still worth telling."""
    try:
        return read()
    except CheckpointError:
        return {}
