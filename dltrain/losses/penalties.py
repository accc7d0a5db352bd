"""L1 and L2 penalties: what is added to the loss in training for the size of the weights."""

from __future__ import annotations

import torch
from torch import nn

from dltrain import patterns
from dltrain.config import PenaltySettings


class Penalty:
    """l1 times the sum of |w| plus l2 times the sum of w^2, over the parameters that patterns name.

    The first draws weights to exactly 0 (Tibshirani 1996), the second makes large ones rare (Hoerl and Kennard 1970).
    There is no factor 1/2 before the squares. The strengths of several patterns that fit a parameter add up.
    """

    def __init__(self, model: nn.Module, settings: PenaltySettings) -> None:
        """
        Raises:
            ConfigError: a pattern fits no parameter.
        """
        self._parts = [
            (order, parameters, strengths)
            for order, given in ((1, settings.l1), (2, settings.l2))
            for parameters, strengths in [_penalised(model, f"loss.l{order}", given)]
            if parameters
        ]

    def __bool__(self) -> bool:
        """Tells whether any parameter is penalised."""
        return bool(self._parts)

    def __call__(self) -> torch.Tensor:
        """Returns the penalty () of the weights as they are now."""
        terms = []
        for order, parameters, strengths in self._parts:
            norms = torch.stack(torch._foreach_norm(parameters, order))  # of all in a few kernels, as clipping does
            terms.append((norms**order) @ strengths)
        return torch.stack(terms).sum()


def build(model: nn.Module, settings: PenaltySettings) -> Penalty | None:
    """Returns the penalty of a model's weights; None where there is none.

    Raises:
        ConfigError: a pattern fits no parameter.
    """
    return Penalty(model, settings) or None


def _penalised(model: nn.Module, key: str, by_pattern: dict[str, float]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Returns the P parameters that are penalised, and their strengths (P,) beside them."""
    named = dict(model.named_parameters())
    total = dict.fromkeys(named, 0.0)
    for pattern, fitting in patterns.fitting(key, by_pattern, named).items():
        for name in fitting:
            total[name] += by_pattern[pattern]
    chosen = [name for name in named if total[name] > 0]
    device = next((named[name].device for name in chosen), None)
    return [named[name] for name in chosen], torch.tensor([total[name] for name in chosen], device=device)
