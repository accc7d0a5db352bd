"""How the next point of a sweep is chosen.

Each draws from generators that are seeded by (seed, number of the trial, name), and keeps nothing else: a sweep that is
resumed proposes what one that never stopped would have proposed. Nothing is read from the journal but trials: no state
of a sampler, which Optuna's CMA-ES keeps there as a pickle.
"""

from __future__ import annotations

import warnings
import zlib
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

# Points that TPE draws at random before it looks at the results; Optuna's own number.
_FIRST_RANDOM = 10


class EvenSampler(BaseSampler):
    """Random search: each value is drawn for itself (Bergstra and Bengio 2012)."""

    def __init__(self, seed: int, number: int) -> None:
        self._seed, self._number = seed, number

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        sampler = RandomSampler(seed_of(self._seed, self._number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)


def seed_of(seed: int, *of: int | str) -> int:
    """Returns a seed of 32 bits that is a function of all of these."""
    return zlib.crc32(repr((seed, *of)).encode())


def build(name: str, seed: int, number: int) -> BaseSampler:
    """Returns the sampler for one trial."""
    with warnings.catch_warnings():  # pinned is what Optuna calls experimental: its spaces with conditions, its QMC
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _built(name, seed, number)


def _built(name: str, seed: int, number: int) -> BaseSampler:
    if name == "tpe":
        return TPESampler(
            seed=seed_of(seed, number),
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=_FIRST_RANDOM,
        )
    if name == "qmc":
        return QMCSampler(seed=seed, scramble=True, independent_sampler=EvenSampler(seed, number))
    if name == "cmaes":
        from dltrain.sweeps.evolution import EvolutionSampler  # brings SciPy along, which takes a second

        return EvolutionSampler(seed_of(seed, number), independent=EvenSampler(seed, number))
    return EvenSampler(seed, number)
