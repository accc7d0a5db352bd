"""The samples of a split on which a model errs most, as a person reads them.

Shapes in comments: n samples of a batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dltrain.data import Batch, Split, Tensors
from dltrain.evaluate import apart, outputs_of
from dltrain.losses import Loss
from dltrain.readable import Entry, Reader

# Samples of so many batches are kept before all but the worst are let go.
_KEPT_BATCHES = 8


@dataclass
class _Piece:
    """Samples of one batch: their numbers in the order of the evaluation (n,), and their losses (n,)."""

    numbers: torch.Tensor
    batch: Batch
    outputs: Tensors
    losses: torch.Tensor

    def take(self, rows: torch.Tensor) -> _Piece:
        outputs = self.outputs
        taken = {n: t[rows] for n, t in outputs.items()} if isinstance(outputs, dict) else outputs[rows]
        return _Piece(self.numbers[rows], self.batch.map(lambda tensor: tensor[rows]), taken, self.losses[rows])


@dataclass(frozen=True)
class _Pass:
    """What a pass over a split needs."""

    model: nn.Module
    split: Split
    loss: Loss
    autocast: AbstractContextManager[Any] | None


def find(
    model: nn.Module,
    split: Split,
    reader: Reader,
    loss: Loss,
    autocast: AbstractContextManager[Any] | None,
    samples: int,
    max_samples: int | None = None,
) -> list[Entry]:
    """Returns the samples with the largest loss, the largest first; NaN counts as larger than any.

    The model is put back as it was, so that a training goes on as if nothing had been.

    Args:
        split: not shuffled.
        samples: how many are returned at most.
        max_samples: looks through so many samples of the split at most; None looks through all.
    """
    with apart(model):
        pieces = _pieces(_Pass(model, split, loss, autocast), samples, max_samples)
        order = split.evaluation_order()
        found: list[Entry] = []
        for piece in pieces:
            numbers = piece.numbers.cpu()
            places = (numbers if order is None else order[numbers]).tolist()
            found += reader.entries(places, piece.batch, piece.outputs, piece.losses.tolist())
    return sorted(found, key=lambda e: (0 if e.loss != e.loss else 1, -(e.loss or 0.0), e.place))


def _pieces(parts: _Pass, count: int, max_samples: int | None) -> list[_Piece]:
    """Goes through the split, and returns its ``count`` worst samples.

    Where not all are looked through, and the samples come in order of their length, every so many batches are taken,
    so that these are not the shortest alone.
    """
    split = parts.split
    limit = min(max_samples or split.num_samples, split.num_samples)
    every = 1 if split.evaluation_order() is None else -(-split.num_samples // limit)
    pieces: list[_Piece] = []
    done = 0
    for number, batch in enumerate(split.batches(0)):
        if number % every:
            continue
        outputs = outputs_of(parts.model, batch.inputs, parts.autocast)
        losses = parts.loss.of_each(outputs, batch.targets)[: limit - done]
        first = number * split.batch_size
        numbers = torch.arange(first, first + len(losses), device=losses.device)
        pieces.append(_Piece(numbers, batch, outputs, losses).take(losses.topk(min(count, len(losses))).indices))
        done += len(losses)
        if len(pieces) > _KEPT_BATCHES:
            pieces = _worst(pieces, count)
        if done >= limit:
            break
    return _worst(pieces, count)


def _worst(pieces: list[_Piece], count: int) -> list[_Piece]:
    """Returns the worst samples of several batches."""
    losses = torch.cat([piece.losses for piece in pieces])
    chosen = losses.topk(min(count, len(losses))).indices
    first, kept = 0, []
    for piece in pieces:
        own = chosen[(chosen >= first) & (chosen < first + len(piece.losses))] - first
        first += len(piece.losses)
        if len(own):
            kept.append(piece.take(own))
    return kept
