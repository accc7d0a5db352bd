"""Metrics by task. They accumulate on the device and are read only where a row of figures is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dltrain.data import Task
from dltrain.errors import ConfigError, did_you_mean

# True where a larger value is better.
HIGHER_IS_BETTER = {
    "loss": False,
    "accuracy": True,
    "top5": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "perplexity": False,
    "mae": False,
    "rmse": False,
    "r2": True,
}

# Outputs are kept back until so many batches or numbers have come, then turned into sums at once: a metric then
# costs next to nothing a step. The limits count from fixed batches, so that a resumed run sums in the same order.
_FLUSH_BATCHES = 64
_FLUSH_NUMBERS = 2**18

# A confusion matrix beyond this many classes says nothing to a person and costs memory.
_MAX_CONFUSION = 1024


def metric_names(task: Task) -> list[str]:
    """Returns the metrics that a task has, the loss first."""
    if task.kind == "regression":
        return ["loss", "mae", "rmse", "r2"]
    if task.kind == "binary":
        return ["loss", "accuracy", "precision", "recall", "f1"]
    top5 = ["top5"] if task.output_size > 5 else []
    if task.kind == "next_token":
        return ["loss", "accuracy", *top5, "perplexity"]
    if task.kind == "multiclass":
        few = task.output_size <= _MAX_CONFUSION
        return ["loss", "accuracy", *top5, *(["precision", "recall", "f1"] if few else [])]
    raise ConfigError(f"no metrics for a {task.kind} task yet")


def is_higher_better(monitor: str) -> bool:
    """Tells whether a larger value of a metric such as "val/accuracy" is better."""
    return HIGHER_IS_BETTER[monitor.partition("/")[2]]


def check_monitor(key: str, monitor: str, task: Task) -> None:
    """
    Raises:
        ConfigError: no such metric is logged for this task.
    """
    logged = [f"{split}/{name}" for split in ("train", "val") for name in metric_names(task)]
    if monitor not in logged:
        raise ConfigError(f"{key} = '{monitor}': this run logs no such metric.{did_you_mean(monitor, logged)}")


@dataclass
class _Kept:
    """A batch that is not summed yet."""

    loss: torch.Tensor
    outputs: torch.Tensor
    targets: torch.Tensor


class Metrics:
    """Accumulates a split's figures: ``update`` a batch at a time, then ``compute``, then ``reset``."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.names = metric_names(task)
        self._confusion_size = 0
        if task.kind == "binary":
            self._confusion_size = 2
        elif task.kind == "multiclass" and task.output_size <= _MAX_CONFUSION:
            self._confusion_size = task.output_size
        self.reset()

    def reset(self) -> None:
        self._kept: list[_Kept] = []
        self._kept_numbers = 0
        self._sums: dict[str, torch.Tensor] = {}
        self.num_batches = 0

    def update(self, loss: torch.Tensor, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Adds a batch: its mean loss (), outputs (B, K) and targets (B,) or (B, D), all detached."""
        self._kept.append(_Kept(loss, outputs, targets))
        self.num_batches += 1
        self._kept_numbers += outputs.numel()
        if len(self._kept) >= _FLUSH_BATCHES or self._kept_numbers >= _FLUSH_NUMBERS:
            self._flush()

    def first_bad_batch(self) -> int | None:
        """Returns the number (from 0, since the last reset) of the first batch whose loss is NaN or infinite.

        This waits for the device; it is called before a checkpoint, where figures are read, and now and then.
        """
        if "first_bad" in self._sums:
            first = int(self._sums["first_bad"].item())
            if first >= 0:
                return first
        if self._kept:
            bad = ~torch.stack([k.loss for k in self._kept]).isfinite()
            if bad.any():
                return self.num_batches - len(self._kept) + int(bad.long().argmax().item())
        return None

    def compute(self) -> dict[str, float]:
        """Returns the figures of all batches since the last reset. The one place that reads from the device."""
        self._flush()
        sums: dict[str, Any] = {name: value.tolist() for name, value in self._sums.items() if name != "confusion"}
        count = sums["count"]
        figures = {"loss": sums["loss"] / count}
        if "hits" in sums:
            figures["accuracy"] = sums["hits"] / count
        if "top5" in sums:
            figures["top5"] = sums["top5"] / count
        if self.confusion is not None:
            figures.update(_precision_recall_f1(self.confusion))
        if "perplexity" in self.names:
            with np.errstate(over="ignore"):  # beyond the range of floats it is infinite
                figures["perplexity"] = float(np.exp(np.float64(sums["surprise"] / count)))
        if self.task.kind == "regression":
            figures.update(_regression_figures(count, sums))
        return {name: figures[name] for name in self.names}

    @property
    def confusion(self) -> torch.Tensor | None:
        """The (K, K) counts, true classes in rows, predicted ones in columns; None where there are none."""
        self._flush()
        return self._sums.get("confusion")

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums, and the batches that are not summed yet as they are: summing them now would change
        the order of the additions, and with it the last bits of the result."""
        return {
            "sums": dict(self._sums),
            "num_batches": self.num_batches,
            "kept": [{"loss": k.loss, "outputs": k.outputs, "targets": k.targets} for k in self._kept],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reset()
        self._sums = dict(state["sums"])
        self.num_batches = state["num_batches"]
        for kept in state["kept"]:
            self._kept.append(_Kept(**kept))
            self._kept_numbers += kept["outputs"].numel()

    def _flush(self) -> None:
        if not self._kept:
            return
        kept, self._kept, self._kept_numbers = self._kept, [], 0
        losses = torch.stack([k.loss for k in kept]).double()
        counts = torch.tensor([float(len(k.targets)) for k in kept], dtype=torch.float64, device=losses.device)
        self._note_bad(losses, first=self.num_batches - len(kept))
        self._add("loss", losses @ counts)
        self._add("count", counts.sum())
        outputs = torch.cat([k.outputs for k in kept])
        targets = torch.cat([k.targets for k in kept])
        if self.task.kind == "regression":
            self._add_regression(outputs.double(), targets.double())
        else:
            self._add_classification(outputs, targets)

    def _note_bad(self, losses: torch.Tensor, first: int) -> None:
        bad = ~losses.isfinite()
        where = torch.where(bad.any(), first + bad.long().argmax(), -1)
        known = self._sums.get("first_bad")
        self._sums["first_bad"] = where if known is None else torch.where(known >= 0, known, where)

    def _add(self, name: str, value: torch.Tensor) -> None:
        known = self._sums.get(name)
        self._sums[name] = value if known is None else known + value

    def _add_regression(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        error = outputs - targets
        self._add("absolute", error.abs().sum(dim=0))
        self._add("squared", error.square().sum(dim=0))
        self._add("target", targets.sum(dim=0))
        self._add("target_squared", targets.square().sum(dim=0))

    def _add_classification(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        if self.task.kind == "binary":
            predicted, targets = (outputs > 0).long().flatten(), targets.long().flatten()
        else:
            predicted = outputs.argmax(dim=1)
        self._add("hits", (predicted == targets).sum())
        if "perplexity" in self.names:  # of the targets themselves, whatever the loss smooths or weighs
            self._add("surprise", F.cross_entropy(outputs, targets, reduction="sum").double())
        if "top5" in self.names:
            self._add("top5", (outputs.topk(5, dim=1).indices == targets[:, None]).any(dim=1).sum())
        if self._confusion_size:
            size = self._confusion_size
            pairs = torch.bincount(targets * size + predicted, minlength=size * size)
            self._add("confusion", pairs.reshape(size, size))


def _regression_figures(count: float, sums: dict[str, list[float]]) -> dict[str, float]:
    """Returns mean absolute error, root of the mean squared error and R2, from the sums of each output.

    R2 is 1 - squared errors / squared deviations of the targets from their mean, averaged over the outputs; NaN
    where an output's targets are all the same.
    """
    absolute, squared, target, target_squared = (
        np.array(sums[name]) for name in ("absolute", "squared", "target", "target_squared")
    )
    deviations = target_squared - target**2 / count
    constant = bool((deviations <= 0).any())
    return {
        "mae": float(absolute.mean() / count),
        "rmse": float((squared.mean() / count) ** 0.5),
        "r2": float("nan") if constant else float((1 - squared / deviations).mean()),
    }


def _precision_recall_f1(confusion: torch.Tensor) -> dict[str, float]:
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
