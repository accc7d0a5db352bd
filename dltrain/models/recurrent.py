"""``rnn``, ``lstm``, ``gru``: a recurrent network that reads a sequence and gives an output at its end or each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dltrain import initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.data.text.tokens import PADDING
from dltrain.errors import ConfigError


@dataclass(frozen=True)
class RecurrentSettings:
    name: str = setting("Name of the model.")
    embedding: int = setting("Size of the vector that stands for a token; unused where the input is numbers.", min=1)
    hidden: int = setting("Hidden units of each layer and direction.", min=1)
    layers: int = setting("Recurrent layers, one upon the other.", min=1)
    bidirectional: bool = setting("Also reads the sequence from its end.")
    pooling: str = setting(
        "What of the outputs over time goes to the last layer: last, mean or max (of the steps that are no padding).",
        choices=("last", "mean", "max"),
    )
    dropout: float = setting("Share of values zeroed between layers and before the last one.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


class Recurrent(nn.Module):
    """Embedding (for tokens), recurrent layers, pooling over time (unless each step has an output), linear output.

    Images (C, H, W) are read row by row: H steps of C*W values. A table row (D,) is read as D steps of one value.

    Of tokens padded on the right, what is read of a sequence ends with its last token. Reading forward, the padding
    behind a token cannot touch its state, so the state is taken there; reading backward, the sequences are packed.
    """

    cell: type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]

    def __init__(self, settings: RecurrentSettings, *, task: Task) -> None:
        super().__init__()
        spec = task.input
        self.per_step = task.per_step
        self.padded_right = spec.vocabulary_size is not None and spec.padding == "right"
        if spec.categories:
            raise ConfigError(
                f"model.name = '{settings.name}': it reads steps in time, and this data has columns of categories. "
                "Take data.categories=one_hot, or model=mlp"
            )
        self.embedding: nn.Embedding | None = None
        if spec.vocabulary_size is not None:
            self.embedding = nn.Embedding(spec.vocabulary_size, settings.embedding)
            width = settings.embedding
        else:
            width = {1: 1, 2: spec.shape[-1], 3: spec.shape[0] * spec.shape[-1]}.get(
                len(spec.shape), math.prod(spec.shape[1:])
            )
        self.recurrent = self.cell(
            width,
            settings.hidden,
            num_layers=settings.layers,
            batch_first=True,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout if settings.layers > 1 else 0.0,
        )
        self.hidden, self.pooling = settings.hidden, settings.pooling
        self.dropout = nn.Dropout(settings.dropout) if settings.dropout else None
        self.output = nn.Linear(settings.hidden * (2 if settings.bidirectional else 1), task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, T) tokens, (B, T, D), (B, C, H, W) or (B, D) to (B, K), or to (B, T, K) where each step has one."""
        steps = self.embedding(inputs) if self.embedding is not None else as_steps(inputs)
        lengths = (inputs != PADDING).sum(dim=1) if self.padded_right else None  # (B,)
        states = self._states(steps, lengths)  # (B, T, H), forward and backward side by side
        pooled = states if self.per_step else self._pool(states, inputs, lengths)
        if self.dropout is not None:
            pooled = self.dropout(pooled)
        output: torch.Tensor = self.output(pooled)
        return output

    def _states(self, steps: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        if lengths is None or not self.recurrent.bidirectional:
            states: torch.Tensor = self.recurrent(steps)[0]
            return states
        # An empty sequence counts as one step of padding, since none cannot be packed.
        packed = pack_padded_sequence(steps, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=steps.shape[1])[0]

    def _pool(self, states: torch.Tensor, inputs: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        if self.pooling == "last":
            if lengths is None:
                forward = states[:, -1, : self.hidden]
            else:
                last = (lengths - 1).clamp(min=0)
                forward = states[torch.arange(len(states), device=states.device), last, : self.hidden]
            if not self.recurrent.bidirectional:
                return forward
            # The backward direction has read everything when it reaches the first step.
            return torch.cat((forward, states[:, 0, self.hidden :]), dim=1)
        if self.embedding is None:
            return states.mean(dim=1) if self.pooling == "mean" else states.amax(dim=1)
        is_token = (inputs != PADDING).unsqueeze(2)  # (B, T, 1)
        if self.pooling == "max":
            return states.masked_fill(~is_token, torch.finfo(states.dtype).min).amax(dim=1)
        return (states * is_token).sum(dim=1) / is_token.sum(dim=1).clamp(min=1)


def as_steps(inputs: torch.Tensor) -> torch.Tensor:
    """Returns values as (B, T, D): rows of an image as steps, values of a table row as steps of one value."""
    if inputs.dim() == 2:
        return inputs.unsqueeze(2)
    if inputs.dim() == 4:  # (B, C, H, W) -> (B, H, C*W)
        return inputs.transpose(1, 2).flatten(2)
    return inputs


@registry.register("model", "rnn", RecurrentSettings)
class RNN(Recurrent):
    """h_t = tanh(W x_t + U h_(t-1) + b) (Elman 1990)."""

    cell = nn.RNN


@registry.register("model", "lstm", RecurrentSettings)
class LSTM(Recurrent):
    """Long short-term memory with forget gates (Hochreiter and Schmidhuber 1997; Gers et al. 2000)."""

    cell = nn.LSTM


@registry.register("model", "gru", RecurrentSettings)
class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014), with the reset gate after the product, as in cuDNN and Keras."""

    cell = nn.GRU
