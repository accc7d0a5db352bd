"""Losses by name, and which task each one fits. A loss maps outputs and targets of a batch to their mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.errors import ConfigError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# The tasks that a loss fits; the first loss that names a task is what ``loss=auto`` takes for it.
FITS: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("multiclass", "next_token"),
    "binary_cross_entropy": ("binary", "multilabel"),
    "mse": ("regression",),
    "mae": ("regression",),
    "huber": ("regression",),
}


@dataclass(frozen=True)
class LossSettings:
    name: str = setting("Name of the loss; auto takes the one that fits the task.")


@dataclass(frozen=True)
class CrossEntropySettings(LossSettings):
    label_smoothing: float = setting("Share of each target that is spread over all classes.", min=0, below=1)


@dataclass(frozen=True)
class HuberSettings(LossSettings):
    delta: float = setting("Error up to which the loss is quadratic, beyond it linear.", above=0)


@registry.register("loss", "auto", LossSettings)
def auto(settings: LossSettings, *, task: Task) -> Loss:
    name = default_name(task)
    chosen: Any = replace(settings, name=name)
    if name == "cross_entropy":
        chosen = CrossEntropySettings(name, label_smoothing=0.0)
    loss: Loss = registry.build("loss", chosen, task=task)
    return loss


@registry.register("loss", "cross_entropy", CrossEntropySettings)
def cross_entropy(settings: CrossEntropySettings, *, task: Task) -> Loss:
    """-log softmax(outputs)[target]: outputs (B, K) logits, targets (B,) classes."""
    _require_fit(settings.name, task)
    if settings.label_smoothing:
        return partial(F.cross_entropy, label_smoothing=settings.label_smoothing)
    return F.cross_entropy


@registry.register("loss", "binary_cross_entropy", LossSettings)
def binary_cross_entropy(settings: LossSettings, *, task: Task) -> Loss:
    """-(y log p + (1 - y) log(1 - p)) with p = sigmoid(outputs): both (B, K) or (B, 1)."""
    _require_fit(settings.name, task)
    return F.binary_cross_entropy_with_logits


@registry.register("loss", "mse", LossSettings)
def mse(settings: LossSettings, *, task: Task) -> Loss:
    """Mean of squared errors; outputs and targets (B, D)."""
    _require_fit(settings.name, task)
    return F.mse_loss


@registry.register("loss", "mae", LossSettings)
def mae(settings: LossSettings, *, task: Task) -> Loss:
    """Mean of absolute errors; outputs and targets (B, D)."""
    _require_fit(settings.name, task)
    return F.l1_loss


@registry.register("loss", "huber", HuberSettings)
def huber(settings: HuberSettings, *, task: Task) -> Loss:
    """e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2) (Huber 1964); outputs and targets (B, D)."""
    _require_fit(settings.name, task)
    return partial(F.huber_loss, delta=settings.delta)


def default_name(task: Task) -> str:
    """Returns the name of the loss that ``auto`` takes for a task.

    Raises:
        ConfigError: there is none.
    """
    return _fitting(task)[0]


def _require_fit(name: str, task: Task) -> None:
    if task.kind not in FITS[name]:
        fitting = _fitting(task)
        raise ConfigError(
            f"loss.name = '{name}': it does not fit this {task.kind} data. There is: {', '.join(fitting)}. "
            f"loss=auto takes {fitting[0]}"
        )


def _fitting(task: Task) -> list[str]:
    fitting = [name for name, tasks in FITS.items() if task.kind in tasks]
    if not fitting:
        raise ConfigError(f"no loss for a {task.kind} task yet")
    return fitting
