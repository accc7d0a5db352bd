"""Optimizers by name, and how one is called."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dltrain import registry
from dltrain.config import setting

Parameters = Iterable[nn.Parameter]


@dataclass(frozen=True)
class OptimizerSettings:
    name: str = setting("Name of the optimizer.")
    lr: float = setting("Learning rate: how far an update goes.", above=0)
    weight_decay: float = setting("How strongly weights are pulled towards 0 at each update.", min=0)


@dataclass(frozen=True)
class SGDSettings(OptimizerSettings):
    momentum: float = setting("Share of the last update that is added to the next.", min=0, below=1)
    nesterov: bool = setting("Takes the gradient where the momentum leads (Nesterov).")

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=true needs momentum above 0")


@dataclass(frozen=True)
class AdamSettings(OptimizerSettings):
    betas: list[float] = setting("Decay of the running means of the gradient and of its square.", min=0, below=1)
    eps: float = setting("Added to the denominator, so that it is never 0.", above=0)
    amsgrad: bool = setting("Uses the largest mean square so far (Reddi et al. 2018).")

    def __post_init__(self) -> None:
        if len(self.betas) != 2:
            raise ValueError(f"betas = {self.betas}: needs two numbers")


@dataclass(frozen=True)
class RMSpropSettings(OptimizerSettings):
    alpha: float = setting("Decay of the running mean of the squared gradient.", min=0, below=1)
    momentum: float = setting("Share of the last update that is added to the next.", min=0, below=1)
    centered: bool = setting("Divides by an estimate of the variance instead of the mean square.")
    eps: float = setting("Added to the denominator, so that it is never 0.", above=0)


@dataclass(frozen=True)
class AdagradSettings(OptimizerSettings):
    lr_decay: float = setting("How fast the rate falls with the number of updates.", min=0)
    initial_accumulator: float = setting("First value of the sums of squared gradients.", min=0)
    eps: float = setting("Added to the denominator, so that it is never 0.", above=0)


@dataclass(frozen=True)
class LBFGSSettings:
    name: str = setting("Name of the optimizer.")
    lr: float = setting("First step length of the line search, or the step where there is none.", above=0)
    max_iterations: int = setting("Iterations within one update.", min=1)
    history_size: int = setting("Updates that the estimate of the curvature remembers.", min=1)
    line_search: str | None = setting("strong_wolfe, or null for a fixed step.", choices=("strong_wolfe",))


@registry.register("optimizer", "sgd", SGDSettings)
def sgd(settings: SGDSettings, *, parameters: Parameters) -> Optimizer:
    """Stochastic gradient descent, with momentum and Nesterov's variant."""
    return torch.optim.SGD(
        parameters,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )


@registry.register("optimizer", "adam", AdamSettings)
def adam(settings: AdamSettings, *, parameters: Parameters) -> Optimizer:
    """Adam (Kingma and Ba 2015)."""
    return torch.optim.Adam(parameters, **_adam_arguments(settings))


@registry.register("optimizer", "adamw", AdamSettings)
def adamw(settings: AdamSettings, *, parameters: Parameters) -> Optimizer:
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019)."""
    return torch.optim.AdamW(parameters, **_adam_arguments(settings))


def _adam_arguments(settings: AdamSettings) -> dict[str, Any]:
    return {
        "lr": settings.lr,
        "betas": (settings.betas[0], settings.betas[1]),
        "eps": settings.eps,
        "weight_decay": settings.weight_decay,
        "amsgrad": settings.amsgrad,
        "fused": True,
    }


@registry.register("optimizer", "rmsprop", RMSpropSettings)
def rmsprop(settings: RMSpropSettings, *, parameters: Parameters) -> Optimizer:
    """RMSprop (Hinton, Coursera lecture 6e, 2012)."""
    return torch.optim.RMSprop(
        parameters,
        lr=settings.lr,
        alpha=settings.alpha,
        momentum=settings.momentum,
        centered=settings.centered,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )


@registry.register("optimizer", "adagrad", AdagradSettings)
def adagrad(settings: AdagradSettings, *, parameters: Parameters) -> Optimizer:
    """Adagrad (Duchi, Hazan and Singer 2011)."""
    return torch.optim.Adagrad(
        parameters,
        lr=settings.lr,
        lr_decay=settings.lr_decay,
        initial_accumulator_value=settings.initial_accumulator,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )


@registry.register("optimizer", "lbfgs", LBFGSSettings)
def lbfgs(settings: LBFGSSettings, *, parameters: Parameters) -> Optimizer:
    """Limited-memory BFGS (Liu and Nocedal 1989); meant for the whole data as one batch."""
    return torch.optim.LBFGS(
        parameters,
        lr=settings.lr,
        max_iter=settings.max_iterations,
        history_size=settings.history_size,
        line_search_fn=settings.line_search,
    )


def build(settings: Any, parameters: Parameters) -> Optimizer:
    """Builds the optimizer that the settings name over the parameters that are trained."""
    _keep_compiler_out()
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer: Optimizer = registry.build("optimizer", settings, parameters=trained)
    return optimizer


def needs_closure(optimizer: Optimizer) -> bool:
    """Tells whether the optimizer evaluates the loss by itself, several times an update."""
    return isinstance(optimizer, torch.optim.LBFGS)


def plain_step(optimizer: Optimizer) -> Callable[..., Any]:
    """Returns the optimizer's own ``step``, without the wrappers that PyTorch puts around it.

    The wrappers start torch._dynamo (1.4 s at the first call) and a profiler record (10 us at each call). They
    matter to torch.compile, the profiler and step hooks, none of which an eager step here uses.
    """
    step = inspect.unwrap(type(optimizer).step)

    def update(*arguments: Any) -> Any:
        # What the wrappers did that is needed: an update is no part of the graph.
        torch._C._set_grad_enabled(False)
        try:
            return step(optimizer, *arguments)
        finally:
            torch._C._set_grad_enabled(True)

    return update


def _keep_compiler_out() -> None:
    """Keeps building an optimizer, and its state_dict, from importing the compiler, which takes 1.4 s.

    PyTorch marks these methods "not to be compiled" and imports torch._dynamo at their first call to say so.
    Nothing is compiled before somebody imports torch._dynamo, so until then the mark is the method itself.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = inspect.unwrap(getattr(Optimizer, name))
        if not hasattr(method, "__dynamo_disable"):
            setattr(method, "__dynamo_disable", method)
