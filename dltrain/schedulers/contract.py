"""What a schedule is: a factor of the position in the training, which the learning rate is multiplied with.

Positions are counted from the end of the warm-up, which any schedule may have before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dltrain.config import setting
from dltrain.history import Row

# Position (steps or epochs done) -> what the optimizer's learning rate is multiplied with.
Factor = Callable[[float], float]


@dataclass(frozen=True)
class SchedulerSettings:
    name: str = setting("Name of the schedule.")
    interval: str = setting("When the rate changes: after each step or each epoch.", choices=("step", "epoch"))
    warmup: int = setting("Steps or epochs (see interval) in which the rate first rises from 0 to full.", min=0)


class Observer(ABC):
    """A factor that depends on the figures: a factory returns one instead of a plain function."""

    @abstractmethod
    def __call__(self, position: float) -> float:
        """Returns the factor, as it is by the rows so far."""

    @abstractmethod
    def observe(self, row: Row) -> None:
        """Looks at a row of figures, after the warm-up."""

    @abstractmethod
    def begin_anew(self) -> None:
        """Forgets what it has made of the old learning rate, where a run goes on with another one."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run must know: numbers, text, lists and dicts."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` returned."""


@dataclass(frozen=True)
class Schedule:
    """A schedule of a training of known length.

    Attributes:
        interval: "step" or "epoch", the unit of the position.
        factor: None where the rate never changes.
        warmup: steps or epochs before what ``observer`` sees.
        observer: what looks at the figures; None for most schedules.
        notes: what a person should know of a schedule that was built as the settings ask.
    """

    interval: str
    factor: Factor | None
    warmup: int = 0
    observer: Observer | None = None
    notes: tuple[str, ...] = ()

    def observe(self, row: Row) -> None:
        """Looks at a row of figures."""
        if self.observer is not None and row[self.interval] > self.warmup:
            self.observer.observe(row)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.observer is None else self.observer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.observer is not None and state:
            self.observer.load_state_dict(state)
