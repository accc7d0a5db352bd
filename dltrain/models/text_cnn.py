"""``text_cnn``: convolutions of several widths over a text, and the largest value of each filter over time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.data.text.tokens import PADDING
from dltrain.errors import ConfigError
from dltrain.models import require_tokens


@dataclass(frozen=True)
class TextCNNSettings:
    name: str = setting("Name of the model.")
    embedding: int = setting("Size of the vector that stands for a token.", min=1)
    widths: list[int] = setting("Tokens that a filter sees at once, each width once.", min=1)
    filters: int = setting("Filters of each width.", min=1)
    activation: str = setting("Function after each filter.", choices=activations.CHOICES)
    dropout: float = setting("Share of values zeroed before the last layer.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)

    def __post_init__(self) -> None:
        if not self.widths or len(set(self.widths)) < len(self.widths):
            raise ValueError(f"widths = {self.widths}: give at least one, and each once, as in [3, 4, 5]")


@registry.register("model", "text_cnn", TextCNNSettings)
class TextCNN(nn.Module):
    """Embedding, filters over neighbouring tokens, the largest of each over time, linear (Kim 2014, section 2).

    It is CNN-rand of the paper: the embedding is learned from nothing. The paper also bounds the norm of the last
    layer's weights to 3; here ``loss.l2`` may hold them small instead.

    A window lies wholly within its text, so that padding changes nothing. Of a text that is shorter than a filter there
    is one window, filled up with vectors of zeros.
    """

    def __init__(self, settings: TextCNNSettings, *, task: Task) -> None:
        super().__init__()
        spec = require_tokens("text_cnn", task)
        if task.per_step:
            raise ConfigError(
                "model.name = 'text_cnn': it gives one output for a text, and this data needs one for each token. "
                "Choose model=rnn, model=lstm or model=gru"
            )
        assert spec.vocabulary_size is not None
        self.padding = spec.padding
        self.embedding = nn.Embedding(spec.vocabulary_size, settings.embedding)
        outputs = settings.filters * activations.pieces(settings.activation)
        self.convolutions = nn.ModuleList(nn.Conv1d(settings.embedding, outputs, width) for width in settings.widths)
        self.activation = activations.activation(settings.activation)
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(settings.filters * len(settings.widths), task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, T) tokens to (B, K)."""
        is_token = inputs != PADDING  # (B, T)
        vectors = (self.embedding(inputs) * is_token.unsqueeze(2)).transpose(1, 2)  # (B, E, T)
        largest = [self._largest(convolution, vectors, is_token) for convolution in self.convolutions]
        output: torch.Tensor = self.output(self.dropout(torch.cat(largest, dim=1)))
        return output

    def _largest(self, convolution: nn.Module, vectors: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """Returns the largest value of each filter over the windows of a text, (B, filters)."""
        assert isinstance(convolution, nn.Conv1d)
        (width,) = convolution.kernel_size
        missing = max(0, width - vectors.shape[2])
        if missing:
            sides = (0, missing) if self.padding == "right" else (missing, 0)
            vectors, is_token = F.pad(vectors, sides), F.pad(is_token, sides)
        values = self.activation(convolution(vectors))  # (B, filters, windows)
        windows = values.shape[2]
        within = [is_token[:, place : place + windows] for place in range(width)]  # no view that overlaps itself, which
        is_text = torch.stack(within).all(dim=0)  # could not be exported: (B, windows)
        is_text[:, 0 if self.padding == "right" else -1] |= ~is_text.any(dim=1)  # the one window of a short text
        least = torch.finfo(values.dtype).min
        largest: torch.Tensor = values.masked_fill(~is_text.unsqueeze(1), least).amax(dim=2)
        return largest
