"""The data contract: what a data set tells the rest of dltrain, and how its batches come.

A data set is a function registered as ``data/<name>`` that takes its settings and returns ``Data``: the task it
poses, and its samples, split. The model's head, the loss and the metrics follow from the task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch

TaskKind = Literal["regression", "binary", "multiclass", "multilabel", "next_token", "sequence_labels", "seq2seq"]


@dataclass(frozen=True)
class InputSpec:
    """One sample as a model sees it.

    Attributes:
        shape: without the batch: (D,) features, (C, H, W) images, (T,) tokens, (T, D) series.
        dtype: "float32" for values, "int64" for tokens.
        vocabulary_size: number of tokens, the padding token 0 included; None for values.
    """

    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"] = "float32"
    vocabulary_size: int | None = None


@dataclass(frozen=True)
class Task:
    """What a model is to learn.

    Attributes:
        kind: decides the default loss and the metrics.
        input: one sample.
        output_size: numbers that the model gives for a sample: K logits, 1 logit for binary, values for regression.
        class_names: K names for classification (2 for binary), or empty.
    """

    kind: TaskKind
    input: InputSpec
    output_size: int
    class_names: tuple[str, ...] = ()


class Batch(NamedTuple):
    """Samples that are computed at once: ``inputs`` (B, ...) and ``targets`` (B, ...)."""

    inputs: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Samples:
    """A split that fits in memory.

    Attributes:
        inputs: (N, *task.input.shape).
        targets: (N,) int64 classes or tokens; (N, 1) float32 for binary; (N, output_size) float32 for regression.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Data:
    """A data set, split.

    Attributes:
        validation: what is evaluated while training; the training samples themselves where the set is too
            small to split.
        test: what the finished model is evaluated on, or None.
        preprocessing: plain values with which new inputs are turned into samples; saved with the run.
        notes: what a person should know about this data, said once in the log.
    """

    task: Task
    train: Samples
    validation: Samples
    test: Samples | None
    preprocessing: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Samples]:
        splits = {"train": self.train, "validation": self.validation}
        return splits if self.test is None else {**splits, "test": self.test}

    @property
    def evaluates_training_data(self) -> bool:
        return self.validation is self.train


class Split(ABC):
    """Batches in an order that is a pure function of (seed, epoch), so that a run can start at any of them."""

    num_samples: int
    batch_size: int

    @property
    def num_batches(self) -> int:
        return -(-self.num_samples // self.batch_size)

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from number ``start`` on; the last one may be smaller."""
