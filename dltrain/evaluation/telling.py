"""Tells the figures of a target from what was gathered of it, for any draw of its samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dltrain import figures
from dltrain.evaluation.bootstrap import Figures, Floats, Resample, once
from dltrain.evaluation.gathering import YES_NO, Gathered
from dltrain.evaluation.regression import Median

# More numbers of samples and classes, or of samples and outputs, are not drawn from again and again.
_MOST = 2**23
_MOST_ORDERED = 2**19

# Up to so many classes, samples are counted by pairs of true and predicted class at once.
_FEW = 32

_Part = Callable[[Resample], Figures]


class Teller:
    """Called with draws, returns the figures of each by name; those of ``metrics`` that can be told so, and what
    goes with them.
    """

    def __init__(self, gathered: Gathered) -> None:
        self.gathered = gathered
        self._parts = list(_parts(gathered))

    def __call__(self, resample: Resample) -> Figures:
        found: Figures = {}
        for part in self._parts:
            found |= part(resample)
        return found

    def of_all(self) -> dict[str, float]:
        """Returns the figures of the samples as they are."""
        return {name: float(values[0]) for name, values in self(once(self.gathered.num_samples)).items()}


def _parts(gathered: Gathered) -> list[_Part]:
    parts: list[_Part] = [_Means(gathered)]
    task = gathered.task
    if task.kind in YES_NO and gathered.true is not None:
        parts.append(_YesOrNo(gathered))
    elif gathered.num_classes and gathered.true is not None:
        if gathered.owner is None:
            parts.append(_Classes(gathered))
        elif gathered.num_samples * gathered.num_classes <= _MOST:
            parts.append(_ClassesOfSteps(gathered))
    of_two = task.kind == "binary" or (task.kind == "multiclass" and task.output_size == 2)
    if of_two and gathered.scores is not None and gathered.every == 1:
        parts.append(_Ranks(gathered))
    if gathered.errors is not None:
        parts.append(_Errors(gathered))
    return parts


class _Means:
    """Loss, accuracy, top5, perplexity, label error rate: ratios of sums."""

    def __init__(self, gathered: Gathered) -> None:
        self._names = list(gathered.sums)
        self._sums = np.stack([gathered.sums[name] for name in self._names], axis=1)
        self._loss_by_step = gathered.task.per_step

    def __call__(self, resample: Resample) -> Figures:
        sums = dict(zip(self._names, resample.sums(self._sums).T, strict=True))
        count = sums["count"]
        found: Figures = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            if "loss" in sums:
                size = resample.places.shape[1]
                found["loss"] = sums["loss"] / (count if self._loss_by_step else size)
            if "hits" in sums:
                found["accuracy"] = sums["hits"] / count
            if "top5" in sums:
                found["top5"] = sums["top5"] / count
            if "surprise" in sums:
                found["perplexity"] = figures.perplexity(sums["surprise"], count)
            if "errors" in sums:
                found["label_error_rate"] = sums["errors"] / sums["labels"]
        return found


class _YesOrNo:
    """Precision, recall and F1 of yes, over all that is asked of a sample."""

    def __init__(self, gathered: Gathered) -> None:
        assert gathered.true is not None and gathered.predicted is not None
        true, said = (codes.reshape(gathered.num_samples, -1) for codes in (gathered.true, gathered.predicted))
        self._sums = np.stack([true & said, said, true]).sum(axis=2).T.astype(np.float64)

    def __call__(self, resample: Resample) -> Figures:
        # Of no the counts do not matter: of two classes the figures are those of the second.
        pairs = [np.stack([np.zeros_like(sums), sums], axis=1) for sums in resample.sums(self._sums).T]
        return figures.over_classes(*pairs)


class _Classes:
    """Precision, recall and F1 over the classes, of samples that have one each."""

    def __init__(self, gathered: Gathered) -> None:
        assert gathered.true is not None and gathered.predicted is not None
        self._size = size = gathered.num_classes
        self._true, self._predicted = gathered.true, gathered.predicted
        self._found = np.where(self._true == self._predicted, self._true, size)
        self._pairs = self._true * size + self._predicted

    def __call__(self, resample: Resample) -> Figures:
        size = self._size
        if size <= _FEW:
            matrix = resample.counts(self._pairs, size * size).reshape(-1, size, size)
            return figures.over_classes(np.diagonal(matrix, axis1=1, axis2=2), matrix.sum(axis=1), matrix.sum(axis=2))
        hits = resample.counts(self._found, size + 1)[:, :size]
        return figures.over_classes(hits, resample.counts(self._predicted, size), resample.counts(self._true, size))


class _ClassesOfSteps:
    """The same of sequences, whose steps have a class each."""

    def __init__(self, gathered: Gathered) -> None:
        true, predicted, owner = gathered.true, gathered.predicted, gathered.owner
        assert true is not None and predicted is not None and owner is not None
        size = gathered.num_classes

        def by_sample(codes: np.ndarray, owners: np.ndarray) -> Floats:
            counts = np.bincount(owners * size + codes, minlength=gathered.num_samples * size)
            return counts.reshape(-1, size).astype(np.float64)

        hits = true == predicted
        self._counts = [by_sample(true[hits], owner[hits]), by_sample(predicted, owner), by_sample(true, owner)]

    def __call__(self, resample: Resample) -> Figures:
        return figures.over_classes(*(resample.sums(counts) for counts in self._counts))


class _Ranks:
    """AUROC of two classes: one logit, or the difference of two, ranks as the chance of the second class does."""

    def __init__(self, gathered: Gathered) -> None:
        scores, true = gathered.scores, gathered.true
        assert scores is not None and true is not None
        wide = scores.astype(np.float64)
        self._ranking = figures.Ranking(wide[:, 1] - wide[:, 0] if wide.shape[1] == 2 else wide[:, 0], true == 1)

    def __call__(self, resample: Resample) -> Figures:
        return {"auroc": self._ranking.auroc(resample.weights)}


class _Errors:
    """Figures of a regression."""

    def __init__(self, gathered: Gathered) -> None:
        assert gathered.errors is not None
        predictions, targets = gathered.predictions, gathered.targets
        assert predictions is not None and targets is not None
        self._errors, self._outputs = gathered.errors, targets.shape[1]
        self._sums: Floats | None = None
        self._median: Median | None = None
        if gathered.every > 1:
            return
        if targets.size <= _MOST:
            centred = targets - targets.mean(axis=0)  # the sums of squares of what is far from 0 are too much alike
            self._sums = np.concatenate([(predictions - targets) ** 2, centred, centred**2], axis=1)
        if targets.size <= _MOST_ORDERED:
            self._median = Median(np.abs(predictions - targets).ravel())

    def __call__(self, resample: Resample) -> Figures:
        size = resample.places.shape[1]
        absolute, squared = resample.sums(self._errors).T / size
        found: Figures = {"mae": absolute, "rmse": np.sqrt(squared)}
        if self._sums is not None:
            found["r2"] = figures.r2(float(size), *np.split(resample.sums(self._sums), 3, axis=1))
        if self._median is not None:
            found["median_absolute_error"] = self._median.of(np.repeat(resample.weights, self._outputs, axis=1))
        return found
