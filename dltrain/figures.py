"""Figures of a split from what was gathered of its samples: the equations of the metrics.

They take arrays of any leading dimensions, so that a training's sums and a thousand resamples of an evaluation go
through the same equations.

Shapes in comments: N samples, K classes, D outputs, R resamples, G different scores; ... any dimensions, or none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auroc(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """Returns the area under the receiver operating characteristic: the chance that a positive sample scores above a
    negative one, ties counted half (Hanley and McNeil 1982); NaN where all samples are of one class, or a score is NaN.

    Args:
        scores, targets: (N,); a target above 0.5 is positive.
    """
    if not len(scores):
        return float("nan")
    ranking = Ranking(scores.double().numpy(), targets.numpy() > 0.5)
    return float(ranking.auroc(np.ones((1, len(scores))))[0])


class Ranking:
    """The order of N scores, in which the AUROC is told for many weightings of the samples at once."""

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        """
        Args:
            scores: (N,), of one sample at least.
            positive: (N,).
        """
        self._has_order = not np.isnan(scores).any()
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self._positive = positive[self._order].astype(np.float64)

    def auroc(self, weights: Floats) -> Floats:
        """Returns (R,) areas, NaN where one class has no weight, or a score is not a number.

        Args:
            weights: (R, N), how often each sample counts.
        """
        if not self._has_order:
            return np.full(len(weights), np.nan)
        ordered = weights[:, self._order]
        positive = ordered * self._positive
        of_group, all_of_group = positive, ordered
        if len(self._starts) < ordered.shape[1]:  # some scores are equal
            of_group = np.add.reduceat(positive, self._starts, axis=1)
            all_of_group = np.add.reduceat(ordered, self._starts, axis=1)
        negative = all_of_group - of_group  # (R, G)
        upto = np.cumsum(negative, axis=1)
        above = np.einsum("rg,rg->r", of_group, upto - negative / 2)
        pairs = of_group.sum(axis=1) * upto[:, -1]
        areas: Floats = np.where(pairs > 0, above / np.where(pairs > 0, pairs, 1), np.nan)
        return areas


def regression_figures(count: float, sums: dict[str, list[float]], target_scale: tuple[float, ...]) -> dict[str, float]:
    """Returns mean absolute error, root of the mean squared error and R2, from the sums of each output.

    The errors are in the targets' own unit, which is ``target_scale`` times that of the sums.
    """
    absolute, squared, target, target_squared = (
        np.array(sums[name]) for name in ("absolute", "squared", "target", "target_squared")
    )
    scale = np.array(target_scale) if target_scale else np.ones(len(absolute))
    return {
        "mae": float((absolute * scale).mean() / count),
        "rmse": float(((squared * scale**2).mean() / count) ** 0.5),
        "r2": float(r2(count, squared, target, target_squared)),
    }


def r2(count: Any, squared: Floats, target: Floats, target_squared: Floats) -> Floats:
    """Returns R2 (...,): 1 - squared errors / squared deviations of the targets from their mean, averaged over the
    outputs; NaN where an output's targets are all the same.

    Args:
        count: (...,) or a number, of samples.
        squared, target, target_squared: (..., D) sums over the samples of squared errors, targets and their squares.
    """
    deviations = target_squared - target**2 / np.asarray(count)[..., None]
    constant = (deviations <= 0).any(axis=-1)
    shares = 1 - squared / np.where(deviations > 0, deviations, 1)
    result: Floats = np.where(constant, np.nan, shares.mean(axis=-1))
    return result


def precision_recall_f1(confusion: torch.Tensor) -> dict[str, float]:
    """Returns the figures of the positive class for two classes, else their mean over the classes that occur.

    Args:
        confusion: (K, K) counts, true classes in rows and predicted ones in columns.
    """
    counts = confusion.double().cpu().numpy()
    figures = over_classes(np.diagonal(counts), counts.sum(axis=0), counts.sum(axis=1))
    return {name: float(value) for name, value in figures.items()}


def of_classes(hits: Floats, predicted: Floats, actual: Floats) -> dict[str, Floats]:
    """Returns precision, recall and F1 of each class, (..., K).

    Precision is TP / (TP + FP), recall TP / (TP + FN), F1 their harmonic mean 2 TP / (2 TP + FP + FN); a figure
    whose denominator is 0 counts as 0.

    Args:
        hits, predicted, actual: (..., K) how many samples of the class are found, are said to be of it, and are of it.
    """
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(actual, 1),
        "f1": 2 * hits / np.maximum(predicted + actual, 1),
    }


def over_classes(hits: Floats, predicted: Floats, actual: Floats) -> dict[str, Floats]:
    """Returns the figures (...,) of the positive class for two classes, else their mean over the classes that occur."""
    figures = of_classes(hits, predicted, actual)
    if hits.shape[-1] == 2:
        return {name: value[..., 1] for name, value in figures.items()}
    chosen = (predicted + actual) > 0
    number = chosen.sum(axis=-1)
    return {
        name: np.where(number > 0, np.where(chosen, value, 0).sum(axis=-1) / np.maximum(number, 1), np.nan)
        for name, value in figures.items()
    }


def perplexity(surprise: Any, count: Any) -> Floats:
    """Returns exp(surprise / count): e to the mean of -log p(token), infinite beyond the range of floats."""
    with np.errstate(over="ignore"):
        result: Floats = np.exp(np.asarray(surprise, dtype=np.float64) / count)
    return result
