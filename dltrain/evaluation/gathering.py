"""What an evaluation keeps of a pass over a split: sums of each sample, from which figures of any draw of the samples
can be told, and scores for what ranks samples.

The memory is bounded: of a language model with a large vocabulary a few numbers of each sample are kept, never logits;
of more scores than fit, those of every so many samples.

Shapes in comments: B samples of a batch, T time, K classes, D values of a regression target, N samples, M decisions:
a class said of a sample, of a step that has a target, or yes or no of one label.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.data import IGNORED, Task, Tensors
from dltrain.evaluation.bootstrap import Floats, Integers
from dltrain.evaluation.calibration import Reliability
from dltrain.evaluation.decisions import decisions
from dltrain.evaluation.spelling import decoded, edit_distance
from dltrain.losses import CTCLoss, HeadsLoss, Loss, by_head
from dltrain.metrics import confusion_size

# Scores, or values of a regression, that are kept at most: 128 MB of float32.
MOST_NUMBERS = 2**25

# What comes of so many batches, or so many numbers, stays on the device before it is read, all at once.
_BATCHES = 64
_NUMBERS = 2**22

YES_NO = ("binary", "multilabel")
LANGUAGE = ("next_token", "seq2seq")


@dataclass
class Gathered:
    """What is known of one target of N samples.

    Attributes:
        sums: by name, (N,) float64: "count" of decisions, or of steps with a target; "loss" times that; "hits" and
            "top5", how many were right; "surprise", the sum of -log p(target); "errors" and "labels" of spelled ones.
        true, predicted: (M,) the classes of all decisions, where there is a confusion matrix.
        owner: (M,) the sample that each belongs to; None where that is its place.
        scores: (M', K) logits of the decisions of every ``every``-th sample, in their order; None where none are kept.
        predictions, targets: (N', D) of every ``every``-th sample, in the target's own unit.
        errors: (N, 2) mean over the outputs of absolute and squared errors, in the target's own unit.
        reliability: of the probabilities of classes; None where there are none.
    """

    task: Task
    num_samples: int
    sums: dict[str, Floats] = field(default_factory=dict)
    true: Integers | None = None
    predicted: Integers | None = None
    owner: Integers | None = None
    scores: NDArray[np.float32] | None = None
    predictions: Floats | None = None
    targets: Floats | None = None
    errors: Floats | None = None
    every: int = 1
    reliability: Reliability | None = None

    @property
    def num_classes(self) -> int:
        """K of the confusion matrix; 0 where there is none."""
        return confusion_size(self.task)


class Gatherer:
    """Takes batch after batch; ``finished`` gives what was gathered of each target, "" naming the only one.

    With several targets, "" holds the loss of them together.
    """

    def __init__(self, task: Task, loss: Loss | None, num_samples: int) -> None:
        """
        Args:
            loss: of the run; None gathers none, and takes the outputs of a regression for its predictions.
        """
        self._loss = loss
        self._task = task
        self._heads: dict[str, _OfOne] = {}
        if task.heads:
            own = loss.heads if isinstance(loss, HeadsLoss) else {}
            self._heads = {name: _OfOne(head, own.get(name), num_samples) for name, head in task.heads.items()}
        self._whole = _OfOne(task, loss, num_samples)

    @torch.inference_mode()
    def add(self, outputs: Tensors, targets: Tensors) -> None:
        """
        Args:
            outputs, targets: of a batch, as the loss takes them.
        """
        if self._heads:
            assert isinstance(targets, dict)
            for name, output in by_head(self._task, outputs).items():
                self._heads[name].add(output, targets[name])
            if self._loss is not None:
                self._whole.add_loss(self._loss.of_each(outputs, targets))
            return
        assert isinstance(outputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        self._whole.add(outputs, targets)

    def finished(self) -> dict[str, Gathered]:
        return {"": self._whole.finished(), **{name: head.finished() for name, head in self._heads.items()}}


class _OfOne:
    """Gathers one target."""

    def __init__(self, task: Task, loss: Loss | None, num_samples: int) -> None:
        self._task, self._loss = task, loss
        self._num_samples = num_samples
        self._seen = 0
        self._every = 0  # known with the first batch
        self._waiting: list[dict[str, torch.Tensor]] = []
        self._waiting_numbers = 0
        self._kept: dict[str, list[NDArray[np.generic]]] = {}
        self._reliability = Reliability()

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        kept: dict[str, torch.Tensor] = {}
        if self._loss is not None:
            kept["loss"] = self._loss.of_each(outputs, targets)
        outputs = outputs.float()
        if self._loss is not None and not self._loss.aligned:
            kept["count"] = (targets != IGNORED).sum(dim=1)
            if isinstance(self._loss, CTCLoss):
                kept["errors"], kept["labels"] = _spelled(outputs, targets, self._loss.blank)
        elif self._task.kind == "regression":
            kept |= self._of_values(outputs, targets)
        elif self._task.kind in YES_NO:
            kept |= self._of_yes_or_no(outputs, targets)
        elif self._task.per_step:
            kept |= self._of_steps(outputs, targets)
        else:
            classes = targets.argmax(dim=1) if targets.dim() == 2 else targets
            kept |= self._of_classes(outputs, classes)
        self._keep(kept, len(targets))

    def add_loss(self, losses: torch.Tensor) -> None:
        """Adds the (B,) losses of samples of which nothing else is kept."""
        self._keep({"loss": losses}, len(losses))

    def _keep(self, numbers: dict[str, torch.Tensor], size: int) -> None:
        self._seen += size
        self._waiting.append(numbers)
        self._waiting_numbers += sum(tensor.numel() for tensor in numbers.values())
        if len(self._waiting) >= _BATCHES or self._waiting_numbers >= _NUMBERS:
            self._read()

    def _read(self) -> None:
        """The one place that waits for the device."""
        waiting, self._waiting, self._waiting_numbers = self._waiting, [], 0
        for name in waiting[0] if waiting else ():
            numbers = torch.cat([batch[name] for batch in waiting]).cpu().numpy()
            self._kept.setdefault(name, []).append(numbers)
        if "confidence" in self._kept:
            confidence, right, squared = (
                np.concatenate(self._kept.pop(name)) for name in ("confidence", "right", "brier")
            )
            self._reliability.add(confidence, right, squared)

    # --- by kind ------------------------------------------------------------------------------------------

    def _chosen(self, size: int, numbers: int) -> slice:
        """Returns which samples of a batch are among those whose every number is kept.

        Args:
            numbers: of one sample.
        """
        if not self._every:
            self._every = max(1, -(-self._num_samples * numbers // MOST_NUMBERS))
        return slice(-self._seen % self._every, size, self._every)

    def _of_values(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        shape = (len(targets), -1)
        predictions, truth = outputs.double().reshape(shape), targets.double().reshape(shape)
        if self._loss is not None and self._loss.link is not None:
            predictions = self._loss.link(predictions)
        if self._task.target_scale:
            scale, shift = (predictions.new_tensor(v) for v in (self._task.target_scale, self._task.target_shift))
            predictions, truth = predictions * scale + shift, truth * scale + shift
        error = predictions - truth
        chosen = self._chosen(len(targets), 4 * predictions.shape[1])  # two of float64
        return {
            "absolute": error.abs().mean(dim=1),
            "squared": error.square().mean(dim=1),
            "predictions": predictions[chosen],
            "targets": truth[chosen],
        }

    def _of_yes_or_no(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        shape = (len(targets), -1)
        outputs, truth = outputs.reshape(shape), (targets > 0.5).reshape(shape)
        said = outputs > 0
        chance = outputs.sigmoid()
        return {
            "hits": (said == truth).sum(dim=1),
            "count": torch.full((len(truth),), truth.shape[1]),
            "true": truth.flatten().to(torch.uint8),
            "predicted": said.flatten().to(torch.uint8),
            "scores": outputs[self._chosen(len(truth), truth.shape[1])],
            "confidence": torch.maximum(chance, 1 - chance).flatten(),
            "right": (said == truth).flatten(),
            "brier": (chance - truth.float()).square().flatten(),
        }

    def _of_classes(self, outputs: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of (B, K) outputs and (B,) classes; each is one decision."""
        kept = decisions(outputs, classes, self._task.kind in LANGUAGE)
        kept["count"] = torch.ones_like(classes)
        if confusion_size(self._task):
            kept["true"] = classes
            kept["scores"] = outputs[self._chosen(len(classes), outputs.shape[1])]
        else:
            del kept["predicted"]
        return kept

    def _of_steps(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of (B, T, K) outputs and (B, T) targets; each step that has a target is a decision."""
        has_target = targets != IGNORED
        places = has_target.flatten().nonzero()[:, 0]
        own = decisions(outputs.flatten(0, 1), targets.flatten(), self._task.kind in LANGUAGE, places)
        kept = {name: own[name] for name in ("confidence", "right", "brier")}
        kept["count"] = has_target.sum(dim=1)
        for name in ("hits", "top5", "surprise"):
            if name in own:
                of_step = own[name].new_zeros(targets.shape, dtype=torch.float64)
                of_step[has_target] = own[name].double()
                kept[name] = of_step.sum(dim=1)
        if confusion_size(self._task):
            kept["true"], kept["predicted"] = targets[has_target], own["predicted"]
            chosen = self._chosen(len(targets), self._task.input.shape[0] * outputs.shape[2])
            kept["scores"] = outputs[chosen][has_target[chosen]]
        return kept

    # --- the end ------------------------------------------------------------------------------------------

    def finished(self) -> Gathered:
        self._read()
        arrays = {name: np.concatenate(parts) for name, parts in self._kept.items()}
        self._kept = {}
        result = Gathered(self._task, self._seen, every=max(1, self._every))
        count = arrays.pop("count", np.ones(self._seen)).astype(np.float64)
        result.sums["count"] = count
        if "loss" in arrays:
            of_steps = self._loss is not None and self._task.per_step
            result.sums["loss"] = arrays["loss"].astype(np.float64) * (count if of_steps else 1.0)
        for name in ("hits", "top5", "surprise", "errors", "labels"):
            if name in arrays:
                result.sums[name] = arrays[name].astype(np.float64)
        if "true" in arrays:
            result.true, result.predicted = (arrays[name].astype(np.int64) for name in ("true", "predicted"))
            if len(result.true) != self._seen or self._task.per_step:
                result.owner = np.repeat(np.arange(self._seen), count.astype(np.int64))
            result.scores = arrays["scores"]
        if "predictions" in arrays:
            result.predictions, result.targets = arrays["predictions"], arrays["targets"]
            result.errors = np.stack([arrays["absolute"], arrays["squared"]], axis=1)
        result.reliability = self._reliability if self._reliability.count else None
        return result


def _spelled(outputs: torch.Tensor, targets: torch.Tensor, blank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (B,) the least changes that make what is spelled what is true, and (B,) the true labels' numbers."""
    errors, lengths = [], []
    for said, true in zip(outputs.argmax(dim=2).tolist(), targets.tolist(), strict=True):
        labels = [label for label in true if label not in (IGNORED, blank)]
        errors.append(edit_distance(decoded(said, blank), labels))
        lengths.append(len(labels))
    return torch.tensor(errors), torch.tensor(lengths)
