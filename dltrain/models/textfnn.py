"""``textfnn``: dense layers upon which tokens a text holds, or how often."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.data.text.tokens import PADDING
from dltrain.errors import ConfigError


@dataclass(frozen=True)
class TextFNNSettings:
    name: str = setting("Name of the model.")
    bag: str = setting(
        "What is told of each token: multi_hot, whether the text holds it, or counts, how often. Unused where the data "
        "gives such rows already (data.form).",
        choices=("multi_hot", "counts"),
    )
    hidden: list[int] = setting("Units of each hidden layer, first to last; [] leaves a linear model.", min=1)
    activation: str = setting("Function after each hidden layer.", choices=activations.CHOICES)
    dropout: float = setting("Share of hidden units that are zeroed in training.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "textfnn", TextFNNSettings)
class TextFNN(nn.Module):
    """A feed-forward network that does not see the order of the tokens.

    It makes the rows of numbers itself from sequences of tokens, so that it takes the same data as ``text_cnn`` or
    ``lstm`` and can be compared with them by changing the model alone. The token that stands for unknown ones counts
    like any other, padding not at all. With ``data.form=multi_hot`` or ``counts`` the data makes the rows, without
    unknown tokens, and any other model of numbers takes them as well; then this one is an ``mlp``.
    """

    def __init__(self, settings: TextFNNSettings, *, task: Task) -> None:
        super().__init__()
        spec = task.input
        if spec.vocabulary_size is None and (len(spec.shape) != 1 or spec.categories):
            raise ConfigError(
                "model.name = 'textfnn': it reads tokens, or rows that tell which tokens a text holds, and this data "
                f"gives samples of shape {spec.shape}. Choose data of text, such as data=text_csv, or another model, "
                "such as model=mlp"
            )
        if task.per_step:
            raise ConfigError(
                "model.name = 'textfnn': it gives one output for a text, and this data needs one for each token. "
                "Choose model=rnn, model=lstm or model=gru"
            )
        self.counts = settings.bag == "counts"
        self.vocabulary_size = spec.vocabulary_size
        width = spec.shape[0] if spec.vocabulary_size is None else spec.vocabulary_size - 1
        layers: list[nn.Module] = []
        for units in settings.hidden:
            layers.append(nn.Linear(width, units * activations.pieces(settings.activation)))
            layers.append(activations.activation(settings.activation))
            if settings.dropout:
                layers.append(nn.Dropout(settings.dropout))
            width = units
        layers.append(nn.Linear(width, task.output_size))
        self.layers = nn.Sequential(*layers)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, T) tokens, or (B, V) rows of numbers, to (B, K)."""
        rows = inputs if self.vocabulary_size is None else self.rows(inputs, self.vocabulary_size)
        output: torch.Tensor = self.layers(rows)
        return output

    def rows(self, tokens: torch.Tensor, vocabulary_size: int) -> torch.Tensor:
        """Returns which of the tokens 1 to V - 1 each text (B, T) holds, or how often: (B, V - 1)."""
        weight = self.layers[0].weight
        assert isinstance(weight, torch.Tensor)
        rows = torch.zeros(tokens.shape[0], vocabulary_size, dtype=weight.dtype, device=tokens.device)
        rows.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=rows.dtype))
        bags = rows if self.counts else rows.clamp(max=1)
        return bags[:, PADDING + 1 :]
