"""Metrics by task. They accumulate on the device and are read only where a row of figures is due."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from dltrain.data import IGNORED, Task, Tensors, size_of
from dltrain.directions import HIGHER_IS_BETTER as HIGHER_IS_BETTER
from dltrain.directions import is_higher_better as is_higher_better
from dltrain.errors import ConfigError, did_you_mean
from dltrain.figures import auroc, perplexity, precision_recall_f1, regression_figures
from dltrain.losses import HeadsLoss, Loss, by_head, count_targets

# Outputs are kept back until so many batches or numbers have come, then turned into sums at once: a metric then
# costs next to nothing a step. The limits count from fixed batches, so that a resumed run sums in the same order.
_FLUSH_BATCHES = 64
_FLUSH_NUMBERS = 2**18

# A confusion matrix beyond this many classes says nothing to a person and costs memory.
_MAX_CONFUSION = 1024


# Tasks of yes or no, once a sample or once for each of its labels.
_BINARY = ("binary", "multilabel")


def metric_names(task: Task, evaluating: bool = False, loss: Loss | None = None) -> list[str]:
    """Returns the metrics that a task has, the loss first; those of a named output as "output/metric".

    Args:
        evaluating: also those that need all outputs of a split at once, which training does not keep.
        loss: of the run; where it does not compare outputs and targets place by place, nothing else does.
    """
    if loss is not None and not loss.aligned:
        return ["loss"]
    if task.heads:
        losses = loss.heads if isinstance(loss, HeadsLoss) else {}
        names = {name: metric_names(head, evaluating, losses.get(name)) for name, head in task.heads.items()}
        return ["loss", *(f"{head}/{name}" for head in names for name in names[head])]
    if task.kind == "regression":
        return ["loss", "mae", "rmse", "r2"]
    if task.kind in _BINARY:
        return ["loss", "accuracy", "precision", "recall", "f1", *_ranking(task, evaluating)]
    top5 = ["top5"] if task.output_size > 5 else []
    if task.kind in ("next_token", "seq2seq"):
        return ["loss", "accuracy", *top5, "perplexity"]
    few = task.output_size <= _MAX_CONFUSION
    counted = ["precision", "recall", "f1"] if few else []
    return ["loss", "accuracy", *top5, *counted, *_ranking(task, evaluating)]


def _ranking(task: Task, evaluating: bool) -> list[str]:
    of_two = task.kind == "binary" or (task.kind == "multiclass" and task.output_size == 2)
    return ["auroc"] if of_two and evaluating else []


def confusion_size(task: Task) -> int:
    """Returns K, of the (K, K) counts of true and predicted classes that a task has; 0 where it has none."""
    if task.kind in _BINARY:
        return 2
    is_counted = task.kind in ("multiclass", "sequence_labels") and task.output_size <= _MAX_CONFUSION
    return task.output_size if is_counted else 0


def check_monitor(key: str, monitor: str, task: Task, loss: Loss | None = None, more: Iterable[str] = ()) -> None:
    """
    Args:
        more: names of figures that callbacks add.

    Raises:
        ConfigError: no such metric is logged for this task.
    """
    logged = [f"train/{name}" for name in metric_names(task, loss=loss)]
    logged += [f"val/{name}" for name in metric_names(task, evaluating=True, loss=loss)]
    logged += more
    if monitor not in logged:
        raise ConfigError(f"{key} = '{monitor}': this run logs no such metric.{did_you_mean(monitor, logged)}")


@dataclass
class _Kept:
    """A batch that is not summed yet; with heads, the outputs are with these.

    Attributes:
        count: samples, or steps with a target; a tensor where that takes counting.
        terms: the parts that the loss is a sum of, by name.
    """

    loss: torch.Tensor
    count: int | torch.Tensor
    outputs: torch.Tensor
    targets: torch.Tensor
    terms: dict[str, torch.Tensor]


class Metrics:
    """Accumulates a split's figures: ``update`` a batch at a time, then ``compute``, then ``reset``."""

    def __init__(self, task: Task, loss: Loss | None = None, *, evaluating: bool = False) -> None:
        """
        Args:
            loss: of the run, which a task with heads needs to tell the loss of each, and a regression where the
                loss's link makes predictions of outputs.
            evaluating: also computes what needs all outputs of a split at once.
        """
        self.task = task
        self.names = metric_names(task, evaluating, loss)
        self.heads: dict[str, Metrics] = {}
        if task.heads:
            assert isinstance(loss, HeadsLoss)
            self._head_losses = loss.heads
            self.heads = {
                name: Metrics(head, loss.heads[name], evaluating=evaluating) for name, head in task.heads.items()
            }
        self._link = None if loss is None else loss.link
        self._confusion_size = confusion_size(task)
        self.reset()

    def reset(self) -> None:
        self._kept: list[_Kept] = []
        self._kept_numbers = 0
        self._sums: dict[str, torch.Tensor] = {}
        self._ranked: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.num_batches = 0
        for head in self.heads.values():
            head.reset()

    def update(
        self,
        loss: torch.Tensor,
        outputs: Tensors,
        targets: Tensors,
        terms: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Adds a batch, all detached.

        Args:
            loss: the mean ().
            outputs: (B, K), (B, T, K) where there is one for each step, or several by name.
            targets: (B,) or (B, D), (B, T) where there is one for each step, (B, K) shares of classes, or several
                by name.
            terms: the parts that the loss is a sum of, by name, the same at each batch.
        """
        count: int | torch.Tensor = size_of(targets)
        if self.heads:
            assert isinstance(targets, dict)
            for name, output in by_head(self.task, outputs).items():
                head_loss = self._head_losses[name](output, targets[name])
                self.heads[name].update(head_loss, output, targets[name])
            outputs, targets = loss.new_empty(0), loss.new_empty(0)
        assert isinstance(outputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        if self.task.per_step:
            outputs, targets = outputs.flatten(0, 1), targets.flatten()
            count = count_targets(targets)
        elif self.task.kind == "multiclass" and targets.dim() == 2:  # samples mixed of two count as the larger part
            targets = targets.argmax(dim=1)
        self._kept.append(_Kept(loss, count, outputs, targets, terms or {}))
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
        if self.num_batches == 0:  # each was skipped
            return dict.fromkeys(self.names, math.nan)
        self._flush()
        sums: dict[str, Any] = {name: value.tolist() for name, value in self._sums.items() if name != "confusion"}
        count = sums["count"]
        figures = {"loss": sums["loss"] / count}
        for name, head in self.heads.items():
            figures.update({f"{name}/{metric}": value for metric, value in head.compute().items()})
        if "hits" in sums:
            labels = self.task.output_size if self.task.kind == "multilabel" else 1
            figures["accuracy"] = sums["hits"] / (count * labels)
        if "top5" in sums:
            figures["top5"] = sums["top5"] / count
        if self.confusion is not None:
            figures.update(precision_recall_f1(self.confusion))
        if "perplexity" in self.names:
            figures["perplexity"] = float(perplexity(sums["surprise"], count))
        if self.task.kind == "regression":
            figures.update(regression_figures(count, sums, self.task.target_scale))
        if "auroc" in self.names:
            figures["auroc"] = auroc(*(torch.cat(part).cpu() for part in zip(*self._ranked, strict=True)))
        terms = {name[5:]: value / count for name, value in sums.items() if name.startswith("term/")}
        return {"loss": figures["loss"], **terms, **{name: figures[name] for name in self.names}}

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
            "kept": [vars(kept) for kept in self._kept],
            "heads": {name: head.state_dict() for name, head in self.heads.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reset()
        self._sums = dict(state["sums"])
        self.num_batches = state["num_batches"]
        for kept in state["kept"]:
            self._kept.append(_Kept(**kept))
            self._kept_numbers += kept["outputs"].numel()
        for name, head in self.heads.items():
            head.load_state_dict(state["heads"][name])

    def _flush(self) -> None:
        if not self._kept:
            return
        kept, self._kept, self._kept_numbers = self._kept, [], 0
        losses = torch.stack([k.loss for k in kept]).double()
        counts = _stacked([k.count for k in kept], losses.device)
        self._note_bad(losses, first=self.num_batches - len(kept))
        self._add("loss", losses @ counts)
        for name in kept[0].terms:
            self._add(f"term/{name}", torch.stack([k.terms[name] for k in kept]).double() @ counts)
        self._add("count", counts.sum())
        if self.names == ["loss"] or self.heads:
            return
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
        if self._link is not None:
            outputs = self._link(outputs)
        error = outputs - targets
        self._add("absolute", error.abs().sum(dim=0))
        self._add("squared", error.square().sum(dim=0))
        self._add("target", targets.sum(dim=0))
        self._add("target_squared", targets.square().sum(dim=0))

    def _add_classification(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        if "auroc" in self.names:  # of two logits, their difference ranks as the chance of the second class does
            scores = outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]
            self._ranked.append((scores, targets.flatten()))
        if self.task.kind in _BINARY:
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
            pairs = targets * size + predicted
            if self.task.per_step:  # steps without a target fall into a place of their own
                pairs = torch.where(targets == IGNORED, size * size, pairs)
            counts = torch.bincount(pairs, minlength=size * size)[: size * size]
            self._add("confusion", counts.reshape(size, size))


def _stacked(counts: list[int | torch.Tensor], device: torch.device) -> torch.Tensor:
    if isinstance(counts[0], torch.Tensor):
        return torch.stack([count for count in counts if isinstance(count, torch.Tensor)]).double()
    return torch.tensor(counts, dtype=torch.float64, device=device)
