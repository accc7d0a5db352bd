"""Losses of margins: by how much the right class is ahead, whatever the probabilities are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dltrain.config import setting
from dltrain.data import Task
from dltrain.losses.compared import classes_of
from dltrain.losses.contract import YES_NO, Loss, LossSettings, MeanLoss, reduced, register


@dataclass(frozen=True)
class HingeSettings(LossSettings):
    squared: bool = setting("Whether what is missing to the margin is squared, which makes the loss smooth.")


@register("hinge", HingeSettings)
def hinge(settings: HingeSettings, task: Task) -> Loss:
    """What is missing to a margin of 1: max(0, 1 - m), with m the output for yes and its negative for no
    (Cortes and Vapnik 1995), or the right class's output less the largest other (Crammer and Singer 2001).
    With L2 penalties of a linear model it is a support vector machine.
    """
    return MeanLoss(hinge_of, task.per_step, {"yes_no": task.kind in YES_NO, "squared": settings.squared})


def hinge_of(
    outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean", *, yes_no: bool, squared: bool
) -> torch.Tensor:
    """Returns max(0, 1 - m), or its square, of the margins m."""
    missing = (1 - margins(outputs, targets, yes_no)).clamp(min=0)
    return reduced(missing.square() if squared else missing, reduction)


@register("perceptron", LossSettings)
def perceptron(settings: LossSettings, task: Task) -> Loss:
    """max(0, -m), with m the margin as hinge has it (Rosenblatt 1958, as a loss): what is right does not count,
    however narrowly. Its gradient step on a linear model is the perceptron's rule.
    """
    return MeanLoss(perceptron_of, task.per_step, {"yes_no": task.kind in YES_NO})


def perceptron_of(
    outputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean", *, yes_no: bool
) -> torch.Tensor:
    """Returns max(0, -m) of the margins m.

    ``clamp`` passes the gradient on at 0 and ``relu`` does not: at a margin of 0, as all have with weights of 0, the
    rule learns.
    """
    return reduced((-margins(outputs, targets, yes_no)).clamp(min=0), reduction)


def margins(outputs: torch.Tensor, targets: torch.Tensor, yes_no: bool) -> torch.Tensor:
    """Returns how far ahead what is true is.

    Args:
        outputs: (N, K).
        targets: (N, K) from 0 to 1 for yes or no, else (N,) classes or (N, K) shares of classes.

    Returns:
        (N, K) for yes or no: y o with y = 1 for yes and -1 for no; else (N,): o[target] - the largest other.
    """
    if yes_no:
        return (2 * targets - 1) * outputs
    classes = classes_of(targets)[:, None]
    own = outputs.gather(1, classes).squeeze(1)
    return own - outputs.scatter(1, classes, -torch.inf).amax(dim=1)
