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


@dataclass(frozen=True)
class Seq2SeqSettings:
    name: str = setting("Name of the model.")
    embedding: int = setting("Size of the vector that stands for a token.", min=1)
    hidden: int = setting("Hidden units of the encoder (both directions together) and of the decoder.", min=2)
    attention: bool = setting("The decoder looks at all states of the encoder, not at the last alone.")
    dropout: float = setting("Share of values zeroed before the last layer.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)

    def __post_init__(self) -> None:
        if self.hidden % 2:
            raise ValueError(f"hidden = {self.hidden}: must be even, half of it for each direction of the encoder")


@registry.register("model", "seq2seq", Seq2SeqSettings)
class Seq2Seq(nn.Module):
    """GRU encoder and decoder with the general attention of Luong et al. 2015 (eq. 5 to 8).

    The decoder is given the true tokens so far (teacher forcing), so all steps of it are computed at once.
    """

    def __init__(self, settings: Seq2SeqSettings, *, task: Task) -> None:
        super().__init__()
        source, target = _source_and_target(task)
        assert source.vocabulary_size is not None and target.vocabulary_size is not None
        hidden = settings.hidden
        self.source_embedding = nn.Embedding(source.vocabulary_size, settings.embedding)
        self.target_embedding = nn.Embedding(target.vocabulary_size, settings.embedding)
        self.encoder = nn.GRU(settings.embedding, hidden // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(settings.embedding, hidden, batch_first=True)
        self.attention = nn.Linear(hidden, hidden, bias=False) if settings.attention else None
        self.join = nn.Linear(2 * hidden, hidden) if settings.attention else None
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(hidden, task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Maps {"source": (B, S), "target": (B, T)} tokens to (B, T, V) logits of the tokens that follow."""
        states, last = self.encode(inputs["source"])
        decoded, _ = self.decode(inputs["target"], last, states, inputs["source"])
        return decoded

    def encode(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads (B, S) tokens padded on the right; returns states (B, S, H) and the decoder's first one (1, B, H)."""
        lengths = (source != PADDING).sum(dim=1).clamp(min=1).cpu()
        packed = pack_padded_sequence(self.source_embedding(source), lengths, batch_first=True, enforce_sorted=False)
        packed_states, last = self.encoder(packed)
        states = pad_packed_sequence(packed_states, batch_first=True, total_length=source.shape[1])[0]
        return states, torch.cat([last[0], last[1]], dim=1).unsqueeze(0)

    def decode(
        self, target: torch.Tensor, state: torch.Tensor, states: torch.Tensor, source: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes on from a state.

        Args:
            target: (B, T) tokens so far.
            state: (1, B, H) of the decoder.
            states, source: (B, S, H) and (B, S) of the encoder.

        Returns:
            (B, T, V) logits, and the decoder's state (1, B, H) after them.
        """
        hidden, state = self.decoder(self.target_embedding(target), state)  # (B, T, H)
        if self.attention is not None and self.join is not None:
            scores = self.attention(hidden) @ states.transpose(1, 2)  # (B, T, S)
            scores = scores.masked_fill((source == PADDING).unsqueeze(1), torch.finfo(scores.dtype).min)
            context = scores.softmax(dim=2) @ states  # (B, T, H)
            hidden = torch.tanh(self.join(torch.cat([context, hidden], dim=2)))
        return self.output(self.dropout(hidden)), state


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
