"""Figures of single classes: how well each is found, and how well its scores rank what is of it above what is not.

Shapes in comments: M decisions, K classes, G different scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dltrain import figures
from dltrain.evaluation.bootstrap import Floats, Integers

# A curve is kept in so many points at most, and the curves of so many classes.
POINTS = 200
CURVES = 20

Curve = list[list[float]]


@dataclass(frozen=True)
class Ranked:
    """How scores rank what is of a class.

    Attributes:
        true_positives, false_positives: (G,) of all that score so much or more, from the highest score down; none where
            a score is not a number, for that has no place in the order.
    """

    true_positives: Floats
    false_positives: Floats

    @classmethod
    def of(cls, scores: NDArray[Any], positive: NDArray[np.bool_]) -> Ranked:
        """
        Args:
            scores, positive: (M,).
        """
        if np.isnan(scores).any():
            return cls(np.zeros(0), np.zeros(0))
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # equal scores come at once
        hits = np.cumsum(positive[order])[ends].astype(np.float64)
        return cls(hits, ends + 1 - hits)

    @property
    def usable(self) -> bool:
        """Whether there is something of the class, and something that is not of it."""
        return bool(len(self.true_positives) and self.true_positives[-1] and self.false_positives[-1])

    @property
    def auroc(self) -> float:
        """The area under the curve of true over false positive rates, by trapezia (Fawcett 2006, algorithm 2)."""
        if not self.usable:
            return float("nan")
        rates = np.array(self.roc)
        return float(np.trapezoid(rates[:, 1], rates[:, 0]))

    @property
    def average_precision(self) -> float:
        """The mean precision over the recalls that are reached, sum_g (R_g - R_g-1) P_g."""
        if not len(self.true_positives) or not self.true_positives[-1]:
            return float("nan")
        gained = np.diff(self.true_positives, prepend=0) / self.true_positives[-1]
        return float((gained * self._precision).sum())

    @property
    def _precision(self) -> Floats:
        result: Floats = self.true_positives / (self.true_positives + self.false_positives)
        return result

    @property
    def roc(self) -> Floats:
        """(G + 1, 2) false and true positive rates, from (0, 0) to (1, 1)."""
        rates = [self.false_positives / self.false_positives[-1], self.true_positives / self.true_positives[-1]]
        return np.concatenate([np.zeros((1, 2)), np.stack(rates, axis=1)])

    @property
    def precision_recall(self) -> Floats:
        """(G + 1, 2) recall and precision, from recall 0, where the precision is that of the highest score, to 1."""
        points = np.stack([self.true_positives / self.true_positives[-1], self._precision], axis=1)
        return np.concatenate([[[0.0, points[0, 1]]], points])


def chances(scores: NDArray[np.float32]) -> Floats:
    """Returns the softmax of (M, K) logits in float64, where few are equal that were not."""
    wide = scores.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    np.exp(wide, out=wide)
    result: Floats = wide / wide.sum(axis=1, keepdims=True)
    return result


def table(confusion: Floats, names: Sequence[str], ranked: Sequence[Ranked] | None) -> list[dict[str, Any]]:
    """Returns what is known of each class by itself.

    Args:
        confusion: (K, K) counts, true classes in rows and predicted ones in columns.
        ranked: of each class against all others; None where no scores were kept.
    """
    actual = confusion.sum(axis=1)
    found = figures.of_classes(np.diagonal(confusion), confusion.sum(axis=0), actual)
    return _rows(found, actual, names, ranked)


def table_of_labels(
    true: NDArray[np.bool_], said: NDArray[np.bool_], names: Sequence[str], ranked: Sequence[Ranked]
) -> list[dict[str, Any]]:
    """Returns what is known of each label that a sample may have besides others.

    Args:
        true, said: (N, K).
    """
    actual = true.sum(axis=0).astype(np.float64)
    found = figures.of_classes(
        (true & said).sum(axis=0).astype(np.float64), said.sum(axis=0).astype(np.float64), actual
    )
    return _rows(found, actual, names, ranked)


def _rows(
    found: dict[str, Floats], support: Floats, names: Sequence[str], ranked: Sequence[Ranked] | None
) -> list[dict[str, Any]]:
    rows = []
    for place, name in enumerate(names):
        row: dict[str, Any] = {"name": name, **{figure: float(values[place]) for figure, values in found.items()}}
        row["support"] = int(support[place])
        if ranked is not None:
            row["auroc"], row["average_precision"] = ranked[place].auroc, ranked[place].average_precision
        rows.append(row)
    return rows


def curves(ranked: Sequence[Ranked], names: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """Returns the curves of the classes that have them, of those with the most samples where there are many."""
    by_size = sorted((place for place, one in enumerate(ranked) if one.usable), key=lambda p: -_support(ranked[p]))
    chosen = sorted(by_size[:CURVES])
    return {
        "roc": {names[place]: thinned(ranked[place].roc) for place in chosen},
        "precision_recall": {names[place]: thinned(ranked[place].precision_recall) for place in chosen},
    }


def _support(one: Ranked) -> float:
    return float(one.true_positives[-1])


def thinned(points: Floats, most: int = POINTS) -> Curve:
    """Returns (P, 2) points of a curve without those that lie on a line between others; of still more than ``most``, so
    many at about equal distances along it, the first and the last among them.
    """
    step = np.diff(points, axis=0)
    turns = np.abs(step[1:, 0] * step[:-1, 1] - step[1:, 1] * step[:-1, 0]) > 1e-12
    points = points[np.concatenate([[True], turns, [True]])[: len(points)]]
    if len(points) > most:
        along = np.concatenate([[0.0], np.abs(np.diff(points, axis=0)).sum(axis=1).cumsum()])
        wanted = np.linspace(0, along[-1], most)
        points = points[np.unique(np.clip(np.searchsorted(along, wanted), 0, len(points) - 1))]
    return [[float(f"{value:.6g}") for value in point] for point in points.tolist()]


def confusion_of(true: Integers, predicted: Integers, size: int) -> Floats:
    """Returns (K, K) counts of (M,) true and predicted classes."""
    counts: Floats = np.bincount(true * size + predicted, minlength=size * size).reshape(size, size).astype(np.float64)
    return counts
