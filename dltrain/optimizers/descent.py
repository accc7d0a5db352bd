"""Gradient descent, its momentum, its averages, and the two that want the whole data as one batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from dltrain import registry
from dltrain.config import setting
from dltrain.errors import ConfigError
from dltrain.optimizers.settings import MOMENTUM, Groups, OptimizerSettings


@dataclass(frozen=True)
class SGDSettings(OptimizerSettings):
    momentum: float = setting(MOMENTUM, min=0, below=1)
    nesterov: bool = setting("Takes the gradient where the momentum leads (Nesterov).")

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=true needs momentum above 0")


@dataclass(frozen=True)
class MomentumSettings(OptimizerSettings):
    momentum: float = setting(MOMENTUM, above=0, below=1)


@dataclass(frozen=True)
class ASGDSettings(OptimizerSettings):
    decay: float = setting("How fast the rate falls: lr / (1 + decay * lr * t)^power.", min=0)
    power: float = setting("Exponent of that fall.", min=0)
    average_from: float = setting("Updates after which the weights are averaged.", min=0)


@dataclass(frozen=True)
class RpropSettings:
    name: str = setting("Name of the optimizer.")
    lr: float = setting("First step of each weight.", above=0)
    factors: list[float] = setting(
        "What a weight's step is multiplied with where its gradient changes sign, and where it keeps it.", above=0
    )
    limits: list[float] = setting("Smallest and largest step of a weight.", above=0)

    def __post_init__(self) -> None:
        if len(self.factors) != 2 or not self.factors[0] < 1 < self.factors[1]:
            raise ValueError(f"factors = {self.factors}: needs two numbers, one below 1 and one above 1")
        if len(self.limits) != 2 or self.limits[0] > self.limits[1]:
            raise ValueError(f"limits = {self.limits}: needs two numbers, the smaller first")


@dataclass(frozen=True)
class LBFGSSettings:
    name: str = setting("Name of the optimizer.")
    lr: float = setting("First step length of the line search, or the step where there is none.", above=0)
    max_iterations: int = setting("Iterations within one update.", min=1)
    history_size: int = setting("Updates that the estimate of the curvature remembers.", min=1)
    line_search: str | None = setting("strong_wolfe, or null for a fixed step.", choices=("strong_wolfe",))


@registry.register("optimizer", "gradient_descent", OptimizerSettings)
def gradient_descent(settings: OptimizerSettings, *, parameters: Groups) -> Optimizer:
    """Steepest descent (Cauchy 1847): w <- w - lr * gradient. Its YAML file makes the whole data one batch."""
    return _sgd(settings, parameters)


@registry.register("optimizer", "sgd", SGDSettings)
def sgd(settings: SGDSettings, *, parameters: Groups) -> Optimizer:
    """Stochastic gradient descent, with momentum and Nesterov's variant."""
    return _sgd(settings, parameters, settings.momentum, settings.nesterov)


@registry.register("optimizer", "momentum", MomentumSettings)
def momentum(settings: MomentumSettings, *, parameters: Groups) -> Optimizer:
    """The heavy ball (Polyak 1964): v <- momentum * v + gradient, w <- w - lr * v."""
    return _sgd(settings, parameters, settings.momentum)


@registry.register("optimizer", "nesterov", MomentumSettings)
def nesterov(settings: MomentumSettings, *, parameters: Groups) -> Optimizer:
    """Nesterov's momentum as Sutskever et al. (2013) write it: w <- w - lr * (gradient + momentum * v)."""
    return _sgd(settings, parameters, settings.momentum, nesterov=True)


def _sgd(settings: OptimizerSettings, parameters: Groups, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    optimizer = torch.optim.SGD(
        parameters,
        lr=settings.lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    if momentum:
        # Left to itself, the fused update starts all buffers at once, and fails where a parameter gets its first
        # gradient later than others. From 0 the first update is the same.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@registry.register("optimizer", "asgd", ASGDSettings)
def asgd(settings: ASGDSettings, *, parameters: Groups) -> Optimizer:
    """Averaged SGD (Polyak and Juditsky 1992): the averages stand in the state, training goes on without them."""
    return torch.optim.ASGD(
        parameters,
        lr=settings.lr,
        lambd=settings.decay,
        alpha=settings.power,
        t0=settings.average_from,
        weight_decay=settings.weight_decay,
    )


@registry.register("optimizer", "rprop", RpropSettings)
def rprop(settings: RpropSettings, *, parameters: Groups) -> Optimizer:
    """Resilient propagation (Riedmiller and Braun 1993), by signs of gradients alone, so of whole batches."""
    shrink, grow = settings.factors
    smallest, largest = settings.limits
    return torch.optim.Rprop(
        parameters, lr=settings.lr, etas=(shrink, grow), step_sizes=(smallest, largest), foreach=True
    )


@registry.register("optimizer", "lbfgs", LBFGSSettings)
def lbfgs(settings: LBFGSSettings, *, parameters: Groups) -> Optimizer:
    """Limited-memory BFGS (Liu and Nocedal 1989); meant for the whole data as one batch.

    Raises:
        ConfigError: there are groups: its one line search moves all parameters together.
    """
    own = [group["pattern"] for group in parameters if group["pattern"]]
    if len(parameters) > 1 or "lr" in parameters[0]:
        raise ConfigError(
            f"optimizer.groups.{own[0]}: optimizer.name = 'lbfgs' moves all parameters by one line search, so its "
            "groups can be frozen but have no rate or weight decay of their own. optimizer=adam takes such groups"
        )
    return torch.optim.LBFGS(
        parameters,
        lr=settings.lr,
        max_iter=settings.max_iterations,
        history_size=settings.history_size,
        line_search_fn=settings.line_search,
    )
