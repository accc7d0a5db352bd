"""Rates of their own for each weight, from running sums or means of squared gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from dltrain import registry
from dltrain.config import setting
from dltrain.optimizers.settings import EPS, MOMENTUM, BetasSettings, Groups, OptimizerSettings


@dataclass(frozen=True)
class AdagradSettings(OptimizerSettings):
    lr_decay: float = setting("How fast the rate falls with the number of updates.", min=0)
    initial_accumulator: float = setting("First value of the sums of squared gradients.", min=0)
    eps: float = setting(EPS, above=0)


@dataclass(frozen=True)
class AdadeltaSettings(OptimizerSettings):
    rho: float = setting("Decay of the running means of squared gradients and of squared updates.", min=0, below=1)
    eps: float = setting("Added to both means; its root is the size of the first update.", above=0)


@dataclass(frozen=True)
class RMSpropSettings(OptimizerSettings):
    alpha: float = setting("Decay of the running mean of the squared gradient.", min=0, below=1)
    momentum: float = setting(MOMENTUM, min=0, below=1)
    centered: bool = setting("Divides by an estimate of the variance instead of the mean square.")
    eps: float = setting(EPS, above=0)


@dataclass(frozen=True)
class AdamSettings(BetasSettings):
    amsgrad: bool = setting("Uses the largest mean square so far (Reddi et al. 2018).")


@dataclass(frozen=True)
class NAdamSettings(BetasSettings):
    momentum_decay: float = setting("How fast the momentum grows to its full share, betas[0].", min=0)


@dataclass(frozen=True)
class AdafactorSettings(OptimizerSettings):
    beta2_decay: float = setting("The mean square decays by 1 - t^beta2_decay at update t.", max=0)
    min_scale: float = setting("Smallest size of a parameter that its updates are scaled by.", above=0)
    clip: float = setting("Largest root mean square of an update, before the rate.", min=1)


@registry.register("optimizer", "adagrad", AdagradSettings)
def adagrad(settings: AdagradSettings, *, parameters: Groups) -> Optimizer:
    """Adagrad (Duchi, Hazan and Singer 2011)."""
    return torch.optim.Adagrad(
        parameters,
        lr=settings.lr,
        lr_decay=settings.lr_decay,
        initial_accumulator_value=settings.initial_accumulator,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


@registry.register("optimizer", "adadelta", AdadeltaSettings)
def adadelta(settings: AdadeltaSettings, *, parameters: Groups) -> Optimizer:
    """Adadelta (Zeiler 2012): the ratio of the root mean squares of updates and gradients is the rate."""
    return torch.optim.Adadelta(
        parameters,
        lr=settings.lr,
        rho=settings.rho,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


@registry.register("optimizer", "rmsprop", RMSpropSettings)
def rmsprop(settings: RMSpropSettings, *, parameters: Groups) -> Optimizer:
    """RMSprop (Hinton, Coursera lecture 6e, 2012)."""
    return torch.optim.RMSprop(
        parameters,
        lr=settings.lr,
        alpha=settings.alpha,
        momentum=settings.momentum,
        centered=settings.centered,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


@registry.register("optimizer", "adam", AdamSettings)
def adam(settings: AdamSettings, *, parameters: Groups) -> Optimizer:
    """Adam (Kingma and Ba 2015)."""
    return torch.optim.Adam(parameters, **_adam_arguments(settings), amsgrad=settings.amsgrad, fused=True)


@registry.register("optimizer", "adamw", AdamSettings)
def adamw(settings: AdamSettings, *, parameters: Groups) -> Optimizer:
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019)."""
    return torch.optim.AdamW(parameters, **_adam_arguments(settings), amsgrad=settings.amsgrad, fused=True)


@registry.register("optimizer", "nadam", NAdamSettings)
def nadam(settings: NAdamSettings, *, parameters: Groups) -> Optimizer:
    """Adam with Nesterov's momentum (Dozat 2016)."""
    return torch.optim.NAdam(
        parameters, **_adam_arguments(settings), momentum_decay=settings.momentum_decay, foreach=True
    )


@registry.register("optimizer", "radam", BetasSettings)
def radam(settings: BetasSettings, *, parameters: Groups) -> Optimizer:
    """Rectified Adam (Liu et al. 2020): momentum alone until the variance of the adaptive rate is known."""
    return torch.optim.RAdam(parameters, **_adam_arguments(settings), foreach=True)


@registry.register("optimizer", "adamax", BetasSettings)
def adamax(settings: BetasSettings, *, parameters: Groups) -> Optimizer:
    """Adam with the largest gradient, slowly forgotten, instead of the mean square (Kingma and Ba 2015, sec. 7.1)."""
    return torch.optim.Adamax(parameters, **_adam_arguments(settings), foreach=True)


def _adam_arguments(settings: BetasSettings) -> dict[str, Any]:
    return {
        "lr": settings.lr,
        "betas": (settings.betas[0], settings.betas[1]),
        "eps": settings.eps,
        "weight_decay": settings.weight_decay,
    }


@registry.register("optimizer", "adafactor", AdafactorSettings)
def adafactor(settings: AdafactorSettings, *, parameters: Groups) -> Optimizer:
    """Adafactor (Shazeer and Stern 2018): of a matrix it keeps the mean squares of rows and columns alone."""
    return torch.optim.Adafactor(
        parameters,
        lr=settings.lr,
        beta2_decay=settings.beta2_decay,
        eps=(None, settings.min_scale),
        d=settings.clip,
        weight_decay=settings.weight_decay,
    )
