"""CMA-ES: points from a normal distribution whose mean and covariance follow the best ones of each generation.

Source: N. Hansen, The CMA Evolution Strategy: A Tutorial, 2016, arXiv:1604.00772.

Optuna's own sampler of it keeps a pickle in the journal, which a stranger's sweep folder could abuse. This one keeps
nothing: the optimizer of each proposal is made anew from the trials that have ended, so that the same history always
gives the same point, after a resume too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from cmaes import CMA
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

# The first distribution: nearly all of it lies within the space, whose every axis goes from 0 to 1.
_MEAN, _SIGMA = 0.5, 1 / 6

# How often a point is drawn again that another trial has already, as happens where all numbers are whole.
_TRIES = 10


class EvolutionSampler(BaseSampler):
    """CMA-ES over the numbers that all trials which have ended share.

    Whatever else is searched comes from another sampler: choices, what has a condition, and everything before the first
    trial has ended. Trials that fail tell nothing.
    """

    def __init__(self, seed: int, independent: BaseSampler) -> None:
        """
        Args:
            seed: of this proposal alone, so that trials which are asked for one after another differ even where none
                has ended in between.
            independent: gives the values of what is no shared number.
        """
        self._seed, self._independent = seed, independent

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        shared = intersection_search_space([trial for trial, _ in _ended(study)], include_pruned=True)
        return {
            name: distribution
            for name, distribution in shared.items()
            if isinstance(distribution, FloatDistribution | IntDistribution) and not distribution.single()
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        axes = [_Axis(name, distribution) for name, distribution in search_space.items()]
        others = study.get_trials(deepcopy=False)
        taken = [[other.params.get(axis.name) for axis in axes] for other in others if other.number != trial.number]
        optimizer = self._optimizer(study, axes)
        for _ in range(_TRIES):
            point = [axis.value(unit) for axis, unit in zip(axes, optimizer.ask(), strict=True)]
            if point not in taken:
                break
        return {axis.name: value for axis, value in zip(axes, point, strict=True)}

    def _optimizer(self, study: Study, axes: list[_Axis]) -> CMA:
        """Returns CMA-ES after all complete generations.

        Where it has converged or degenerated, the next generations are those of a fresh one with a population twice as
        large (Auger and Hansen, A Restart CMA Evolution Strategy With Increasing Population Size, 2005).
        """
        optimizer, generation = self._fresh(len(axes)), []
        for trial, loss in _ended(study):
            generation.append((np.array([axis.unit(trial.params[axis.name]) for axis in axes]), loss))
            if len(generation) == optimizer.population_size:
                with np.errstate(all="ignore"):  # of the difference of infinite losses, and just before a restart
                    optimizer.tell(generation)
                    has_ended = optimizer.should_stop()
                generation = []
                if has_ended:
                    optimizer = self._fresh(len(axes), 2 * optimizer.population_size)
        return optimizer

    def _fresh(self, num_axes: int, population_size: int | None = None) -> CMA:
        return CMA(
            mean=np.full(num_axes, _MEAN),
            sigma=_SIGMA,
            bounds=np.tile([0.0, 1.0], (num_axes, 1)),
            seed=self._seed,
            population_size=population_size,
        )

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)


@dataclass(frozen=True)
class _Axis:
    """A searched number on an axis from 0 to 1: evenly, or by its logarithm; to each step an equal part of the axis."""

    name: str
    distribution: Any

    def value(self, unit: float) -> float | int:
        """Returns the value at a place of the axis."""
        start, end = self._ends()
        low, high, step = self.distribution.low, self.distribution.high, self.distribution.step
        value = start + unit * (end - start)
        if self.distribution.log:
            value = math.exp(value)
        if step is not None:
            value = low + step * round((value - low) / step)
        value = min(high, max(low, value))
        return int(value) if isinstance(self.distribution, IntDistribution) else float(value)

    def unit(self, value: float) -> float:
        """Returns the place of a value."""
        start, end = self._ends()
        # The journal may be a stranger's, and what it holds anything: the logarithm of 0 is an error
        value = min(self.distribution.high, max(self.distribution.low, value))
        return ((math.log(value) if self.distribution.log else value) - start) / (end - start)

    def _ends(self) -> tuple[float, float]:
        half = (self.distribution.step or 0) / 2
        start, end = self.distribution.low - half, self.distribution.high + half
        return (math.log(start), math.log(end)) if self.distribution.log else (start, end)


def _ended(study: Study) -> Iterator[tuple[FrozenTrial, float]]:
    """Yields the trials that tell something, by number, and for each what is to be small.

    A trial that was pruned has the last value that it reported: CMA-ES only compares the trials of a generation, where
    such a one belongs among the worst. Without it the search would never learn which region is bad.
    """
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if trial.state == TrialState.COMPLETE:
            value = trial.value
        else:
            value = trial.intermediate_values.get(max(trial.intermediate_values, default=-1))
        if value is not None and not math.isnan(value):
            yield trial, sign * value
