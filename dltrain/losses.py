"""Losses by name, and which task each one fits. A loss maps outputs and targets of a batch to their mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F

from dltrain import registry
from dltrain.config import setting
from dltrain.data import IGNORED, Task, Tensors
from dltrain.errors import ConfigError, did_you_mean

# The tasks that a loss fits; the first loss that names a task is what ``loss=auto`` takes for it.
FITS: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("multiclass", "next_token", "sequence_labels", "seq2seq"),
    "binary_cross_entropy": ("binary", "multilabel"),
    "mse": ("regression",),
    "mae": ("regression",),
    "huber": ("regression",),
}


class Loss(ABC):
    """Maps a batch's outputs and targets to a number to make small.

    Attributes:
        per_step: the mean is over the steps that have a target, not over the samples.
    """

    per_step: bool = False

    @abstractmethod
    def __call__(self, outputs: Tensors, targets: Tensors, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the mean () over the samples, or over the steps that have a target.

        Args:
            weights: (B,) how much each sample counts; the sum of weighted losses is divided by the number of
                samples, not by the sum of weights, so that batches add up to what the whole would give.
        """


@dataclass(frozen=True)
class MeanLoss(Loss):
    """The mean of a function of ``torch.nn.functional`` that takes ``reduction``.

    Attributes:
        per_step: outputs are (B, T, K) and targets (B, T).
    """

    function: Callable[..., torch.Tensor]
    per_step: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)

    def __call__(self, outputs: Tensors, targets: Tensors, weights: torch.Tensor | None = None) -> torch.Tensor:
        assert isinstance(outputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        if self.per_step:
            outputs, targets = outputs.flatten(0, 1), targets.flatten()
        if self.per_step:  # by hand, because a mean over no step at all would not be a number
            losses = self.function(outputs, targets, reduction="none", **self.arguments)
            if weights is not None:
                losses = losses.reshape(len(weights), -1) * weights[:, None]
            return losses.sum() / count_targets(targets).clamp(min=1)
        if weights is None:
            return self.function(outputs, targets, **self.arguments)
        losses = self.function(outputs, targets, reduction="none", **self.arguments).reshape(len(weights), -1)
        return (losses.mean(dim=1) * weights).mean()


def count_targets(targets: torch.Tensor) -> torch.Tensor:
    """Returns how many steps have a target, () int64."""
    return (targets != IGNORED).sum()


@dataclass(frozen=True)
class HeadsLoss(Loss):
    """The weighted sum of the losses of several named outputs."""

    task: Task
    heads: dict[str, Loss]
    shares: dict[str, float]

    def __call__(self, outputs: Tensors, targets: Tensors, weights: torch.Tensor | None = None) -> torch.Tensor:
        by_name = by_head(self.task, outputs)
        assert isinstance(targets, dict)
        losses = [self.shares[name] * loss(by_name[name], targets[name], weights) for name, loss in self.heads.items()]
        return torch.stack(losses).sum()


def by_head(task: Task, outputs: Tensors) -> dict[str, torch.Tensor]:
    """Returns the outputs (B, K) of each head; one tensor holds them side by side, in the heads' order."""
    if isinstance(outputs, dict):
        return outputs
    parts = outputs.split([head.output_size for head in task.heads.values()], dim=-1)
    return dict(zip(task.heads, parts, strict=True))


@dataclass(frozen=True)
class LossSettings:
    name: str = setting("Name of the loss; auto takes the one that fits the task.")
    shares: dict[str, float] | None = setting(
        "How much each output's loss counts where the data has several targets, by name; null counts each as 1.",
        min=0,
    )


@dataclass(frozen=True)
class CrossEntropySettings(LossSettings):
    label_smoothing: float = setting("Share of each target that is spread over all classes.", min=0, below=1)


@dataclass(frozen=True)
class HuberSettings(LossSettings):
    delta: float = setting("Error up to which the loss is quadratic, beyond it linear.", above=0)


@registry.register("loss", "auto", LossSettings)
def auto(settings: LossSettings, *, task: Task) -> Loss:
    if task.heads:
        return _of_heads(settings, task)
    name = default_name(task)
    chosen: Any = replace(settings, name=name)
    if name == "cross_entropy":
        chosen = CrossEntropySettings(name, settings.shares, label_smoothing=0.0)
    loss: Loss = registry.build("loss", chosen, task=task)
    return loss


@registry.register("loss", "cross_entropy", CrossEntropySettings)
def cross_entropy(settings: CrossEntropySettings, *, task: Task) -> Loss:
    """-log softmax(outputs)[target]: outputs (B, K) logits, targets (B,) classes or (B, K) shares of classes."""
    arguments = {"label_smoothing": settings.label_smoothing} if settings.label_smoothing else {}
    return _fitted(settings, task, F.cross_entropy, **arguments)


@registry.register("loss", "binary_cross_entropy", LossSettings)
def binary_cross_entropy(settings: LossSettings, *, task: Task) -> Loss:
    """-(y log p + (1 - y) log(1 - p)) with p = sigmoid(outputs): both (B, K) or (B, 1)."""
    return _fitted(settings, task, F.binary_cross_entropy_with_logits)


@registry.register("loss", "mse", LossSettings)
def mse(settings: LossSettings, *, task: Task) -> Loss:
    """Mean of squared errors; outputs and targets (B, D)."""
    return _fitted(settings, task, F.mse_loss)


@registry.register("loss", "mae", LossSettings)
def mae(settings: LossSettings, *, task: Task) -> Loss:
    """Mean of absolute errors; outputs and targets (B, D)."""
    return _fitted(settings, task, F.l1_loss)


@registry.register("loss", "huber", HuberSettings)
def huber(settings: HuberSettings, *, task: Task) -> Loss:
    """e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2) (Huber 1964); outputs and targets (B, D)."""
    return _fitted(settings, task, F.huber_loss, delta=settings.delta)


def default_name(task: Task) -> str:
    """Returns the name of the loss that ``auto`` takes for a task."""
    return _fitting(task)[0]


def _fitted(settings: LossSettings, task: Task, function: Callable[..., torch.Tensor], **arguments: Any) -> Loss:
    """Returns the loss for a task.

    Raises:
        ConfigError: it does not fit the task.
    """
    if task.heads:
        return _of_heads(settings, task)
    if task.kind not in FITS[settings.name]:
        fitting = _fitting(task)
        raise ConfigError(
            f"loss.name = '{settings.name}': it does not fit this {task.kind} data. There is: {', '.join(fitting)}. "
            f"loss=auto takes {fitting[0]}"
        )
    return MeanLoss(function, task.per_step, arguments)


def _of_heads(settings: LossSettings, task: Task) -> Loss:
    """
    Raises:
        ConfigError: the loss does not fit one of the heads, or a share names none of them.
    """
    for name in settings.shares or {}:
        if name not in task.heads:
            raise ConfigError(f"loss.shares.{name}: no target of that name.{did_you_mean(name, task.heads)}")
    heads: dict[str, Loss] = {}
    for name, head in task.heads.items():
        try:
            heads[name] = registry.build("loss", settings, task=head)
        except ConfigError as error:
            raise ConfigError(f"target {name}: {error}") from error
    return HeadsLoss(task, heads, dict.fromkeys(heads, 1.0) | (settings.shares or {}))


def _fitting(task: Task) -> list[str]:
    return [name for name, tasks in FITS.items() if task.kind in tasks]
