"""Losses of values: their errors, absolute, squared or relative to the target. Some take probabilities as well.

On data with classes, the errors are those of the probabilities: sigmoid or softmax of the logits against 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dltrain.config import setting
from dltrain.data import Task
from dltrain.errors import ConfigError
from dltrain.losses.compared import Compared, constant, in_own_unit, own_unit, probabilities, refuse_one_output
from dltrain.losses.contract import Loss, LossSettings, MeanLoss, reduced, register


def _rounding(task: Task) -> float:
    """Returns how far rounding may move a target that is 0 in its own unit."""
    return 1e-5 * max(map(abs, (*task.target_scale, *task.target_shift)), default=1.0)


@register("mse", LossSettings)
def mse(settings: LossSettings, task: Task) -> Loss:
    """Mean of squared errors; outputs and targets (B, D), or probabilities of classes (Brier 1950)."""
    return MeanLoss(F.mse_loss, task.per_step, compared=probabilities(task))


@register("mae", LossSettings)
def mae(settings: LossSettings, task: Task) -> Loss:
    """Mean of absolute errors; outputs and targets (B, D), or probabilities of classes."""
    return MeanLoss(F.l1_loss, task.per_step, compared=probabilities(task))


@dataclass(frozen=True)
class HuberSettings(LossSettings):
    delta: float = setting("Error up to which the loss is quadratic, beyond it linear.", above=0)


@register("huber", HuberSettings)
def huber(settings: HuberSettings, task: Task) -> Loss:
    """e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2) (Huber 1964); outputs and targets (B, D)."""
    return MeanLoss(F.huber_loss, task.per_step, {"delta": settings.delta}, probabilities(task))


@dataclass(frozen=True)
class SmoothL1Settings(LossSettings):
    beta: float = setting("Error up to which the loss is quadratic, beyond it linear with slope 1.", above=0)


@register("smooth_l1", SmoothL1Settings)
def smooth_l1(settings: SmoothL1Settings, task: Task) -> Loss:
    """e^2 / (2 beta) where |e| < beta, else |e| - beta / 2 (Girshick 2015, eq. 3, with beta 1): Huber over beta."""
    return MeanLoss(F.smooth_l1_loss, task.per_step, {"beta": settings.beta}, probabilities(task))


# --- in the target's own unit -----------------------------------------------------------------------------


@dataclass(frozen=True)
class MAPESettings(LossSettings):
    epsilon: float | None = setting(
        "Smallest size of a target that an error is divided by; null refuses data with a target of 0.", above=0
    )


@register("mape", MAPESettings)
def mape(settings: MAPESettings, task: Task) -> Loss:
    """Mean absolute error in per cent of the target: 100 |y - o| / |y|, both (B, D) in the target's own unit."""
    check = None
    smallest = settings.epsilon
    if smallest is None:
        check = _no_zero(task)
        smallest = _rounding(task)
    return MeanLoss(percentage_error, arguments={"epsilon": smallest}, compared=in_own_unit(task), check=check)


def percentage_error(
    outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean", *, epsilon: float
) -> torch.Tensor:
    """Returns 100 |targets - outputs| / max(|targets|, epsilon), both (B, D)."""
    return reduced(100 * (outputs - targets).abs() / targets.abs().clamp(min=epsilon), reduction)


@register("msle", LossSettings)
def msle(settings: LossSettings, task: Task) -> Loss:
    """Mean of (log(1 + y) - log(1 + o))^2, both (B, D) in the target's own unit, targets from 0 on."""
    return MeanLoss(squared_log_error, compared=in_own_unit(task), check=_no_negative("msle", task))


def squared_log_error(outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Returns (log(1 + targets) - log(1 + outputs))^2, both (B, D).

    Below 0, log(1 + o) goes on as the straight line o that touches it there. Others take 0 for such an output, and
    a model whose outputs all begin below 0 would then have no gradient.
    """
    log_outputs = torch.where(outputs > 0, outputs.clamp(min=0).log1p(), outputs)
    return reduced((log_outputs - targets.clamp(min=0).log1p()).square(), reduction)


@register("poisson", LossSettings)
def poisson(settings: LossSettings, task: Task) -> Loss:
    """Negative log likelihood of counts y (B, D) at the rate exp(o), in the target's own unit and without the term
    log y! that no weight changes: exp(o) - y o. A prediction is the rate.
    """
    to_own = own_unit(task)
    compared: Compared = lambda outputs, targets: (outputs, to_own(targets).clamp(min=0))  # noqa: E731
    return MeanLoss(F.poisson_nll_loss, compared=compared, link=_rate(task), check=_no_negative("poisson", task))


def _rate(task: Task) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns what turns outputs (N, D) into rates, in the unit of the targets as the model sees them."""
    if not task.target_scale:
        return torch.exp
    scale, shift = task.target_scale, task.target_shift
    return lambda outputs: (outputs.exp() - constant(shift, outputs)) / constant(scale, outputs)


def _no_negative(name: str, task: Task) -> Callable[[torch.Tensor], None]:
    """Returns the check that no target is below 0."""
    to_own, rounding = own_unit(task), _rounding(task)

    def check(targets: torch.Tensor) -> None:
        least = float(to_own(targets.double()).min())
        if least < -rounding:
            raise ConfigError(
                f"loss.name = '{name}': a target is {least:.4g}, and this loss takes none below 0. "
                "Choose loss=mse, loss=mae or loss=huber"
            )

    return check


def _no_zero(task: Task) -> Callable[[torch.Tensor], None]:
    """Returns the check that no target is 0."""
    to_own, rounding = own_unit(task), _rounding(task)

    def check(targets: torch.Tensor) -> None:
        if float(to_own(targets.double()).abs().min()) < rounding:
            raise ConfigError(
                "loss.name = 'mape': a target is 0, and no error is a percentage of that. Give loss.epsilon, the "
                "smallest size that an error is divided by, or choose loss=mae"
            )

    return check


# --- of a sample's values together ------------------------------------------------------------------------


@register("cosine_distance", LossSettings)
def cosine_distance(settings: LossSettings, task: Task) -> Loss:
    """1 - cos of the angle between outputs and targets (B, D), both in the target's own unit, or between
    probabilities and classes: 0 in the same direction, 2 in the opposite one.

    Raises:
        ConfigError: of a single value, the direction is only a sign.
    """
    refuse_one_output("cosine_distance", task, "it compares directions, which takes several values for a sample")
    return MeanLoss(cosine, compared=probabilities(task) or in_own_unit(task))


def cosine(outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Returns 1 - cos of the angle between the rows of both (B, D): (B,), or their mean; a row of zeros gives 1."""
    return reduced(1 - F.cosine_similarity(outputs, targets, dim=1), reduction)


@register("mean_pairwise_squared_error", LossSettings)
def mean_pairwise_squared_error(settings: LossSettings, task: Task) -> Loss:
    """Of each sample, the mean over all pairs i < j of ((o_i - o_j) - (y_i - y_j))^2: what all values of a sample
    are wrong by alike does not count. Outputs and targets (B, D), or probabilities of classes.

    TensorFlow 1's loss of this name adds the samples up; this is their mean.

    Raises:
        ConfigError: a single value has no pairs.
    """
    why = "it compares the values of a sample in pairs, which takes several"
    refuse_one_output("mean_pairwise_squared_error", task, why)
    return MeanLoss(pairwise_squared_error, compared=probabilities(task))


def pairwise_squared_error(outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Returns twice the variance (over D - 1) of a sample's errors, which is the mean over its pairs: (B,)."""
    return reduced(2 * (outputs - targets).var(dim=1), reduction)
