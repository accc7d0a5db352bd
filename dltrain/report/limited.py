"""A part of the samples of a split, spread over all of it, for a look that must not take as long as the training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from dltrain.data import Batch, Data, Source, Split

if TYPE_CHECKING:
    from dltrain.assembly import Parts

# At so many places of a split batches are taken, one after another: to begin at a batch costs a little.
_PLACES = 10

# Of fewer batches than this, samples of all batches are taken instead.
_FEW = 8


def limited(parts: Parts, split: str, most: int | None) -> Parts:
    """Returns the parts with so many samples in one split at most; None leaves all."""
    source = parts.data.splits[split]
    if most is None or len(source) <= most:
        return parts
    changed: dict[str, Any] = {split: Part(source, most, parts.config.trainer.evaluation_batch_size)}
    data: Data = replace(parts.data, **changed)
    return replace(parts, data=data)


@dataclass(frozen=True)
class Part(Source):
    """Some samples of a split; which, depends on how many a batch has."""

    whole: Source
    most: int
    batch_size: int

    @cached_property
    def choice(self) -> Choice:
        return Choice(len(self.whole), self.batch_size, self.most)

    def __len__(self) -> int:
        return len(self.choice.numbers)

    def split(self, *, batch_size: int, seed: int | None, device: torch.device) -> Split:
        assert batch_size == self.batch_size and seed is None  # it is only evaluated
        return _PartOfSplit(self.whole.split(batch_size=batch_size, seed=seed, device=device), self.choice)

    def head(self, count: int) -> Batch:
        return self.whole.head(count)

    def content(self) -> Iterator[bytes | memoryview]:
        return self.whole.content()


class Choice:
    """Which samples of a split are taken.

    Attributes:
        stretches: batches, by the number of the first and how many follow.
        every: of the samples of these batches; 1 takes all.
        numbers: of the samples, in the order in which the split gives them, (N,) int64.
    """

    def __init__(self, num_samples: int, batch_size: int, most: int) -> None:
        num_batches, wanted = -(-num_samples // batch_size), max(1, most // batch_size)
        every = -(-num_samples // most)
        while every < batch_size and num_batches * -(-batch_size // every) > most:
            every += 1
        if wanted >= _FEW or num_batches > most:
            length, places = max(1, wanted // _PLACES), min(_PLACES, wanted)
            room = (num_batches - length) / max(1, places - 1)
            self.stretches, self.every = [(int(place * room), length) for place in range(places)], 1
        else:
            self.stretches, self.every = [(0, num_batches)], every
        starts = torch.arange(0, num_samples, batch_size)
        chosen = torch.cat([starts[first : first + length] for first, length in self.stretches])
        numbers = (chosen[:, None] + torch.arange(0, batch_size, self.every)).flatten()
        self.numbers = numbers[numbers < num_samples]


class _PartOfSplit(Split):
    def __init__(self, whole: Split, choice: Choice) -> None:
        self.whole, self.choice = whole, choice
        self.batch_size = -(-whole.batch_size // choice.every)
        self.num_samples = len(choice.numbers)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        assert start == 0
        for first, length in self.choice.stretches:
            for number, batch in enumerate(self.whole.batches(epoch, first), 1):
                yield batch.map(lambda tensor: tensor[:: self.choice.every])
                if number == length:
                    break

    def evaluation_order(self) -> torch.Tensor | None:
        order = self.whole.evaluation_order()
        return self.choice.numbers if order is None else order[self.choice.numbers]
