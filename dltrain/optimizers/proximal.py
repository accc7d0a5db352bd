"""Descent for losses with an L1 penalty, whose weights become exactly 0.

The penalty has no gradient at 0, so it is not added to the loss. After a step for the loss alone comes the point
that makes penalty and distance together least (the proximal step), which for L1 is the soft threshold:

    soft(v, a) = sign(v) * max(|v| - a, 0)

Settings and results are those of TensorFlow's optimizers of the same names. The penalty is
l1 * |w|_1 + l2/2 * |w|_2^2; it holds for every parameter of a group, biases included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from dltrain import registry
from dltrain.config import setting
from dltrain.optimizers.settings import LR, Groups


@dataclass(frozen=True)
class ProximalSettings:
    name: str = setting("Name of the optimizer.")
    lr: float = setting(LR, above=0)
    l1: float = setting("Strength of the L1 penalty, which makes weights exactly 0.", min=0)
    l2: float = setting("Strength of the L2 penalty.", min=0)


@dataclass(frozen=True)
class ProximalAdagradSettings(ProximalSettings):
    initial_accumulator: float = setting("First value of the sums of squared gradients.", above=0)


def soft_threshold(values: torch.Tensor, threshold: Any) -> torch.Tensor:
    """Returns sign(v) * max(|v| - a, 0) for each value, the proximal step of a * |v|; a is a number or a tensor."""
    return values - values.clamp(-threshold, threshold)  # so written, what is 0 is never -0


class Proximal(Optimizer, ABC):
    """An optimizer whose update of a parameter needs nothing of the others."""

    def __init__(self, parameters: Groups, **defaults: float) -> None:
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates each parameter that has a gradient; returns what the closure does, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad, self.state[parameter], group)
        return loss

    @abstractmethod
    def update(
        self, parameter: torch.Tensor, gradient: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Updates a parameter and its state in place; the state is {} at first."""


class ProximalGradientDescent(Proximal):
    """Forward-backward splitting (Duchi and Singer 2009, eqs. 2, 3 and 19), also known as ISTA.

    With gradient g, rate lr and penalties l1, l2:

        v = w - lr * g
        w <- soft(v, lr * l1) / (1 + lr * l2)
    """

    def update(
        self, parameter: torch.Tensor, gradient: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        lr = group["lr"]
        moved = parameter - lr * gradient
        parameter.copy_(soft_threshold(moved, lr * group["l1"]) / (1 + lr * group["l2"]))


class ProximalAdagrad(Proximal):
    """Forward-backward splitting with a rate for each weight (Duchi, Hazan and Singer 2011, composite mirror descent).

    With the sum of squared gradients G, which starts at ``initial_accumulator``:

        G <- G + g^2
        a = lr / sqrt(G)
        w <- soft(w - a * g, a * l1) / (1 + a * l2)
    """

    def update(
        self, parameter: torch.Tensor, gradient: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        if not state:
            state["sum_of_squares"] = torch.full_like(parameter, group["initial_accumulator"])
        squares = state["sum_of_squares"].addcmul_(gradient, gradient)
        rate = group["lr"] / squares.sqrt()
        moved = parameter - rate * gradient
        parameter.copy_(soft_threshold(moved, rate * group["l1"]) / (1 + rate * group["l2"]))


class AdagradDualAveraging(Proximal):
    """Adagrad with regularised dual averaging (Xiao 2010; Duchi, Hazan and Singer 2011, sec. 5.1).

    A weight is a function of the sum of all gradients S, of their squares G and of the number of updates t:

        S <- S + g,  G <- G + g^2,  t <- t + 1
        w <- -lr * soft(S, t * l1) / (sqrt(G) + t * lr * l2)

    L1 acts on the mean gradient instead of the last step, so that far more weights stay at 0. The first weights do
    not enter: the first update moves every weight to the neighbourhood of 0, which suits linear models, not deep ones.
    """

    def update(
        self, parameter: torch.Tensor, gradient: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        if not state:
            state["step"] = 0
            state["sum"] = torch.zeros_like(parameter)
            state["sum_of_squares"] = torch.full_like(parameter, group["initial_accumulator"])
        state["step"] += 1
        lr, step = group["lr"], state["step"]
        total = state["sum"].add_(gradient)
        squares = state["sum_of_squares"].addcmul_(gradient, gradient)
        parameter.copy_(lr * soft_threshold(-total, step * group["l1"]) / (squares.sqrt() + step * lr * group["l2"]))


@registry.register("optimizer", "proximal_gradient_descent", ProximalSettings)
def proximal_gradient_descent(settings: ProximalSettings, *, parameters: Groups) -> Optimizer:
    """Builds ``ProximalGradientDescent``."""
    return ProximalGradientDescent(parameters, lr=settings.lr, l1=settings.l1, l2=settings.l2)


@registry.register("optimizer", "proximal_adagrad", ProximalAdagradSettings)
def proximal_adagrad(settings: ProximalAdagradSettings, *, parameters: Groups) -> Optimizer:
    """Builds ``ProximalAdagrad``."""
    return ProximalAdagrad(parameters, **_arguments(settings))


@registry.register("optimizer", "adagrad_dual_averaging", ProximalAdagradSettings)
def adagrad_dual_averaging(settings: ProximalAdagradSettings, *, parameters: Groups) -> Optimizer:
    """Builds ``AdagradDualAveraging``."""
    return AdagradDualAveraging(parameters, **_arguments(settings))


def _arguments(settings: ProximalAdagradSettings) -> dict[str, float]:
    return {
        "lr": settings.lr,
        "l1": settings.l1,
        "l2": settings.l2,
        "initial_accumulator": settings.initial_accumulator,
    }
