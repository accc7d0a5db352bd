"""Learning-rate schedules: pure functions of the position in the training, so a resumed run needs no state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dltrain import registry
from dltrain.config import setting

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
class ExponentialSettings(SchedulerSettings):
    gamma: float = setting("What the rate is multiplied with at each step or epoch.", above=0)


@dataclass(frozen=True)
class CosineSettings(SchedulerSettings):
    final: float = setting("Share of the learning rate that is left at the end.", min=0, max=1)


@dataclass(frozen=True)
class OneCycleSettings(SchedulerSettings):
    rise: float = setting("Share of the training in which the rate rises to its peak.", above=0, below=1)
    initial: float = setting("Share of the peak rate to start with.", above=0, max=1)
    final: float = setting("Share of the peak rate to end with.", min=0, max=1)


@dataclass(frozen=True)
class Schedule:
    """A schedule of a training of known length.

    Attributes:
        interval: "step" or "epoch", the unit of the position.
        factor: None where the rate never changes.
    """

    interval: str
    factor: Factor | None


@registry.register("scheduler", "constant", SchedulerSettings)
def constant(settings: SchedulerSettings, *, total: int) -> Factor:
    """The rate stays."""
    return lambda position: 1.0


@registry.register("scheduler", "step", StepSettings)
def step(settings: StepSettings, *, total: int) -> Factor:
    """Drops by gamma at every so many steps or epochs."""
    return lambda position: float(settings.gamma ** (position // settings.every))


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

    return Schedule(settings.interval, factor)
