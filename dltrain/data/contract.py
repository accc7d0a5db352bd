"""The data contract: what a data set tells the rest of dltrain, and how its batches come.

A data set is a function registered as ``data/<name>`` that takes its settings and returns ``Data``: the task it
poses, and its samples, split. The model's head, the loss and the metrics follow from the task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch

from dltrain.errors import ConfigError

TaskKind = Literal[
    "regression", "binary", "multiclass", "multilabel", "next_token", "sequence_labels", "seq2seq", "several"
]

# A batch's inputs or targets: one tensor (B, ...), or several by name.
Tensors = torch.Tensor | dict[str, torch.Tensor]

# The target of a step that has none (PyTorch's own default for cross-entropy).
IGNORED = -100


@dataclass(frozen=True)
class InputSpec:
    """One sample as a model sees it.

    Attributes:
        shape: without the batch: (D,) features, (C, H, W) images, (T,) tokens, (T, D) series. Of tokens it is the
            longest sequence; a batch may be shorter.
        dtype: "float32" for values, "int64" for tokens.
        vocabulary_size: number of tokens, the padding token 0 included; None for values.
        categories: the last ``len(categories)`` of D features are codes from 0 to below these numbers, for models
            to embed; the others are plain numbers.
        padding: the side on which a shorter token sequence is filled with 0.
    """

    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"] = "float32"
    vocabulary_size: int | None = None
    categories: tuple[int, ...] = ()
    padding: Literal["left", "right"] = "left"


@dataclass(frozen=True)
class Task:
    """What a model is to learn.

    Attributes:
        kind: decides the default loss and the metrics; "several" where there are ``heads``.
        inputs: one sample, or its parts by name where a model is to treat them apart.
        output_size: numbers that the model gives for a sample (or for each step of one): K logits, 1 logit for
            binary, values for regression.
        class_names: K names for classification (2 for binary), or empty.
        per_step: the model gives an output for each step: outputs (B, T, K), targets (B, T), ``IGNORED`` where a
            step has no target.
        target_scale: of each regression output; with ``target_shift`` it turns an output into the target's own
            unit: output * scale + shift. Empty where outputs are in that unit already.
        heads: several named targets, each a task of its own with the same inputs. ``output_size`` is their sum: a
            model may give one tensor, which is cut in their order, or a dict of tensors.
    """

    kind: TaskKind
    inputs: InputSpec | dict[str, InputSpec]
    output_size: int
    class_names: tuple[str, ...] = ()
    per_step: bool = False
    target_shift: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    heads: dict[str, Task] = field(default_factory=dict)

    @property
    def input(self) -> InputSpec:
        """The one input of a sample.

        Raises:
            ConfigError: a sample has several, so that a model which takes one does not fit.
        """
        if isinstance(self.inputs, dict):
            fitting = "model=seq2seq" if self.kind == "seq2seq" else "model=multi_input or model=wide_deep"
            raise ConfigError(
                f"model: this data gives several inputs ({', '.join(self.inputs)}), and the model takes one. "
                f"Take a model for several inputs: {fitting}"
            )
        return self.inputs


def task_from_dict(values: dict[str, Any]) -> Task:
    """Returns the task that ``dataclasses.asdict`` made plain values of, and JSON lists of tuples."""
    inputs = values["inputs"] if "inputs" in values else values["input"]  # as it was called in 0.1
    several = not isinstance(inputs.get("shape"), list)
    rest = _with_tuples(values)
    rest.pop("input", None)
    rest["inputs"] = {name: _spec_of(spec) for name, spec in inputs.items()} if several else _spec_of(inputs)
    rest["heads"] = {name: task_from_dict(head) for name, head in values.get("heads", {}).items()}
    return Task(**rest)


def _spec_of(values: dict[str, Any]) -> InputSpec:
    return InputSpec(**_with_tuples(values))


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


class Batch(NamedTuple):
    """Samples that are computed at once.

    Attributes:
        inputs, targets: (B, ...), or several of them by name.
        weights: (B,) how much each sample counts in the loss, 1 on average; None where all count the same.
    """

    inputs: Tensors
    targets: Tensors
    weights: torch.Tensor | None = None

    @property
    def size(self) -> int:
        """B, the number of samples."""
        return size_of(self.targets)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """Returns the batch with a function applied to each of its tensors."""

        def apply(tensors: Tensors) -> Tensors:
            if isinstance(tensors, dict):
                return {name: function(tensor) for name, tensor in tensors.items()}
            return function(tensors)

        weights = None if self.weights is None else function(self.weights)
        return Batch(apply(self.inputs), apply(self.targets), weights)


def size_of(tensors: Tensors) -> int:
    """Returns B."""
    return len(next(iter(tensors.values())) if isinstance(tensors, dict) else tensors)


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

    def evaluation_order(self) -> torch.Tensor | None:
        """Returns the places in their source of the samples of epoch 0, (N,) int64 on the CPU; None where a split that
        is not shuffled takes them as they stand.
        """
        return None


class Source(ABC):
    """The samples of one split, wherever they lie."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def split(self, *, batch_size: int, seed: int | None, device: torch.device) -> Split:
        """Returns the batches on a device.

        Args:
            seed: of the order and of augmentation; None keeps the samples as they stand, and not augmented.
        """

    @abstractmethod
    def head(self, count: int) -> Batch:
        """Returns the first ``count`` samples, or all if they are fewer, as a model sees them, on the CPU."""

    @abstractmethod
    def content(self) -> Iterator[bytes | memoryview]:
        """Yields what tells these samples from others, for the run's fingerprint."""


class Transform(ABC):
    """Turns stored samples into what a model sees, a batch at a time and on the device."""

    @abstractmethod
    def __call__(self, batch: Batch, indices: torch.Tensor, epoch: int | None) -> Batch:
        """
        Args:
            indices: (B,) int64, the samples' places in their source.
            epoch: None does only what is always done; with an epoch it may augment, as a pure function of
                (seed, epoch, index).
        """

    def seeded(self, seed: int) -> Transform:
        """Returns the transform for a run with this seed."""
        return self


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
    train: Source
    validation: Source
    test: Source | None
    preprocessing: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Source]:
        splits = {"train": self.train, "validation": self.validation}
        return splits if self.test is None else {**splits, "test": self.test}

    @property
    def evaluates_training_data(self) -> bool:
        return self.validation is self.train
