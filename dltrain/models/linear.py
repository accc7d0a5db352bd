"""``linear``: one layer. With cross-entropy it is softmax regression, with MSE linear regression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from dltrain import initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_values


@dataclass(frozen=True)
class LinearSettings:
    name: str = setting("Name of the model.")
    bias: bool = setting("Adds a learned constant to each output.")
    init: str = setting(initializers.MEANING, choices=initializers.SCHEMES)


@registry.register("model", "linear", LinearSettings)
class Linear(nn.Module):
    """y = W x + b over all values of a sample."""

    def __init__(self, settings: LinearSettings, *, task: Task) -> None:
        super().__init__()
        require_values("linear", task)
        self.layer = nn.Linear(math.prod(task.input.shape), task.output_size, bias=settings.bias)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K)."""
        output: torch.Tensor = self.layer(inputs.flatten(1))
        return output
