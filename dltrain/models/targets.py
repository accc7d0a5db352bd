"""What models without gradients have in common: targets as numbers to come near to, and those numbers as outputs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from dltrain.data import Task, Tensors
from dltrain.errors import ConfigError
from dltrain.models import require_values

# Shares of classes are not taken below this, so that the loss of a class that no vote is for stays finite.
_FLOOR = 1e-6


def require_one_target(name: str, task: Task) -> int:
    """Returns how many numbers a sample has, for a model that takes them as they are and learns one target.

    Raises:
        ConfigError: the data is of another kind.
    """
    spec = require_values(name, task)
    if task.heads:
        raise ConfigError(
            f"model.name = '{name}': it learns one target, and this data has several ({', '.join(task.heads)}). "
            "Choose one as data.target, or another model, such as model=mlp"
        )
    if spec.categories:
        raise ConfigError(
            f"model.name = '{name}': it takes numbers as they are, and this data gives codes of categories. "
            "Choose data.categories=one_hot"
        )
    return math.prod(spec.shape)


def learned(values: torch.Tensor) -> nn.Parameter:
    """Returns a parameter that no gradient changes."""
    return nn.Parameter(values, requires_grad=False)


def wanted(task: Task, targets: Tensors) -> torch.Tensor:
    """Returns targets as numbers (B, K): a 1 at the class, 0 or 1 of each label, or the values themselves."""
    assert isinstance(targets, torch.Tensor)
    if task.kind == "multiclass" and targets.dim() == 1:
        return F.one_hot(targets, task.output_size).float()
    return targets.float()


def undecided(task: Task) -> float:
    """Returns the number that says nothing about a target: equal shares of all classes, or the value 0."""
    if task.kind == "regression":
        return 0.0
    return 1 / task.output_size if task.kind == "multiclass" else 0.5


def as_outputs(task: Task, values: torch.Tensor) -> torch.Tensor:
    """Returns the outputs (B, K) whose softmax (classes) or sigmoid (labels) gives the shares; values as they are."""
    if task.kind == "regression":
        return values
    if task.kind == "multiclass":
        return values.clamp(min=_FLOOR).log()
    return values.logit(eps=_FLOOR)
