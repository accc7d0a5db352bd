"""``worst_errors``: the validation samples with the largest loss, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dltrain import registry
from dltrain.album import Album, file_name, is_due, title
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.data import Batch, Tensors
from dltrain.evaluate import apart, outputs_of
from dltrain.readable import Entry, Reader, table

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

# Samples of so many batches are kept before all but the worst are let go.
_KEPT_BATCHES = 8


@dataclass(frozen=True)
class WorstErrorsSettings:
    name: str = setting("Name of the callback.")
    every_epochs: int = setting("Looks for them after every so many epochs.", min=1)
    samples: int = setting("How many are shown, those with the largest loss first.", min=1, max=1000)
    max_samples: int | None = setting(
        "Looks through so many samples of the validation split at most; null looks through all.", min=1
    )


@registry.register("callbacks", "worst_errors", WorstErrorsSettings)
class WorstErrors(Callback):
    """Finds them in a pass over the validation split of its own, with the weights that were evaluated.

    ``worst_errors/`` in the run folder holds a CSV file for each time, and a picture where the samples are images;
    TensorBoard gets the picture, or a table.
    """

    settings: WorstErrorsSettings

    def __init__(self, settings: WorstErrorsSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._album = Album(context.folder.worst_errors, context.board)

    def on_fit_start(self, trainer: Trainer) -> None:
        self._album.begin(trainer, self.settings.every_epochs)

    def on_validation_end(self, trainer: Trainer) -> None:
        if not is_due(trainer, self.settings.every_epochs):
            return
        worst = find(trainer, Reader(self.context.data, trainer.step.loss), self.settings)
        header, rows = table(worst)
        self._album.table(file_name(trainer), [header, *rows])
        heading = f"{title(trainer)}: the largest losses"
        self._album.samples(self.context.data, worst, "worst_errors", heading, trainer)


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


def find(trainer: Trainer, reader: Reader, settings: WorstErrorsSettings) -> list[Entry]:
    """Returns the samples with the largest loss, the largest first; NaN counts as larger than any."""
    with apart(trainer.model):
        pieces = _pieces(trainer, settings.samples, settings.max_samples)
        order = trainer.validation.evaluation_order()
        found: list[Entry] = []
        for piece in pieces:
            numbers = piece.numbers.cpu()
            places = (numbers if order is None else order[numbers]).tolist()
            found += reader.entries(places, piece.batch, piece.outputs, piece.losses.tolist())
    return sorted(found, key=lambda e: (0 if e.loss != e.loss else 1, -(e.loss or 0.0), e.place))


def _pieces(trainer: Trainer, count: int, max_samples: int | None) -> list[_Piece]:
    """Goes through the validation split, and returns its ``count`` worst samples.

    Where not all are looked through, and the samples come in order of their length, every so many batches are taken,
    so that these are not the shortest alone.
    """
    split = trainer.validation
    limit = min(max_samples or split.num_samples, split.num_samples)
    every = 1 if split.evaluation_order() is None else -(-split.num_samples // limit)
    pieces: list[_Piece] = []
    done = 0
    for number, batch in enumerate(split.batches(0)):
        if number % every:
            continue
        outputs = outputs_of(trainer.model, batch.inputs, trainer.autocast)
        losses = trainer.step.loss.of_each(outputs, batch.targets)[: limit - done]
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
