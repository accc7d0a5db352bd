"""``rbf``: Gaussian units around centres, and a linear output."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from dltrain import initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_values
from dltrain.models.columns import row_of


@dataclass(frozen=True)
class RBFSettings:
    name: str = setting("Name of the model.")
    units: int = setting("How many Gaussian units there are.", min=1)
    width: float | None = setting(
        "The standard deviation s that each unit has at first; null takes the square root of the number of features, "
        "which is about how far apart standardised samples are.",
        above=0,
    )
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "rbf", RBFSettings)
class RBF(nn.Module):
    """y = W phi(x) + b with phi_j(x) = exp(-|x - c_j|^2 / (2 s_j^2)) (Broomhead and Lowe 1988, eq. 1).

    Centres start as draws from N(0, 1), where standardised data lie. They and the widths are learned by gradient,
    as the weights are (Poggio and Girosi 1990), and are not set to samples or their means: a model is built before
    it sees any.
    """

    def __init__(self, settings: RBFSettings, *, task: Task) -> None:
        super().__init__()
        require_values("rbf", task)
        self.row, width = row_of(task.input)
        self.centres = nn.Parameter(torch.randn(settings.units, width))
        first = math.sqrt(width) if settings.width is None else settings.width
        self.log_widths = nn.Parameter(torch.full((settings.units,), math.log(first)))  # so that widths stay above 0
        self.output = nn.Linear(settings.units, task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K)."""
        rows = self.row(inputs)
        # |x - c|^2 = |x|^2 - 2 x c + |c|^2 needs no tensor (B, units, D); rounding may bring it just below 0
        squares = rows.square().sum(dim=1, keepdim=True) + self.centres.square().sum(dim=1)
        distances = (squares - 2 * rows @ self.centres.T).clamp(min=0)
        activations = torch.exp(-0.5 * distances * torch.exp(-2 * self.log_widths))
        output: torch.Tensor = self.output(activations)
        return output
