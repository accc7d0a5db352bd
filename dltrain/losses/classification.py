"""Losses of probabilities: how likely the model holds what is true. All take logits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from dltrain.config import setting
from dltrain.data import Task
from dltrain.errors import ConfigError, did_you_mean
from dltrain.losses.compared import constant, probabilities, shares_of_classes
from dltrain.losses.contract import YES_NO, Loss, LossSettings, MeanLoss, reduced, register


@dataclass(frozen=True)
class ClassWeightSettings(LossSettings):
    class_weights: dict[str, float] | None = setting(
        "How much a sample of a class counts, by class name (or place, from 0, where classes have no names), as "
        "{dog: 2}; classes that are not named count 1, and null counts all the same.",
        min=0,
    )

    def by_head(self, task: Task) -> dict[str, LossSettings]:
        """Gives each target the weights of the classes that it has."""
        if not self.class_weights:
            return super().by_head(task)
        names = {head: class_names(own) for head, own in task.heads.items()}
        _require_known(self.class_weights, [name for known in names.values() for name in known])
        return {
            head: replace(self, class_weights={str(n): w for n, w in self.class_weights.items() if str(n) in known})
            for head, known in names.items()
        }

    def of_classes(self, task: Task) -> tuple[float, ...] | None:
        """Returns the weight of each class in order; None where all count the same.

        Raises:
            ConfigError: a name is of no class, or all classes count 0.
        """
        if not self.class_weights:
            return None
        given = {str(name): weight for name, weight in self.class_weights.items()}  # YAML reads 0 as a number
        names = class_names(task)
        _require_known(given, names)
        weights = tuple(given.get(name, 1.0) for name in names)
        if not any(weights):
            raise ConfigError(
                "loss.class_weights: every class counts 0, so that nothing is learned. Give one more than 0"
            )
        return weights


def class_names(task: Task) -> list[str]:
    """Returns the classes' names, or their places where they have none."""
    return list(task.class_names) or [str(place) for place in range(2 if task.kind == "binary" else task.output_size)]


def _require_known(given: dict[str, float], names: list[str]) -> None:
    for name in map(str, given):
        if name not in names:
            raise ConfigError(f"loss.class_weights.{name}: no class of that name.{did_you_mean(name, names)}")


# --- cross-entropy ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrossEntropySettings(ClassWeightSettings):
    label_smoothing: float = setting("Share of each target that is spread over all classes.", min=0, below=1)


@register("cross_entropy", CrossEntropySettings)
def cross_entropy(settings: CrossEntropySettings, task: Task) -> Loss:
    """-log softmax(outputs)[target]: outputs (B, K) logits, targets (B,) classes or (B, K) shares of classes.

    With class weights w it is -w[target] log softmax(outputs)[target], divided by the number of samples, as sample
    weights are; PyTorch divides by the sum of weights, so that a batch's scale depends on its classes.
    """
    arguments: dict[str, Any] = {"label_smoothing": settings.label_smoothing} if settings.label_smoothing else {}
    weights = settings.of_classes(task)
    if weights is None:
        return MeanLoss(F.cross_entropy, task.per_step, arguments)
    return MeanLoss(weighted_cross_entropy, task.per_step, {**arguments, "class_weights": weights})


def weighted_cross_entropy(
    outputs: torch.Tensor,
    targets: torch.Tensor,
    reduction: str = "mean",
    *,
    class_weights: tuple[float, ...],
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Returns cross-entropy (N,) times the weight of each sample's class, or the mean over the samples."""
    weights = constant(class_weights, outputs)
    losses = F.cross_entropy(outputs, targets, weights, reduction="none", label_smoothing=label_smoothing)
    return reduced(losses, reduction)


@register("nll", LossSettings)
def nll(settings: LossSettings, task: Task) -> Loss:
    """Negative log likelihood of the true class; of logits the same as cross-entropy, and of logarithms of
    probabilities too, since the softmax of these changes nothing.
    """
    return MeanLoss(F.binary_cross_entropy_with_logits if task.kind == "binary" else F.cross_entropy, task.per_step)


@dataclass(frozen=True)
class BinaryCrossEntropySettings(LossSettings):
    positive_weight: float = setting(
        "How much a positive target counts, where a negative one counts 1; above 1 raises recall.", above=0
    )


@register("binary_cross_entropy", BinaryCrossEntropySettings)
def binary_cross_entropy(settings: BinaryCrossEntropySettings, task: Task) -> Loss:
    """-(w y log p + (1 - y) log(1 - p)) with p = sigmoid(outputs): both (B, K) or (B, 1)."""
    if settings.positive_weight == 1.0:
        return MeanLoss(F.binary_cross_entropy_with_logits)
    return MeanLoss(weighted_binary_cross_entropy, arguments={"positive_weight": settings.positive_weight})


def weighted_binary_cross_entropy(
    outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean", *, positive_weight: float
) -> torch.Tensor:
    """Returns binary cross-entropy (N, K) with positive targets weighted, or its mean."""
    weight = constant((positive_weight,), outputs)
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction=reduction, pos_weight=weight)


@dataclass(frozen=True)
class LogLossSettings(LossSettings):
    epsilon: float = setting("Added to probabilities before their logarithm is taken.", above=0, below=1)


@register("log_loss", LogLossSettings)
def log_loss(settings: LogLossSettings, task: Task) -> Loss:
    """-(y log(p + epsilon) + (1 - y) log(1 - p + epsilon)) of probabilities p, as TensorFlow 1 has it: the mean over
    (B, 1) or (B, K). An output that is wrong beyond epsilon has next to no gradient: cross-entropy has one.
    """
    return MeanLoss(log_loss_of, task.per_step, {"epsilon": settings.epsilon}, probabilities(task))


def log_loss_of(
    chances: torch.Tensor, targets: torch.Tensor, reduction: str = "mean", *, epsilon: float
) -> torch.Tensor:
    """Returns the log loss of probabilities and targets from 0 to 1, both (N, K)."""
    losses = -targets * (chances + epsilon).log() - (1 - targets) * (1 - chances + epsilon).log()
    return reduced(losses, reduction)


# --- focal ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FocalSettings(ClassWeightSettings):
    gamma: float = setting("How fast what is classified well stops to count; 0 is cross-entropy.", min=0)
    alpha: float | None = setting(
        "For yes or no: how much positive targets count, of 1, and negative ones the rest, as 0.25; null counts both "
        "fully.",
        min=0,
        max=1,
    )


@register("focal", FocalSettings)
def focal(settings: FocalSettings, task: Task) -> Loss:
    """-alpha (1 - p)^gamma log p of the probability p of what is true (Lin et al. 2017, eq. 5).

    Raises:
        ConfigError: alpha for classes, or class weights for yes or no.
    """
    if task.kind in YES_NO:
        if settings.class_weights:
            raise ConfigError(f"loss.class_weights: this {task.kind} data takes loss.alpha with loss=focal")
        return MeanLoss(binary_focal, arguments={"gamma": settings.gamma, "alpha": settings.alpha})
    if settings.alpha is not None:
        raise ConfigError(
            f"loss.alpha = {settings.alpha:g}: it weighs yes against no, and this {task.kind} data has several "
            "classes. Give loss.class_weights, or loss.alpha=null"
        )
    arguments = {"gamma": settings.gamma, "class_weights": settings.of_classes(task)}
    return MeanLoss(focal_of_classes, task.per_step, arguments)


def binary_focal(
    outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean", *, gamma: float, alpha: float | None
) -> torch.Tensor:
    """Returns the focal loss of logits and targets from 0 to 1, both (N, K).

    The powers are taken of logarithms: exp(gamma log p) has a gradient at p = 0, where p^gamma may have none.
    """
    log_yes, log_no = F.logsigmoid(outputs), F.logsigmoid(-outputs)
    positive = -targets * (gamma * log_no).exp() * log_yes
    negative = -(1 - targets) * (gamma * log_yes).exp() * log_no
    if alpha is not None:
        positive, negative = alpha * positive, (1 - alpha) * negative
    return reduced(positive + negative, reduction)


def focal_of_classes(
    outputs: torch.Tensor,
    targets: torch.Tensor,
    reduction: str = "mean",
    *,
    gamma: float,
    class_weights: tuple[float, ...] | None,
) -> torch.Tensor:
    """Returns the focal loss (N,) of logits (N, K) and classes (N,) or shares of classes (N, K)."""
    log_chances = outputs.log_softmax(dim=1)
    others = (-log_chances.expm1()).clamp(min=torch.finfo(outputs.dtype).tiny)  # 1 - p; 0 has no gradient of a power
    losses = -shares_of_classes(outputs, targets) * others**gamma * log_chances
    if class_weights is not None:
        losses = losses * constant(class_weights, outputs)
    return reduced(losses.sum(dim=1), reduction)


# --- divergence -------------------------------------------------------------------------------------------


@register("kl_divergence", LossSettings)
def kl_divergence(settings: LossSettings, task: Task) -> Loss:
    """sum over classes of y log(y / p) with p = softmax(outputs), or of yes and no with p = sigmoid(outputs)
    (Kullback and Leibler 1951). Of targets that are plain classes it is cross-entropy; of shares of classes it is
    less by their entropy, so that 0 is the best.
    """
    if task.kind in YES_NO:
        return MeanLoss(binary_kl_divergence)
    return MeanLoss(kl_divergence_of_classes, task.per_step)


def binary_kl_divergence(outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Returns the divergence of logits from targets from 0 to 1, both (N, K)."""
    negative_entropy = torch.xlogy(targets, targets) + torch.xlogy(1 - targets, 1 - targets)
    losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none") + negative_entropy
    return reduced(losses, reduction)


def kl_divergence_of_classes(outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Returns the divergence (N,) of logits (N, K) from classes (N,) or shares of classes (N, K)."""
    shares = shares_of_classes(outputs, targets)
    losses = torch.xlogy(shares, shares) - shares * outputs.log_softmax(dim=1)
    return reduced(losses.sum(dim=1), reduction)
