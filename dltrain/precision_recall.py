"""Curves of precision and recall, from counts that are kept on the device.

Shapes in comments: B batch, T time, K classes, C curves, N samples or steps with a target.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dltrain.data import IGNORED, Task

# TensorBoard's tab takes no more thresholds. They lie evenly from 0 to 1.
NUM_THRESHOLDS = 127

KINDS = ("binary", "multiclass", "multilabel", "sequence_labels")


class CurveCounts:
    """Counts the samples of each class, and those of all others, by how likely the model finds them.

    Each class is looked at by itself, against all others; the last curve is that of all these decisions together (the
    micro-average). Nothing waits for the device before ``curves``, and what is kept does not grow with the samples.
    """

    def __init__(self, task: Task, most: int, device: torch.device) -> None:
        """
        Args:
            task: one of ``KINDS``.
            most: classes that have a curve of their own, the first of them.
        """
        self.task = task
        self.own = min(task.output_size, most)
        rows = self.own + (task.output_size > self.own)  # the last one for all classes without a curve
        # A place more, for the steps that have no target.
        self._counts = torch.zeros(rows * NUM_THRESHOLDS * 2 + 1, dtype=torch.int64, device=device)

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """
        Args:
            outputs: (B, K) logits, or (B, T, K) where each step has an output.
            targets: (B,) classes or (B, K) shares of them, (B, K) labels, (B, 1) of binary, or (B, T).
        """
        outputs = outputs.float()
        if self.task.kind in ("binary", "multilabel"):
            chances, is_there = outputs.sigmoid(), targets > 0.5
            counted = None
        else:
            if self.task.per_step:
                outputs, targets = outputs.flatten(0, 1), targets.flatten()
            elif targets.dim() == 2:
                targets = targets.argmax(dim=1)
            chances = outputs.softmax(dim=1)
            is_there = targets.unsqueeze(1) == torch.arange(outputs.shape[1], device=outputs.device)
            counted = (targets != IGNORED).unsqueeze(1)
        rows = torch.arange(chances.shape[1], device=chances.device).clamp(max=self.own)
        buckets = (chances * (NUM_THRESHOLDS - 1)).floor().long().clamp(0, NUM_THRESHOLDS - 1)  # NaN: the lowest
        places = (rows * NUM_THRESHOLDS + buckets) * 2 + is_there  # (N, K)
        if counted is not None:
            places = torch.where(counted, places, len(self._counts) - 1)
        places = places.flatten()
        self._counts.scatter_add_(0, places, torch.ones_like(places))

    def curves(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the true and the false positives at each threshold, (C, ``NUM_THRESHOLDS``) int64 on the CPU each.

        A sample counts as positive where its probability is at least the threshold. The curves are those of the first
        classes and, where there are several classes, that of all.
        """
        counts = self._counts[:-1].reshape(-1, NUM_THRESHOLDS, 2).cpu()
        if self.task.output_size > 1:
            counts = torch.cat((counts[: self.own], counts.sum(dim=0, keepdim=True)))
        upto = counts.flip(1).cumsum(1).flip(1)  # from each threshold on
        return upto[:, :, 1], upto[:, :, 0]


def curve_names(task: Task, most: int) -> Iterator[str]:
    """Yields what to call each curve that ``CurveCounts.curves`` returns; no two alike."""
    if task.output_size == 1:
        yield task.class_names[-1] if task.class_names else "positive"
        return
    seen: set[str] = set()
    for place in range(min(task.output_size, most)):
        name = task.class_names[place] if place < len(task.class_names) else str(place)
        name = name if name not in seen else f"{name} ({place})"
        seen.add(name)
        yield name
    yield "all classes" if "all classes" not in seen else "all classes together"
