"""Optimizers of the ``pytorch_optimizer`` package, each as its paper has it.

The package takes half a second to import, so that only their factories do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from dltrain import registry
from dltrain.config import setting
from dltrain.errors import ConfigError
from dltrain.optimizers.settings import (
    EPS,
    LR,
    MOMENTUM,
    BetasSettings,
    Groups,
    OptimizerSettings,
    require_numbers,
)

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True)
class FTRLSettings:
    name: str = setting("Name of the optimizer.")
    lr: float = setting("Learning rate (alpha in the paper).", above=0)
    lr_power: float = setting("Power of the sums of squared gradients that the rate falls with.", max=0)
    beta: float = setting("Added to the root of these sums; larger values slow the first updates.", min=0)
    l1: float = setting("Strength of the L1 penalty, which makes weights exactly 0.", min=0)
    l2: float = setting("Strength of the L2 penalty.", min=0)


@dataclass(frozen=True)
class LionSettings(OptimizerSettings):
    betas: list[float] = setting(
        "Share of the momentum in an update's direction, and decay of the momentum.", min=0, below=1
    )

    def __post_init__(self) -> None:
        require_numbers(self.betas, 2)


@dataclass(frozen=True)
class LARSSettings(OptimizerSettings):
    momentum: float = setting(MOMENTUM, min=0, below=1)
    trust: float = setting("Norm of a layer's update, as a share of the norm of its weights, at lr 1.", above=0)


@dataclass(frozen=True)
class AdanSettings(OptimizerSettings):
    betas: list[float] = setting(
        "Decay of the running means of the gradient, of its difference to the last one, and of the square.",
        min=0,
        below=1,
    )
    eps: float = setting(EPS, above=0)

    def __post_init__(self) -> None:
        require_numbers(self.betas, 3)


@dataclass(frozen=True)
class AdEMAMixSettings(OptimizerSettings):
    betas: list[float] = setting(
        "Decay of the fast mean of the gradient, of the mean of its square, and of the slow mean of the gradient.",
        min=0,
        below=1,
    )
    alpha: float = setting("Weight of the slow mean beside the fast one.", min=0)
    warmup_steps: int | None = setting("Updates in which alpha and the slow decay grow; null: none.", min=1)
    eps: float = setting(EPS, above=0)

    def __post_init__(self) -> None:
        require_numbers(self.betas, 3)


@dataclass(frozen=True)
class YogiSettings(BetasSettings):
    initial_accumulator: float = setting("First value of the mean of the squared gradient.", min=0)


@dataclass(frozen=True)
class MADGRADSettings(OptimizerSettings):
    momentum: float = setting("Share of the last weights in the next, along the average.", min=0, below=1)
    eps: float = setting(EPS, above=0)


@dataclass(frozen=True)
class ProdigySettings(BetasSettings):
    lr: float = setting(f"{LR} It is a factor of the rate that prodigy finds by itself, and stays at 1.", above=0)
    growth: float = setting("Factor of the rate that is found; 0.5 to 2 make training more careful or bolder.", above=0)
    bias_correction: bool = setting("Corrects the means for their start at 0, as Adam does.")


def _package() -> ModuleType:
    import pytorch_optimizer

    return pytorch_optimizer


def _adam_arguments(settings: Any) -> dict[str, Any]:
    return {
        "lr": settings.lr,
        "betas": tuple(settings.betas),
        "eps": settings.eps,
        "weight_decay": settings.weight_decay,
        "weight_decouple": True,
    }


@registry.register("optimizer", "ftrl", FTRLSettings)
def ftrl(settings: FTRLSettings, *, parameters: Groups) -> Optimizer:
    """Follow the proximally regularised leader (McMahan et al. 2013, algorithm 1): sparse linear models."""
    optimizer: Optimizer = _package().FTRL(
        parameters,
        lr=settings.lr,
        lr_power=settings.lr_power,
        beta=settings.beta,
        lambda_1=settings.l1,
        lambda_2=settings.l2,
    )
    return optimizer


@registry.register("optimizer", "lion", LionSettings)
def lion(settings: LionSettings, *, parameters: Groups) -> Optimizer:
    """Lion (Chen et al. 2023, algorithm 2): every weight moves by lr, the momentum says which way."""
    optimizer: Optimizer = _package().Lion(
        parameters, lr=settings.lr, betas=tuple(settings.betas), weight_decay=settings.weight_decay
    )
    return optimizer


@registry.register("optimizer", "lamb", BetasSettings)
def lamb(settings: BetasSettings, *, parameters: Groups) -> Optimizer:
    """LAMB (You et al. 2020): Adam whose update of a layer is lr times as large as its weights, for large batches.

    Adam's correction of the means for their start at 0 is left out, for the size of the update is set anyway.
    """
    optimizer: Optimizer = _package().Lamb(
        parameters,
        lr=settings.lr,
        betas=tuple(settings.betas),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        weight_decouple=False,  # the paper's decay is part of the update whose size is fitted to the weights
        adam_debias=True,  # else the rate is divided by 1 - beta1^t, and the first updates are ten times as large
    )
    return optimizer


@registry.register("optimizer", "lars", LARSSettings)
def lars(settings: LARSSettings, *, parameters: Groups) -> Optimizer:
    """LARS (You et al. 2017): momentum whose step is fitted to the size of each layer, for large batches."""
    optimizer: Optimizer = _package().LARS(
        parameters,
        lr=settings.lr,
        momentum=settings.momentum,
        trust_coefficient=settings.trust,
        weight_decay=settings.weight_decay,
    )
    return optimizer


@registry.register("optimizer", "adabelief", BetasSettings)
def adabelief(settings: BetasSettings, *, parameters: Groups) -> Optimizer:
    """AdaBelief (Zhuang et al. 2020): Adam that divides by how far gradients are from their mean."""
    optimizer: Optimizer = _package().AdaBelief(parameters, **_adam_arguments(settings))
    return optimizer


@registry.register("optimizer", "adan", AdanSettings)
def adan(settings: AdanSettings, *, parameters: Groups) -> Optimizer:
    """Adan (Xie et al. 2022): Adam with Nesterov's momentum written by differences of gradients."""
    arguments = {**_adam_arguments(settings), "weight_decouple": False}  # the paper's decay divides, and is its False
    optimizer: Optimizer = _package().Adan(parameters, **arguments)
    return optimizer


@registry.register("optimizer", "adopt", BetasSettings)
def adopt(settings: BetasSettings, *, parameters: Groups) -> Optimizer:
    """ADOPT (Taniguchi et al. 2024): Adam that converges for any betas[1]."""
    optimizer: Optimizer = _package().ADOPT(
        parameters,
        **_adam_arguments(settings),
        clip_lambda=lambda step: (step - 1) ** 0.25,  # the paper does not count the first, which moves nothing
    )
    return optimizer


@registry.register("optimizer", "ademamix", AdEMAMixSettings)
def ademamix(settings: AdEMAMixSettings, *, parameters: Groups) -> Optimizer:
    """AdEMAMix (Pagliardini et al. 2024): AdamW with a second, slow mean of the gradient."""
    optimizer: Optimizer = _package().AdEMAMix(
        parameters, **_adam_arguments(settings), alpha=settings.alpha, t_alpha_beta3=settings.warmup_steps
    )
    return optimizer


@registry.register("optimizer", "yogi", YogiSettings)
def yogi(settings: YogiSettings, *, parameters: Groups) -> Optimizer:
    """Yogi (Zaheer et al. 2018): Adam whose mean square changes by no more than a gradient's square."""
    optimizer: Optimizer = _package().Yogi(
        parameters, **_adam_arguments(settings), initial_accumulator=settings.initial_accumulator
    )
    return optimizer


@registry.register("optimizer", "madgrad", MADGRADSettings)
def madgrad(settings: MADGRADSettings, *, parameters: Groups) -> Optimizer:
    """MADGRAD (Defazio and Jelassi 2022): dual averaging with a cube root and momentum."""
    optimizer: Optimizer = _package().MADGRAD(
        parameters,
        lr=settings.lr,
        momentum=settings.momentum,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        weight_decouple=False,  # it moves along the average of all gradients, to which a decay apart does not belong
    )
    return optimizer


@registry.register("optimizer", "prodigy", ProdigySettings)
def prodigy(settings: ProdigySettings, *, parameters: Groups) -> Optimizer:
    """Prodigy (Mishchenko and Defazio 2024): Adam that finds its learning rate.

    Raises:
        ConfigError: a group has a rate of its own.
    """
    for group in parameters:
        if "lr" in group:
            raise ConfigError(
                f"optimizer.groups.{group['pattern']}.lr = {group['lr']:g}: optimizer.name = 'prodigy' finds one rate "
                "for all parameters. optimizer=adamw takes groups with rates of their own"
            )
    optimizer: Optimizer = _package().Prodigy(
        parameters, **_adam_arguments(settings), d_coef=settings.growth, bias_correction=settings.bias_correction
    )
    return optimizer
