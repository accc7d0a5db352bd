"""The model contract: an ``nn.Module`` built from its settings and the task.

A model is registered as ``model/<name>`` with a settings dataclass, and built as ``Model(settings, task=task)``.
Its ``forward(inputs)`` takes (B, *task.input.shape), or several tensors by name, and returns (B, task.output_size):
logits for classes and tokens, plain values for regression. Where the task is one of each step it returns
(B, T, task.output_size). Where the task has heads it may return a dict with a tensor for each of them.

In training, and only there, it may return ``WithAuxiliary`` instead. A model without gradients is a ``RuleModel``,
which learns from one batch after another, or a ``FittedModel``, which is fitted to all samples at once; the loop is
the same. What a person should know about a model that was built as the settings ask, it says in ``notes``.

Shapes in comments: B batch, T time, C channels, D features, H hidden units, K classes, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from dltrain import activations
from dltrain.data import InputSpec, Task, Tensors
from dltrain.errors import ConfigError

_STEP_NOTE = (
    "the step activation has no gradient: layers before it stay as they began, and only those after it learn. "
    "sigmoid is a smooth step, and model=perceptron has a rule for a single layer"
)


class WithAuxiliary(NamedTuple):
    """The outputs of a model that has some for training alone.

    Attributes:
        outputs: those that the model gives in evaluation as well.
        auxiliary: outputs of the same shape by name; each is compared with the same targets.
        share: how much the main outputs' loss counts in the sum of losses.
        auxiliary_share: how much the loss of each auxiliary output counts.
    """

    outputs: Tensors
    auxiliary: dict[str, Tensors]
    share: float
    auxiliary_share: float


class RuleModel(nn.Module, ABC):
    """A model that learns by a rule of its own, without gradients. Its parameters need none."""

    @abstractmethod
    def learn(self, inputs: Tensors, targets: Tensors, lr: float) -> None:
        """Learns from a batch, inputs (B, ...) and targets (B, ...), at the learning rate."""


class FittedModel(nn.Module, ABC):
    """A model that is fitted to all training samples at once, in a single step.

    What it learns are parameters that need no gradient.

    Attributes:
        gives_shares: the outputs for classes are logarithms of shares, of which many samples have the same.
    """

    gives_shares = False

    @abstractmethod
    def fit(self, inputs: Tensors, targets: Tensors, weights: torch.Tensor | None) -> None:
        """Fits to all samples, inputs (N, ...), targets (N, ...) and, where samples count differently, weights (N,)."""

    def mistakes(self, num_samples: int) -> list[str]:
        """Returns which settings do not fit so many training samples, a line each."""
        return []

    def make_room(self, state: Mapping[str, torch.Tensor]) -> None:
        """Gives parameters whose sizes depend on the samples those that they have in a state that is to be loaded."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        self.make_room(state_dict)
        return super().load_state_dict(state_dict, strict, assign)


def device_of(model: nn.Module) -> torch.device:
    """Returns where a model's tensors are: the CPU where it has none."""
    return next((tensor.device for tensor in [*model.parameters(), *model.buffers()]), torch.device("cpu"))


def count_parameters(model: nn.Module, *, trained: bool = False) -> int:
    """Returns the numbers that a model learns, those that are shared counted once.

    Args:
        trained: only those that have a gradient.
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not trained)


def notes_of(model: nn.Module) -> tuple[str, ...]:
    """Returns what a person should know about this model: its ``notes``, where it has some, and those of its layers."""
    notes = getattr(model, "notes", ())
    notes = notes if isinstance(notes, tuple) else ()
    stops_gradients = any(isinstance(layer, activations.Step) for layer in model.modules())
    return (*notes, _STEP_NOTE) if stops_gradients else notes


def require_values(name: str, task: Task, spec: InputSpec | None = None) -> InputSpec:
    """Returns the input, and refuses token numbers for a model that computes with the values of its input.

    Args:
        spec: one of several inputs, where a sample has several.

    Raises:
        ConfigError: the input is tokens, or (without ``spec``) a sample has several inputs.
    """
    spec = spec or task.input
    if spec.vocabulary_size is not None:
        raise ConfigError(
            f"model.name = '{name}': it computes with numbers, and this data gives tokens. "
            "Choose a model that embeds them: model=rnn, model=lstm or model=gru; or, for classes of text, "
            "data.form=multi_hot"
        )
    _require_one_output(name, task)
    return spec


def require_images(name: str, task: Task) -> tuple[int, int, int]:
    """Returns channels, height and width of the images (C, H, W) that a model looks at.

    Raises:
        ConfigError: the input is something else.
    """
    spec = task.input
    if len(spec.shape) != 3 or spec.vocabulary_size is not None:
        tokens = spec.vocabulary_size is not None
        given, other = ("tokens", "model=lstm") if tokens else (f"samples of shape {spec.shape}", "model=mlp")
        raise ConfigError(
            f"model.name = '{name}': it looks at images (channels, height, width), and this data gives {given}. "
            f"Choose data of images, such as data=mnist, or another model, such as {other}"
        )
    _require_one_output(name, task)
    channels, height, width = spec.shape
    return channels, height, width


def require_tokens(name: str, task: Task) -> InputSpec:
    """Returns the input of a model that embeds tokens.

    Raises:
        ConfigError: the input is something else.
    """
    spec = task.input
    if spec.vocabulary_size is None:
        raise ConfigError(
            f"model.name = '{name}': it reads tokens, and this data gives numbers. Choose data of text, such as "
            "data=text_csv, or another model, such as model=mlp"
        )
    return spec


def _require_one_output(name: str, task: Task) -> None:
    """
    Raises:
        ConfigError: each step of a sample needs an output, and this model gives one for all of it.
    """
    if task.per_step:
        raise ConfigError(
            f"model.name = '{name}': it gives one output for a sample, and this data needs one for each step. "
            "Choose model=rnn, model=lstm or model=gru"
        )
