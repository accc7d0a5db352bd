"""What the settings of several optimizers have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from dltrain.config import setting

EPS = "Added to the denominator, so that it is never 0."
LR = "Learning rate: how far an update goes."
MOMENTUM = "Share of the last update that is added to the next."
WEIGHT_DECAY = "How strongly weights are pulled towards 0 at each update."


class Groups(list[dict[str, Any]]):
    """The parameters that a factory is given, in groups as torch.optim takes them.

    Each group has "params", "param_names", its "pattern" ("" for what fits none), and "lr" and "weight_decay" where
    the pattern sets them.

    Attributes:
        named: all parameters of the model in its own order, those that are never trained too.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], named: dict[str, nn.Parameter]) -> None:
        super().__init__(groups)
        self.named = named


@dataclass(frozen=True)
class OptimizerSettings:
    name: str = setting("Name of the optimizer.")
    lr: float = setting(LR, above=0)
    weight_decay: float = setting(WEIGHT_DECAY, min=0)


@dataclass(frozen=True)
class BetasSettings(OptimizerSettings):
    """Of the optimizers that keep running means of the gradient and of its square, as Adam does."""

    betas: list[float] = setting("Decay of the running means of the gradient and of its square.", min=0, below=1)
    eps: float = setting(EPS, above=0)

    def __post_init__(self) -> None:
        require_numbers(self.betas, 2)


def require_numbers(betas: list[float], count: int) -> None:
    """
    Raises:
        ValueError: there are more or fewer decays than the optimizer keeps means.
    """
    if len(betas) != count:
        raise ValueError(f"betas = {betas}: needs {('two', 'three')[count - 2]} numbers")
