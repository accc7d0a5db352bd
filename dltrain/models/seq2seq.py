"""``seq2seq``: an encoder reads one sequence, a decoder with attention writes another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dltrain import initializers, registry
from dltrain.config import setting
from dltrain.data import InputSpec, Task
from dltrain.data.text.tokens import PADDING
from dltrain.errors import ConfigError
from dltrain.models.scanning import scanned, scanned_packed

CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
State = tuple[torch.Tensor, ...]  # of the decoder: (1, B, H), and the cells of an lstm, (1, B, H) too


@dataclass(frozen=True)
class Seq2SeqSettings:
    name: str = setting("Name of the model.")
    cell: str = setting("What the encoder and the decoder are made of.", choices=tuple(CELLS))
    embedding: int = setting("Size of the vector that stands for a token.", min=1)
    hidden: int = setting("Hidden units of the encoder (both directions together) and of the decoder.", min=2)
    attention: bool = setting("The decoder looks at all states of the encoder; false: it only begins with the last.")
    dropout: float = setting("Share of values zeroed in the embeddings and before the last layer.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)

    def __post_init__(self) -> None:
        if self.hidden % 2:
            raise ValueError(f"hidden = {self.hidden}: must be even, half of it for each direction of the encoder")


@registry.register("model", "seq2seq", Seq2SeqSettings)
class Seq2Seq(nn.Module):
    """Encoder and decoder (Cho et al. 2014 with gru, Sutskever et al. 2014 with lstm), the encoder reading both ways.

    Between them is the general attention of Luong et al. 2015 (eq. 5 to 8). The decoder is given the true tokens so
    far (teacher forcing), so all steps of it are computed at once; that is why no step sees what the one before it
    attended to (their input feeding, section 3.3).
    """

    def __init__(self, settings: Seq2SeqSettings, *, task: Task) -> None:
        super().__init__()
        source, target = _source_and_target(task)
        assert source.vocabulary_size is not None and target.vocabulary_size is not None
        hidden, cell = settings.hidden, CELLS[settings.cell]
        self.source_embedding = nn.Embedding(source.vocabulary_size, settings.embedding)
        self.target_embedding = nn.Embedding(target.vocabulary_size, settings.embedding)
        self.encoder = cell(settings.embedding, hidden // 2, batch_first=True, bidirectional=True)
        self.decoder = cell(settings.embedding, hidden, batch_first=True)
        self.attention = nn.Linear(hidden, hidden, bias=False) if settings.attention else None
        self.join = nn.Linear(2 * hidden, hidden) if settings.attention else None
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(hidden, task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Maps {"source": (B, S), "target": (B, T)} tokens to (B, T, V) logits of the tokens that follow."""
        states, last = self.encode(inputs["source"])
        logits, _ = self.decode(inputs["target"], last, states, inputs["source"])
        return logits

    def encode(self, source: torch.Tensor) -> tuple[torch.Tensor, State]:
        """Reads (B, S) tokens padded on the right; returns states (B, S, H) and the decoder's first state."""
        lengths = (source != PADDING).sum(dim=1).clamp(min=1)
        steps = self.dropout(self.source_embedding(source))
        if torch.compiler.is_exporting():
            states, last = scanned_packed(self.encoder, steps, lengths)
        else:
            packed = pack_padded_sequence(steps, lengths.cpu(), batch_first=True, enforce_sorted=False)
            packed_states, last = self.encoder(packed)
            states = pad_packed_sequence(packed_states, batch_first=True, total_length=source.shape[1])[0]
        parts = last if isinstance(last, tuple) else (last,)
        return states, tuple(torch.cat([part[0], part[1]], dim=1).unsqueeze(0) for part in parts)

    def decode(
        self, target: torch.Tensor, state: State, states: torch.Tensor, source: torch.Tensor
    ) -> tuple[torch.Tensor, State]:
        """Writes on from a state.

        Args:
            target: (B, T) tokens so far.
            state: of the decoder.
            states, source: (B, S, H) and (B, S) of the encoder.

        Returns:
            (B, T, V) logits, and the decoder's state after them.
        """
        steps = self.dropout(self.target_embedding(target))
        if torch.compiler.is_exporting():
            hidden, last = scanned(self.decoder, steps, first=state)
        else:
            hidden, last = self.decoder(steps, state if len(state) > 1 else state[0])  # (B, T, H)
        if self.attention is not None and self.join is not None:
            scores = self.attention(hidden) @ states.transpose(1, 2)  # (B, T, S)
            scores = scores.masked_fill((source == PADDING).unsqueeze(1), torch.finfo(scores.dtype).min)
            context = scores.softmax(dim=2) @ states  # (B, T, H)
            hidden = torch.tanh(self.join(torch.cat([context, hidden], dim=2)))
        return self.output(self.dropout(hidden)), last if isinstance(last, tuple) else (last,)


def _source_and_target(task: Task) -> tuple[InputSpec, InputSpec]:
    """
    Raises:
        ConfigError: the data are no pairs of sequences.
    """
    if task.kind != "seq2seq" or not isinstance(task.inputs, dict) or set(task.inputs) != {"source", "target"}:
        raise ConfigError(
            f"model.name = 'seq2seq': it writes one sequence of tokens from another, and this is {task.kind} data. "
            "Take data=pairs_csv, or another model"
        )
    return task.inputs["source"], task.inputs["target"]
