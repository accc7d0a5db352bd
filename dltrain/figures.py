"""Figures of a split from what was gathered of its samples: the equations of the metrics."""

from __future__ import annotations

import numpy as np
import torch


def auroc(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """Returns the area under the receiver operating characteristic: the chance that a positive sample scores above a
    negative one, ties counted half (Hanley and McNeil 1982); NaN where all samples are of one class.

    Args:
        scores, targets: (N,); a target above 0.5 is positive.
    """
    values, places, counts = np.unique(scores.double().numpy(), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # from 1, the mean rank of equal scores
    positive = targets.numpy() > 0.5
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not len(values) or not num_positive or not num_negative:
        return float("nan")
    above = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))


def regression_figures(count: float, sums: dict[str, list[float]], target_scale: tuple[float, ...]) -> dict[str, float]:
    """Returns mean absolute error, root of the mean squared error and R2, from the sums of each output.

    The errors are in the targets' own unit, which is ``target_scale`` times that of the sums.
    R2 is 1 - squared errors / squared deviations of the targets from their mean, averaged over the outputs; NaN
    where an output's targets are all the same.
    """
    absolute, squared, target, target_squared = (
        np.array(sums[name]) for name in ("absolute", "squared", "target", "target_squared")
    )
    scale = np.array(target_scale) if target_scale else np.ones(len(absolute))
    deviations = target_squared - target**2 / count
    constant = bool((deviations <= 0).any())
    return {
        "mae": float((absolute * scale).mean() / count),
        "rmse": float(((squared * scale**2).mean() / count) ** 0.5),
        "r2": float("nan") if constant else float((1 - squared / deviations).mean()),
    }


def precision_recall_f1(confusion: torch.Tensor) -> dict[str, float]:
    """Returns the figures of the positive class for two classes, else their mean over the classes that occur.

    Precision is TP / (TP + FP), recall TP / (TP + FN), F1 their harmonic mean 2 TP / (2 TP + FP + FN); a figure
    whose denominator is 0 counts as 0.
    """
    counts = confusion.double().cpu()
    hits = counts.diagonal()
    predicted, actual = counts.sum(dim=0), counts.sum(dim=1)
    precision = hits / predicted.clamp(min=1)
    recall = hits / actual.clamp(min=1)
    f1 = 2 * hits / (predicted + actual).clamp(min=1)
    if len(counts) == 2:
        chosen = torch.tensor([False, True])
    else:
        chosen = (predicted + actual) > 0
    return {
        "precision": float(precision[chosen].mean()),
        "recall": float(recall[chosen].mean()),
        "f1": float(f1[chosen].mean()),
    }
