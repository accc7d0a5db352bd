"""Learning-rate schedules: pure functions of the position in the training, so a resumed run needs no state.

The one exception is an ``Observer``, which looks at the figures as well; its state is saved with the training's.
Positions are counted from the end of the warm-up, which any schedule may have before it.
"""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dltrain import registry
from dltrain.config import setting
from dltrain.history import Row
from dltrain.metrics import is_higher_better

# Position (steps or epochs done) -> what the optimizer's learning rate is multiplied with.
Factor = Callable[[float], float]


@dataclass(frozen=True)
class SchedulerSettings:
    name: str = setting("Name of the schedule.")
    interval: str = setting("When the rate changes: after each step or each epoch.", choices=("step", "epoch"))
    warmup: int = setting("Steps or epochs (see interval) in which the rate first rises from 0 to full.", min=0)


@dataclass(frozen=True)
class StepSettings(SchedulerSettings):
    every: int = setting("Steps or epochs between two drops.", min=1)
    gamma: float = setting("What the rate is multiplied with at each drop.", above=0)


@dataclass(frozen=True)
class MultiStepSettings(SchedulerSettings):
    milestones: list[int] = setting(
        "Steps or epochs (see interval), after the warm-up, at which the rate drops.", min=1
    )
    gamma: float = setting("What the rate is multiplied with at each drop.", above=0)

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in zip(self.milestones, self.milestones[1:], strict=False)):
            raise ValueError(f"milestones = {self.milestones}: must rise from each to the next")


@dataclass(frozen=True)
class ExponentialSettings(SchedulerSettings):
    gamma: float = setting("What the rate is multiplied with at each step or epoch.", above=0)


@dataclass(frozen=True)
class CosineSettings(SchedulerSettings):
    final: float = setting("Share of the learning rate that is left at the end.", min=0, max=1)


@dataclass(frozen=True)
class CosineRestartsSettings(CosineSettings):
    period: int = setting("Steps or epochs (see interval) from the beginning to the first restart.", min=1)
    factor: float = setting("How many times as long as the one before each further period is.", min=1)


@dataclass(frozen=True)
class LinearSettings(SchedulerSettings):
    final: float = setting("Share of the learning rate that is left at the end.", min=0, max=1)


@dataclass(frozen=True)
class PolynomialSettings(LinearSettings):
    power: float = setting("How the rate falls: evenly with 1; the larger, the sooner.", above=0)


@dataclass(frozen=True)
class InverseSqrtSettings(SchedulerSettings):
    timescale: int | None = setting(
        "Steps or epochs (see interval) after the warm-up at which the rate is 1/sqrt(2) of its peak, with four times "
        "as many 1/sqrt(5), and so on; null takes as many as the warm-up has.",
        min=1,
    )


@dataclass(frozen=True)
class PlateauSettings(SchedulerSettings):
    monitor: str = setting("Metric that must get better, such as val/loss or val/accuracy.")
    patience: int = setting("The rate drops after so many evaluations without a better value.", min=1)
    gamma: float = setting("What the rate is multiplied with at each drop.", above=0, below=1)
    min_change: float = setting("A value counts as better only if it is better by more than this.", min=0)
    cooldown: int = setting("Evaluations after a drop that do not count towards the next.", min=0)
    lowest: float = setting("Share of the learning rate below which it does not drop.", min=0, max=1)


@dataclass(frozen=True)
class OneCycleSettings(SchedulerSettings):
    rise: float = setting("Share of the training in which the rate rises to its peak.", above=0, below=1)
    initial: float = setting("Share of the peak rate to start with.", above=0, max=1)
    final: float = setting("Share of the peak rate to end with.", min=0, max=1)


class Observer(ABC):
    """A factor that depends on the figures: a factory returns one instead of a plain function."""

    @abstractmethod
    def __call__(self, position: float) -> float:
        """Returns the factor, as it is by the rows so far."""

    @abstractmethod
    def observe(self, row: Row) -> None:
        """Looks at a row of figures, after the warm-up."""

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
    """

    interval: str
    factor: Factor | None
    warmup: int = 0
    observer: Observer | None = None

    def observe(self, row: Row) -> None:
        """Looks at a row of figures."""
        if self.observer is not None and row[self.interval] > self.warmup:
            self.observer.observe(row)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.observer is None else self.observer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.observer is not None and state:
            self.observer.load_state_dict(state)


@registry.register("scheduler", "constant", SchedulerSettings)
def constant(settings: SchedulerSettings, *, total: int) -> Factor:
    """The rate stays."""
    return lambda position: 1.0


@registry.register("scheduler", "step", StepSettings)
def step(settings: StepSettings, *, total: int) -> Factor:
    """Drops by gamma at every so many steps or epochs."""
    return lambda position: float(settings.gamma ** (position // settings.every))


@registry.register("scheduler", "multi_step", MultiStepSettings)
def multi_step(settings: MultiStepSettings, *, total: int) -> Factor:
    """Drops by gamma at each milestone."""
    return lambda position: float(settings.gamma ** bisect.bisect_right(settings.milestones, position))


@registry.register("scheduler", "exponential", ExponentialSettings)
def exponential(settings: ExponentialSettings, *, total: int) -> Factor:
    """Drops by gamma each time."""
    return lambda position: float(settings.gamma**position)


@registry.register("scheduler", "cosine", CosineSettings)
def cosine(settings: CosineSettings, *, total: int) -> Factor:
    """Half a cosine from the full rate to its final share (Loshchilov and Hutter 2017, eq. 5, one cycle)."""

    def factor(position: float) -> float:
        return _anneal(1.0, settings.final, position / max(1, total))

    return factor


@registry.register("scheduler", "cosine_restarts", CosineRestartsSettings)
def cosine_restarts(settings: CosineRestartsSettings, *, total: int) -> Factor:
    """Half cosines one after another, each from the full rate: SGDR (Loshchilov and Hutter 2017, eq. 5)."""

    def factor(position: float) -> float:
        begin, length = 0.0, float(settings.period)
        if settings.factor == 1:
            begin = position - position % length
        while position >= begin + length:
            begin, length = begin + length, length * settings.factor
        return _anneal(1.0, settings.final, (position - begin) / length)

    return factor


@registry.register("scheduler", "linear", LinearSettings)
def linear(settings: LinearSettings, *, total: int) -> Factor:
    """Falls evenly from the full rate to its final share."""
    return lambda position: _polynomial(1.0, settings.final, position / total)


@registry.register("scheduler", "polynomial", PolynomialSettings)
def polynomial(settings: PolynomialSettings, *, total: int) -> Factor:
    """Falls as (1 - share of the training) ** power: the "poly" rate of semantic segmentation (Chen et al. 2018)."""
    return lambda position: _polynomial(settings.power, settings.final, position / total)


def _polynomial(power: float, final: float, share: float) -> float:
    return final + (1 - final) * float((1 - min(1.0, share)) ** power)


@registry.register("scheduler", "inverse_sqrt", InverseSqrtSettings)
def inverse_sqrt(settings: InverseSqrtSettings, *, total: int) -> Factor:
    """Falls with the root of the steps, as sqrt(t / (t + position)) with the time scale t.

    With the warm-up as time scale it is the rate of the Transformer (Vaswani et al. 2017, eq. 3) over its peak, whose
    step number s counts from 1: s / s0 up to the peak at s0 = warmup + 1, then sqrt(s0 / s).
    """
    timescale = settings.timescale or settings.warmup + 1
    return lambda position: math.sqrt(timescale / (timescale + position))


@registry.register("scheduler", "plateau", PlateauSettings)
class Plateau(Observer):
    """Drops by gamma when a metric no longer gets better (Keras and PyTorch: ReduceLROnPlateau)."""

    _STATE = ("factor", "current", "position", "best", "waited", "cooling")

    def __init__(self, settings: PlateauSettings, *, total: int) -> None:
        self.settings = settings
        self.factor = self.current = 1.0
        self.position = -1.0
        self.best: float | None = None
        self.waited = 0
        self.cooling = 0

    def __call__(self, position: float) -> float:
        if position != self.position:  # a drop in the middle of an epoch waits for the next, after a resume as well
            self.position, self.current = position, self.factor
        return self.current

    def observe(self, row: Row) -> None:
        value = row[self.settings.monitor]
        if self._is_better(value):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.cooling > 0:
            self.cooling, self.waited = self.cooling - 1, 0
        elif self.waited >= self.settings.patience:
            self.factor = max(self.settings.lowest, self.factor * self.settings.gamma)
            self.cooling, self.waited = self.settings.cooldown, 0

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return value == value  # NaN is never better
        gain = value - self.best if is_higher_better(self.settings.monitor) else self.best - value
        return gain > self.settings.min_change

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._STATE:
            setattr(self, name, state[name])


@registry.register("scheduler", "one_cycle", OneCycleSettings)
def one_cycle(settings: OneCycleSettings, *, total: int) -> Factor:
    """Rises to the peak and falls far below it, along half cosines (Smith and Topin 2018)."""
    peak = settings.rise * total

    def factor(position: float) -> float:
        if position < peak:
            return _anneal(settings.initial, 1.0, position / peak)
        return _anneal(1.0, settings.final, (position - peak) / max(1e-9, total - peak))

    return factor


def _anneal(start: float, end: float, share: float) -> float:
    """Returns the point of the half cosine from start to end; stays at the end beyond it."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def build(settings: SchedulerSettings, *, max_epochs: int | None, max_steps: int | None, epoch_steps: int) -> Schedule:
    """Builds the schedule of a training of this length.

    Args:
        epoch_steps: optimizer updates of an epoch.
    """
    if settings.name == "constant" and not settings.warmup:
        return Schedule(settings.interval, None)
    lengths = [length for length in (max_steps, max_epochs and max_epochs * epoch_steps) if length]
    total = min(lengths) if settings.interval == "step" else -(-min(lengths) // epoch_steps)
    after_warmup: Factor = registry.build("scheduler", settings, total=max(1, total - settings.warmup))

    def factor(position: float) -> float:
        if position < settings.warmup:
            return (position + 1) / (settings.warmup + 1)
        return after_warmup(position - settings.warmup)

    observer = after_warmup if isinstance(after_warmup, Observer) else None
    return Schedule(settings.interval, factor, settings.warmup, observer)
