"""How sure a figure is that was computed from some samples: the percentile bootstrap.

As many samples as there are get drawn with replacement, many times, and the figure is computed of each draw; the middle
95 % of what comes out is the interval (Efron 1979, The Annals of Statistics 7; Efron and Tibshirani 1993, An
Introduction to the Bootstrap, section 13.3). Two models are compared on the same draws, so that what makes a draw hard
for both does not count.

Figures are computed from sums over samples, so that a draw costs a row of a product of matrices and no second pass.

Shapes in comments: N samples, R resamples of all, r of those at hand, F sums, K classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Draws are made for so many numbers at a time: they stay in the caches of the processor, or near them.
_NUMBERS = 2**18

# An interval of fewer draws, where the figure is not a number in the others, would say nothing.
_FEWEST = 0.5


@dataclass(frozen=True)
class Resample:
    """Some draws of N samples each.

    Attributes:
        places: (r, N) which samples were drawn.
    """

    places: Integers

    @functools.cached_property
    def weights(self) -> Floats:
        """(r, N) how often each sample was drawn."""
        draws, size = self.places.shape
        flat = (self.places + np.arange(draws)[:, None] * size).ravel()
        weights: Floats = np.bincount(flat, minlength=draws * size).reshape(draws, size).astype(np.float64)
        return weights

    def sums(self, values: Floats) -> Floats:
        """Returns the sum of the values of what was drawn: (r,) of (N,), (r, F) of (N, F)."""
        result: Floats = self.weights @ values
        return result

    def counts(self, codes: Integers, size: int) -> Floats:
        """Returns (r, K) how often a sample of each code was drawn.

        Args:
            codes: (N,) from 0 to below ``size``, which is K.
        """
        draws = len(self.places)
        flat = (codes[self.places] + np.arange(draws)[:, None] * size).ravel()
        counts: Floats = np.bincount(flat, minlength=draws * size).reshape(draws, size).astype(np.float64)
        return counts


def once(num_samples: int) -> Resample:
    """Returns the samples as they are, each drawn once."""
    return Resample(np.arange(num_samples)[None])


def draws(num_samples: int, resamples: int, seed: int) -> Iterator[Resample]:
    """Yields the draws, always the same for the same arguments."""
    generator = np.random.default_rng(seed)
    step = max(1, _NUMBERS // max(1, num_samples))
    for first in range(0, resamples, step):
        yield Resample(generator.integers(num_samples, size=(min(step, resamples - first), num_samples)))


Figures = dict[str, Floats]
Key = TypeVar("Key")


def distributions(
    tellers: Mapping[Key, Callable[[Resample], Figures]], num_samples: int, resamples: int, seed: int
) -> dict[Key, Figures]:
    """Returns what each teller of figures tells of all draws, (R,) by the figure's name; all see the same draws."""
    found: dict[Key, dict[str, list[Floats]]] = {key: {} for key in tellers}
    for resample in draws(num_samples, resamples, seed):
        for name, tell in tellers.items():
            for figure, values in tell(resample).items():
                found[name].setdefault(figure, []).append(values)
    return {
        name: {figure: np.concatenate(parts) for figure, parts in figures.items()} for name, figures in found.items()
    }


def interval(values: Floats, confidence: float) -> list[float] | None:
    """Returns both ends of the middle ``confidence`` of (R,) values; None where too few are numbers."""
    known = values[~np.isnan(values)]
    if len(known) < max(1.0, _FEWEST * len(values)):
        return None
    outside = (1 - confidence) / 2
    # Of neighbours, not between them: infinity less infinity is no number.
    low, high = np.quantile(known, [outside, 1 - outside], method="nearest")
    return [float(low), float(high)]


def intervals(figures: Figures, confidence: float) -> dict[str, list[float]]:
    """Returns the interval of each figure that has one."""
    found = {name: interval(values, confidence) for name, values in figures.items()}
    return {name: ends for name, ends in found.items() if ends is not None}
