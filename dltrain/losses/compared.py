"""What a loss compares: probabilities with shares of classes, or values in the target's own unit."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from dltrain.data import Task
from dltrain.errors import ConfigError
from dltrain.losses.contract import YES_NO

Compared = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def probabilities(task: Task) -> Compared | None:
    """Returns what turns logits and targets into probabilities and shares of the same shape; None for regression.

    That is the sigmoid of (N, 1) or (N, K) logits of yes or no, else the softmax of (N, K) logits and one-hot rows.
    """
    if task.kind == "regression":
        return None
    return _sigmoid if task.kind in YES_NO else _softmax


def _sigmoid(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return outputs.sigmoid(), targets


def _softmax(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return outputs.softmax(dim=1), shares_of_classes(outputs, targets)


def shares_of_classes(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns (N, K) shares that add up to 1: one-hot rows of (N,) classes, or the targets that are shares already."""
    if targets.dim() == 2:
        return targets
    classes = torch.arange(outputs.shape[1], device=targets.device)
    return (targets[:, None] == classes).to(outputs.dtype)  # one_hot would make a row of int64 first


def classes_of(targets: torch.Tensor) -> torch.Tensor:
    """Returns (N,) classes; a sample that is mixed of several counts as the largest, as it does in the metrics."""
    return targets.argmax(dim=1) if targets.dim() == 2 else targets


def own_unit(task: Task) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns what turns (N, D) outputs or targets of a regression into the target's own unit."""
    if not task.target_scale:
        return lambda values: values
    scale, shift = task.target_scale, task.target_shift
    return lambda values: values * constant(scale, values) + constant(shift, values)


def in_own_unit(task: Task) -> Compared:
    """Returns what turns both outputs and targets of a regression into the target's own unit."""
    to_own = own_unit(task)
    return lambda outputs, targets: (to_own(outputs), to_own(targets))


def constant(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    """Returns (len(values),) numbers as a tensor beside another, of its kind; made once, so that no step waits."""
    return _constant(values, like.dtype, like.device)


@functools.lru_cache(maxsize=256)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):  # one that an evaluation makes first is to serve the training too
        return torch.tensor(values, dtype=dtype, device=device)


def refuse_one_output(name: str, task: Task, why: str) -> None:
    """
    Raises:
        ConfigError: the model gives a single number for a sample.
    """
    if task.output_size == 1:
        raise ConfigError(f"loss.name = '{name}': {why}, and this data has one. Choose another loss, such as loss=mse")
