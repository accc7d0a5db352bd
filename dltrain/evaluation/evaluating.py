"""Evaluates a model on a split, and says all that is known as plain values: what ``evaluation.json`` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dltrain import device
from dltrain.data import Data, Task
from dltrain.evaluate import evaluate
from dltrain.evaluation import baselines, bootstrap, classification
from dltrain.evaluation.bootstrap import Figures, Floats
from dltrain.evaluation.classification import Ranked
from dltrain.evaluation.gathering import Gathered, Gatherer
from dltrain.evaluation.regression import residuals
from dltrain.evaluation.telling import Teller
from dltrain.losses import HeadsLoss
from dltrain.losses.classification import class_names
from dltrain.metrics import Metrics
from dltrain.models import FittedModel

if TYPE_CHECKING:
    from dltrain.assembly import Parts

RESAMPLES = 1000
CONFIDENCE = 0.95

# A figure that the draws' equations give so differently, relative to its size, gets no interval: a loss of one's own
# may be no mean over the samples.
_AGREES = 1e-3

_MODEL = ""  # the name of the model among the baselines


def of(
    parts: Parts,
    split_name: str,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    against: Data | None = None,
) -> dict[str, Any]:
    """Returns what is known of the model on a split, by the keys of ``evaluation.json``.

    Args:
        split_name: one of ``parts.data.splits``.
        resamples: draws of the bootstrap; 0 tells no intervals.
        confidence: share of the draws that an interval holds.
        seed: of the draws: the same gives the same intervals.
        against: whose training split the baselines learn from; None compares with none.
    """
    split = parts.split(split_name)
    gatherer = Gatherer(parts.data.task, parts.loss, split.num_samples)
    metrics = Metrics(parts.data.task, parts.loss, evaluating=True)
    autocast = device.autocast(parts.device, parts.config.device.precision)
    figures = evaluate(parts.model, split, parts.loss, metrics, autocast, gatherer.add)
    gathered = gatherer.finished()
    rivals = [] if against is None else _rivals(parts, split_name, against)
    by_side = {_MODEL: gathered, **{rival.name: rival.gathered for rival in rivals}}
    sides = _Sides.of(by_side, resamples, confidence, seed)
    result: dict[str, Any] = {"split": split_name, "samples": split.num_samples, "figures": figures}
    if resamples:
        intervals = sides.intervals(_MODEL, "", figures)
        result |= {"confidence": confidence, "resamples": resamples, "intervals": intervals}
    if not parts.data.task.heads:
        are_shares = isinstance(parts.model, FittedModel) and parts.model.gives_shares
        return result | _of_target(parts.data.task, gathered[""], metrics, sides, "", rivals, are_shares=are_shares)
    result["targets"] = {}
    for head, task in parts.data.task.heads.items():
        own = _of_target(task, gathered[head], metrics.heads[head], sides, head, rivals)
        for key in ("figures", "intervals"):
            result.get(key, {}).update({f"{head}/{name}": value for name, value in own.get(key, {}).items()})
        result["targets"][head] = own
    return result


def _rivals(parts: Parts, split_name: str, against: Data) -> list[baselines.Baseline]:
    size, cpu = parts.config.trainer.evaluation_batch_size, torch.device("cpu")
    train = against.train.split(batch_size=size, seed=None, device=cpu)
    guessed = parts.data.splits[split_name].split(batch_size=size, seed=None, device=cpu)

    def aligned(head: str) -> bool:
        return (parts.loss.heads[head] if isinstance(parts.loss, HeadsLoss) else parts.loss).aligned

    return baselines.of(against, train, guessed, aligned)


# --- intervals --------------------------------------------------------------------------------------------


class _Sides:
    """What the model and the baselines tell of each target: of the samples, and of each draw.

    Attributes:
        told: by the side's and the target's name, the figures of the samples as they are.
    """

    def __init__(
        self,
        told: dict[tuple[str, str], dict[str, float]],
        drawn: dict[tuple[str, str], Figures],
        confidence: float,
    ) -> None:
        self.told, self._drawn, self._confidence = told, drawn, confidence

    @classmethod
    def of(cls, gathered: dict[str, dict[str, Gathered]], resamples: int, confidence: float, seed: int) -> _Sides:
        """
        Args:
            gathered: by side and target.
        """
        tellers = {(side, head): Teller(own) for side, heads in gathered.items() for head, own in heads.items()}
        num_samples = gathered[_MODEL][""].num_samples
        drawn = bootstrap.distributions(tellers, num_samples, resamples, seed)
        return cls({key: teller.of_all() for key, teller in tellers.items()}, drawn, confidence)

    def intervals(self, side: str, head: str, figures: dict[str, float]) -> dict[str, list[float]]:
        """Returns the intervals of those figures that the draws' equations give as well."""
        told, found = self.told[side, head], bootstrap.intervals(self._drawn[side, head], self._confidence)
        return {name: ends for name, ends in found.items() if name in figures and _agree(told[name], figures[name])}

    def baseline(self, rival: baselines.Baseline, head: str) -> dict[str, Any]:
        """Returns a baseline's figures, and by how much the model's are larger."""
        own, model = self.told[rival.name, head], self.told[_MODEL, head]
        result: dict[str, Any] = {"name": rival.name, "figures": own}
        if rival.note:
            result["note"] = rival.note
        result["intervals"] = self.intervals(rival.name, head, own)
        result["difference"] = {}
        drawn, models = self._drawn[rival.name, head], self._drawn[_MODEL, head]
        for name in own:
            if name in drawn and name in models:
                ends = bootstrap.interval(_difference(models[name], drawn[name]), self._confidence)
                if ends is not None:
                    result["difference"][name] = [model[name] - own[name], *ends]
        return result


def _difference(one: Floats, other: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # of what is infinite
        return one - other


def _agree(one: float, other: float) -> bool:
    return one == other or abs(one - other) <= _AGREES * max(abs(one), abs(other), _AGREES)


# --- one target -------------------------------------------------------------------------------------------


def _of_target(
    task: Task,
    gathered: Gathered,
    metrics: Metrics,
    sides: _Sides,
    head: str,
    rivals: list[baselines.Baseline],
    *,
    are_shares: bool = False,
) -> dict[str, Any]:
    """Returns what is known of one target.

    Args:
        metrics: of this target.
        head: its name, "" where there is one.
        are_shares: the outputs are logarithms of shares, many of which are equal.
    """
    figures = metrics.compute()
    figures |= _more(gathered, sides.told[_MODEL, head])
    result: dict[str, Any] = {"figures": figures}
    intervals = sides.intervals(_MODEL, head, figures)
    if intervals:
        result["intervals"] = intervals
    if metrics.confusion is not None:
        result |= _of_classes(task, gathered, metrics.confusion, are_shares)
    if gathered.reliability is not None:
        result["calibration"] = gathered.reliability.plain()
    if gathered.predictions is not None and gathered.targets is not None:
        result["residuals"] = residuals(gathered.targets, gathered.predictions)
    if gathered.every > 1:
        result["looked_at_every"] = gathered.every
    compared = [sides.baseline(rival, head) for rival in rivals if head in rival.gathered]
    if compared:
        result["baselines"] = compared
    return result


def _more(gathered: Gathered, told: dict[str, float]) -> dict[str, float]:
    """Returns figures that training does not log."""
    more: dict[str, float] = {
        name: told[name] for name in ("median_absolute_error", "label_error_rate") if name in told
    }
    if gathered.predictions is None or gathered.targets is None or gathered.every > 1:
        return more
    return more | {"max_error": float(np.abs(gathered.predictions - gathered.targets).max())}


def _of_classes(task: Task, gathered: Gathered, confusion: torch.Tensor, are_shares: bool) -> dict[str, Any]:
    """Returns the confusion matrix, the figures of each class, and the curves."""
    ranked, labels = _ranked(task, gathered, are_shares), class_names(task)
    if task.kind == "multilabel":
        assert gathered.true is not None and gathered.predicted is not None
        shape = (gathered.num_samples, -1)
        true, said = (codes.reshape(shape) > 0 for codes in (gathered.true, gathered.predicted))
        rows = classification.table_of_labels(true, said, labels, ranked)
    else:
        rows = classification.table(confusion.double().cpu().numpy(), labels, ranked)
    first = 1 if task.kind == "binary" else 0  # of yes or no the curves of yes say all
    return {
        "confusion": {
            "classes": ["no", "yes"] if task.kind == "multilabel" else labels,
            "rows_true_columns_predicted": confusion.tolist(),
        },
        "classes": rows,
        "curves": classification.curves(ranked[first:], labels[first:]),
    }


def _ranked(task: Task, gathered: Gathered, are_shares: bool) -> list[Ranked]:
    """Returns how the scores of each class rank what is of it; of a part of the samples where not all were kept."""
    scores, true = gathered.scores, gathered.true
    assert scores is not None and true is not None
    every = gathered.every
    if task.kind == "multilabel":
        labels = true.reshape(gathered.num_samples, -1)[::every] > 0
        return [Ranked.of(scores[:, place], labels[:, place]) for place in range(labels.shape[1])]
    if every > 1:
        true = true[::every] if gathered.owner is None else true[gathered.owner % every == 0]
    if task.kind == "binary":
        return [Ranked.of(-scores[:, 0], true == 0), Ranked.of(scores[:, 0], true == 1)]
    # A softmax would make of equal shares ones that are not: it divides by a sum that is not quite 1.
    chances = scores if are_shares else classification.chances(scores)
    return [Ranked.of(chances[:, place], true == place) for place in range(chances.shape[1])]
