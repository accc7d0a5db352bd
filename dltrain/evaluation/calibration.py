"""Whether a model is right as often as it says: reliability, and how far off it is.

The decisions are put into bins of equal width by the probability that the model gives to what it predicts (its
confidence); in each, the mean confidence is compared with the share that is right (Guo et al. 2017, On Calibration of
Modern Neural Networks, section 2). Of yes or no that probability is the larger of p and 1 - p.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15


class Reliability:
    """Sums of decisions by bin; a bin holds the confidences above its lower edge, up to and with its upper one."""

    def __init__(self, bins: int = BINS) -> None:
        self._bins = bins
        self._counts = np.zeros(bins)
        self._confidence = np.zeros(bins)
        self._right = np.zeros(bins)
        self._brier = 0.0

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def add(self, confidence: NDArray[Any], right: NDArray[Any], squared: NDArray[Any]) -> None:
        """Adds M decisions; one whose confidence is not a number is left out.

        Args:
            confidence: (M,) from 0 to 1.
            right: (M,) whether each was.
            squared: (M,) of each the sum of the squared differences between probabilities and what is true.
        """
        known = ~np.isnan(confidence)
        confidence, right, squared = (array[known].astype(np.float64) for array in (confidence, right, squared))
        places = np.clip(np.ceil(confidence * self._bins).astype(np.int64) - 1, 0, self._bins - 1)
        self._counts += np.bincount(places, minlength=self._bins)
        self._confidence += np.bincount(places, confidence, minlength=self._bins)
        self._right += np.bincount(places, right, minlength=self._bins)
        self._brier += float(squared.sum())

    def plain(self) -> dict[str, Any]:
        """Returns the expected calibration error sum_b n_b / n |accuracy_b - confidence_b| (Guo et al., eq. 3), the
        maximum one max_b |accuracy_b - confidence_b| (eq. 5), the Brier score, and the bins.

        The Brier score is the mean of the squared differences (Brier 1950): summed over the classes, from 0 to 2; of
        two classes, or yes or no, (p - y)^2, from 0 to 1.
        """
        counts = np.maximum(self._counts, 1)
        confidence, accuracy = self._confidence / counts, self._right / counts
        gaps = np.abs(accuracy - confidence)
        edges = np.linspace(0, 1, self._bins + 1)
        bins = [
            {
                "from": float(edges[place]),
                "to": float(edges[place + 1]),
                "confidence": float(confidence[place]) if self._counts[place] else None,
                "accuracy": float(accuracy[place]) if self._counts[place] else None,
                "count": int(self._counts[place]),
            }
            for place in range(self._bins)
        ]
        return {
            "expected_error": float((gaps * self._counts).sum() / self.count),
            "maximum_error": float(gaps.max()),
            "brier": self._brier / self.count,
            "bins": bins,
        }
