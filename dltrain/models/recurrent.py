"""``rnn``, ``lstm``, ``gru``: a recurrent network that reads a sequence and gives an output at its end or each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.data.text.tokens import PADDING
from dltrain.errors import ConfigError
from dltrain.models.cells import StepwiseGRU, StepwiseLSTM, StepwiseRNN
from dltrain.models.scanning import scanned, scanned_packed

# Measured of training steps on a CPU: 6 to 100 steps in time, 11 to 128 samples, 10 to 128 units.
_LSTM_NOTE = (
    "lstm with peepholes or cell_clip runs step by step, not in PyTorch's fused kernel: about 2 times as slow on a CPU "
    "(6 times where it is small), more on a GPU"
)
_GRU_NOTE = (
    "gru with reset_after: false runs step by step, not in PyTorch's fused kernel: about as fast on a CPU, slower on a "
    "GPU"
)


@dataclass(frozen=True)
class RecurrentSettings:
    name: str = setting("Name of the model.")
    embedding: int = setting("Size of the vector that stands for a token; unused where the input is numbers.", min=1)
    hidden: int = setting("Hidden units of each layer and direction.", min=1)
    layers: int = setting("Recurrent layers, one upon the other.", min=1)
    bidirectional: bool = setting("Also reads the sequence from its end.")
    reading: str = setting(
        "What a step reads: steps, the sample's steps in time; or repeat, the whole sample at each of as many steps as "
        "the task has values, of which each step gives one.",
        choices=("steps", "repeat"),
    )
    pooling: str = setting(
        "What of the outputs over time goes to the last layer: last, mean or max (of the steps that are no padding). "
        "Unused where each step has its own output.",
        choices=("last", "mean", "max"),
    )
    dense: list[int] = setting("Units of each hidden layer between the recurrent layers and the last one.", min=1)
    dense_activation: str = setting("Function after each layer of dense.", choices=activations.CHOICES)
    dropout: float = setting("Share of values zeroed between layers and before the last one.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


class Recurrent(nn.Module):
    """Embedding (for tokens), recurrent layers, pooling over time (unless each step has an output), linear output.

    Images (C, H, W) are read row by row: H steps of C*W values. A table row (D,) is read as D steps of one value.
    With ``reading: repeat``, all values of a sample are one vector, which is read at each of K steps.

    Of tokens padded on the right, what is read of a sequence ends with its last token. Reading forward, the padding
    behind a token cannot touch its state, so the state is taken there; reading backward, the sequences are packed.

    Args:
        recurrent: makes the recurrent layers, with the arguments of ``nn.LSTM``.
    """

    def __init__(self, settings: RecurrentSettings, *, task: Task, recurrent: Callable[..., nn.RNNBase]) -> None:
        super().__init__()
        spec = task.input
        _refuse_what_has_no_steps(settings, task)
        self.repeats = task.output_size if settings.reading == "repeat" else None
        self.padded_right = spec.vocabulary_size is not None and spec.padding == "right"
        self.embedding: nn.Embedding | None = None
        if spec.vocabulary_size is not None:
            self.embedding = nn.Embedding(spec.vocabulary_size, settings.embedding)
        self.recurrent = recurrent(
            _values_of_a_step(settings, task),
            settings.hidden,
            num_layers=settings.layers,
            batch_first=True,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout if settings.layers > 1 else 0.0,
        )
        # Pooling is None where each step has an output.
        self.pooling = None if task.per_step or self.repeats else settings.pooling
        self.dropout = nn.Dropout(settings.dropout) if settings.dropout else None
        self.hidden = self.recurrent.proj_size or settings.hidden  # of one direction
        width = self.hidden * (2 if settings.bidirectional else 1)
        self.dense = _dense(width, settings) if settings.dense else None
        self.output = nn.Linear((width, *settings.dense)[-1], 1 if self.repeats else task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, T) tokens, (B, T, D), (B, C, H, W) or (B, D) to (B, K), or to (B, T, K) where each step has one."""
        if self.embedding is not None:
            steps = self.embedding(inputs)
        elif self.repeats:
            steps = inputs.flatten(1).unsqueeze(1).repeat(1, self.repeats, 1)
        else:
            steps = as_steps(inputs)
        lengths = (inputs != PADDING).sum(dim=1) if self.padded_right else None  # (B,)
        states = self._states(steps, lengths)  # (B, T, H), forward and backward side by side
        pooled = states if self.pooling is None else self._pool(states, inputs, lengths)
        if self.dropout is not None:
            pooled = self.dropout(pooled)
        if self.dense is not None:  # whose functions take (B, H)
            pooled = self.dense(pooled.flatten(0, -2)).unflatten(0, pooled.shape[:-1])
        output: torch.Tensor = self.output(pooled)
        return output.squeeze(2) if self.repeats else output

    def _states(self, steps: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        states: torch.Tensor
        if torch.compiler.is_exporting():
            states = self._states_to_export(steps, lengths)
        elif isinstance(self.recurrent, StepwiseRNN):
            states = self.recurrent(steps, lengths)
        elif lengths is None or not self.recurrent.bidirectional:
            states, _ = self.recurrent(steps)
        else:
            # An empty sequence counts as one step of padding, since none cannot be packed.
            packed = pack_padded_sequence(steps, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=steps.shape[1])
        return states

    def _states_to_export(self, steps: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Returns the same states, in operations that can be exported."""
        if lengths is None or isinstance(self.recurrent, StepwiseRNN):
            return scanned(self.recurrent, steps, lengths)[0]
        if not self.recurrent.bidirectional:
            return scanned(self.recurrent, steps)[0]
        return scanned_packed(self.recurrent, steps, lengths)[0]

    def _pool(self, states: torch.Tensor, inputs: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        if self.pooling == "last":
            if lengths is None:
                forward = states[:, -1, : self.hidden]
            else:
                last = (lengths - 1).clamp(min=0)
                forward = states[torch.arange(states.shape[0], device=states.device), last, : self.hidden]
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


def _refuse_what_has_no_steps(settings: RecurrentSettings, task: Task) -> None:
    """
    Raises:
        ConfigError: the sample has columns of categories, or ``reading: repeat`` does not fit the task.
    """
    name, spec = settings.name, task.input
    if spec.categories:
        raise ConfigError(
            f"model.name = '{name}': it reads steps in time, and this data has columns of categories. "
            "Take data.categories=one_hot, or model=mlp"
        )
    if settings.reading == "repeat":
        if task.per_step:
            raise ConfigError(
                f"model.name = '{name}': with model.reading = 'repeat' it gives values of the sample, and this task "
                "has values of each of its steps. Take model.reading=steps"
            )
        if task.kind not in ("regression", "multilabel"):
            raise ConfigError(
                f"model.name = '{name}': with model.reading = 'repeat' each step gives one value of several, as of "
                f"regression or multilabel, and this task is {task.kind}. Take model.reading=steps"
            )
        if spec.vocabulary_size is not None:
            raise ConfigError(
                f"model.name = '{name}': with model.reading = 'repeat' it reads a sample as one vector of numbers, and "
                "this data gives tokens. Take model.reading=steps"
            )


def _values_of_a_step(settings: RecurrentSettings, task: Task) -> int:
    """Returns D, how many values the recurrent layers read at a step."""
    shape = task.input.shape
    if task.input.vocabulary_size is not None:
        return settings.embedding
    if settings.reading == "repeat":
        return math.prod(shape)
    return {1: 1, 2: shape[-1], 3: shape[0] * shape[-1]}.get(len(shape), math.prod(shape[1:]))


def _dense(width: int, settings: RecurrentSettings) -> nn.Sequential:
    """Returns hidden layers, each linear, activated, dropped out, that map (B, width) to (B, last of dense)."""
    layers: list[nn.Module] = []
    pieces = activations.pieces(settings.dense_activation)
    for units in settings.dense:
        layers += [nn.Linear(width, units * pieces), activations.activation(settings.dense_activation)]
        if settings.dropout:
            layers.append(nn.Dropout(settings.dropout))
        width = units
    return nn.Sequential(*layers)


def as_steps(inputs: torch.Tensor) -> torch.Tensor:
    """Returns values as (B, T, D): rows of an image as steps, values of a table row as steps of one value."""
    if inputs.dim() == 2:
        return inputs.unsqueeze(2)
    if inputs.dim() == 4:  # (B, C, H, W) -> (B, H, C*W)
        return inputs.transpose(1, 2).flatten(2)
    return inputs


@dataclass(frozen=True)
class RNNSettings(RecurrentSettings):
    activation: str = setting("Function of the recurrence.", choices=("tanh", "relu"))


@registry.register("model", "rnn", RNNSettings)
class RNN(Recurrent):
    """h_t = tanh(W x_t + U h_(t-1) + b), or relu (Elman 1990)."""

    def __init__(self, settings: RNNSettings, *, task: Task) -> None:
        super().__init__(settings, task=task, recurrent=partial(nn.RNN, nonlinearity=settings.activation))


@dataclass(frozen=True)
class LSTMSettings(RecurrentSettings):
    projection: int | None = setting(
        "Size to which the state of each layer and direction is projected, below hidden; null projects nothing.", min=1
    )
    peepholes: bool = setting("The gates also see the cell. It runs step by step, which is slower.")
    cell_clip: float | None = setting(
        "Largest absolute value of a cell; null sets no bound. It runs step by step, which is slower.", above=0
    )


@registry.register("model", "lstm", LSTMSettings)
class LSTM(Recurrent):
    """Long short-term memory with forget gates (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    It may have peepholes (Gers and Schmidhuber 2000), and a projected state (Sak et al. 2014).
    """

    def __init__(self, settings: LSTMSettings, *, task: Task) -> None:
        projection = settings.projection or 0
        if projection >= settings.hidden:
            raise ConfigError(
                f"model.projection = {projection}: must be below model.hidden = {settings.hidden}, since it makes the "
                "state smaller. Take a smaller one, or null, which projects nothing"
            )
        recurrent: Callable[..., nn.RNNBase] = partial(nn.LSTM, proj_size=projection)
        stepwise = settings.peepholes or settings.cell_clip is not None
        if stepwise:
            recurrent = partial(
                StepwiseLSTM, peepholes=settings.peepholes, cell_clip=settings.cell_clip, proj_size=projection
            )
        super().__init__(settings, task=task, recurrent=recurrent)
        self.notes = (_LSTM_NOTE,) if stepwise else ()


@dataclass(frozen=True)
class GRUSettings(RecurrentSettings):
    reset_after: bool = setting(
        "The reset gate acts after the product with the recurrent weights, as in cuDNN and Keras; false: before it, as "
        "in the paper, which runs step by step and is slower."
    )


@registry.register("model", "gru", GRUSettings)
class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014), with the reset gate after the product or, as in the paper, before it."""

    def __init__(self, settings: GRUSettings, *, task: Task) -> None:
        super().__init__(settings, task=task, recurrent=nn.GRU if settings.reset_after else StepwiseGRU)
        self.notes = () if settings.reset_after else (_GRU_NOTE,)
