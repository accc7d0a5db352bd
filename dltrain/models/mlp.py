"""``mlp``: hidden layers, each linear, normalised, activated, dropped out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_values
from dltrain.models.columns import row_of

NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


@dataclass(frozen=True)
class MLPSettings:
    name: str = setting("Name of the model.")
    hidden: list[int] = setting("Units of each hidden layer, first to last; [] leaves a linear model.", min=1)
    activation: str = setting("Function after each hidden layer.", choices=activations.CHOICES)
    norm: str | None = setting("Normalisation before each activation: batch, layer or null.", choices=tuple(NORMS))
    dropout: float = setting("Share of hidden units that are zeroed in training.", min=0, below=1)
    bias: bool = setting("Whether each layer, the output as well, adds biases.")
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "mlp", MLPSettings)
class MLP(nn.Module):
    """A feed-forward network over all values of a sample."""

    def __init__(self, settings: MLPSettings, *, task: Task) -> None:
        super().__init__()
        require_values("mlp", task)
        row, width = row_of(task.input)
        layers: list[nn.Module] = [row]
        pieces = activations.pieces(settings.activation)
        for units in settings.hidden:
            layers.append(nn.Linear(width, units * pieces, settings.bias))
            if settings.norm is not None:
                layers.append(NORMS[settings.norm](units * pieces))
            layers.append(activations.activation(settings.activation))
            if settings.dropout:
                layers.append(nn.Dropout(settings.dropout))
            width = units
        layers.append(nn.Linear(width, task.output_size, settings.bias))
        self.layers = nn.Sequential(*layers)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K)."""
        output: torch.Tensor = self.layers(inputs)
        return output
