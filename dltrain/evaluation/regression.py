"""How far predicted values are from true ones, beyond the means that training logs.

Shapes in comments: N samples, D values of a target, M = N D, R resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dltrain.evaluation.bootstrap import Floats

# Pairs of true and predicted values that are kept for a picture.
POINTS = 2000

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class Median:
    """The order of M values, in which their median is told for many weightings at once."""

    def __init__(self, values: Floats) -> None:
        self._order = np.argsort(values, kind="stable")
        self._ordered = values[self._order]

    def of(self, weights: Floats) -> Floats:
        """Returns (R,) medians, of two in the middle their mean.

        Args:
            weights: (R, M) whole numbers, how often each value counts.
        """
        upto = np.cumsum(weights[:, self._order], axis=1)
        half = upto[:, -1:] / 2
        low, high = (upto >= half).argmax(axis=1), (upto > half).argmax(axis=1)
        result: Floats = (self._ordered[low] + self._ordered[high]) / 2
        return result


def residuals(true: Floats, predicted: Floats) -> dict[str, Any]:
    """Returns what is known of predicted - true over all samples and outputs, in the target's own unit.

    Args:
        true, predicted: (N, D).
    """
    difference = (predicted - true).ravel()
    step = max(1, -(-len(difference) // POINTS))  # over samples, of which all outputs are kept
    return {
        "true": true[::step].ravel().tolist(),
        "predicted": predicted[::step].ravel().tolist(),
        "values": len(difference),
        "mean": float(difference.mean()),
        "std": float(difference.std()),
        "quantiles": {
            f"{share:g}": float(value)
            for share, value in zip(QUANTILES, np.quantile(difference, QUANTILES), strict=True)
        },
    }
