"""Schedules that are pure functions of the position, so that a resumed run needs no state."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from dltrain import registry
from dltrain.config import setting
from dltrain.schedulers.contract import Factor, SchedulerSettings


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
class OneCycleSettings(SchedulerSettings):
    rise: float = setting("Share of the training in which the rate rises to its peak.", above=0, below=1)
    initial: float = setting("Share of the peak rate to start with.", above=0, max=1)
    final: float = setting("Share of the peak rate to end with.", min=0, max=1)


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
