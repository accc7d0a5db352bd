"""``linear``: one layer. With cross-entropy it is softmax regression, with MSE linear regression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dltrain import initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_values
from dltrain.models.columns import row_of


@dataclass(frozen=True)
class LinearSettings:
    name: str = setting("Name of the model.")
    bias: bool = setting("Adds a learned constant to each output.")
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "linear", LinearSettings)
class Linear(nn.Module):
    """y = W x + b over all values of a sample."""

    def __init__(self, settings: LinearSettings, *, task: Task) -> None:
        super().__init__()
        require_values("linear", task)
        self.row, width = row_of(task.input)
        self.layer = nn.Linear(width, task.output_size, bias=settings.bias)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K)."""
        output: torch.Tensor = self.layer(self.row(inputs))
        return output
