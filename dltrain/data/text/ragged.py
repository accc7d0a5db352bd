"""Token sequences of different length: stored without padding, and padded a batch at a time on the device.

In training, samples of about the same length meet in a batch, so that little of what is computed is padding. The order
of an epoch is a pure function of (seed, epoch) all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from dltrain.data.batching import Samples, generator_of, permutation
from dltrain.data.contract import IGNORED, Batch, Source, Split, Tensors, Transform

# Samples are sorted by length within so many batches of a shuffled epoch: enough to find neighbours of nearly the
# same length, too few for an epoch to look like the one before.
_WINDOW_BATCHES = 50

# Windows that take up to this many bytes as plain tensors are stored as such, which is the quickest to train on.
_DENSE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Ragged:
    """N sequences as pieces of one flat tensor, which they may share and overlap in.

    Attributes:
        values: (L,) int32 tokens, never 0.
        starts: (N,) int64, where each sequence begins.
        lengths: (N,) int64.
    """

    values: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def of(cls, sequences: list[list[int]]) -> Ragged:
        """Returns lists of tokens as one tensor."""
        lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
        values = torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.int32)
        return cls(values, lengths.cumsum(0) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def longest(self) -> int:
        return int(self.lengths.max()) if len(self) else 0

    def take(self, indices: torch.Tensor) -> Ragged:
        """Returns the sequences at (M,) int64 places, of the same values."""
        return Ragged(self.values, self.starts[indices], self.lengths[indices])

    def cut(self, length: int) -> Ragged:
        """Returns each sequence without what is beyond its first ``length`` tokens."""
        return Ragged(self.values, self.starts, self.lengths.clamp(max=length))

    def to(self, device: torch.device | str) -> Ragged:
        return Ragged(self.values.to(device), self.starts.to(device), self.lengths.to(device))

    def padded(self, indices: torch.Tensor, width: int, side: str = "right", fill: int = 0) -> torch.Tensor:
        """Returns sequences as (B, width) int64, filled with ``fill``; none may be longer than ``width``.

        Args:
            indices: (B,) int64 on the same device.
        """
        lengths = self.lengths[indices, None]
        offsets = torch.arange(width, device=self.values.device)
        if side == "left":
            offsets = offsets + lengths - width
            is_token = offsets >= 0
        else:
            is_token = offsets < lengths
        places = torch.where(is_token, self.starts[indices, None] + offsets, 0)
        return torch.where(is_token, self.values[places].long(), fill)


@dataclass(frozen=True)
class RaggedSamples(Source):
    """A split of token sequences.

    Attributes:
        inputs: N sequences, or several of them by name.
        targets: (N,) classes or tokens; or N sequences where each step has a target.
        width: every batch is padded to so many tokens; None pads each to its own longest sequence, and brings
            sequences of about the same length together.
        padding: the side that is filled.
        ignored: a token that is no target (the unknown one); None: each is.
        weights: (N,) float32, how much each sample counts in the loss; None where all count the same.
        transform: what turns padded tokens into what a model sees; None where they are that.
    """

    inputs: Ragged | dict[str, Ragged]
    targets: torch.Tensor | Ragged
    width: int | None = None
    padding: Literal["left", "right"] = "right"
    ignored: int | None = None
    weights: torch.Tensor | None = None
    transform: Transform | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def sequences(self) -> list[Ragged]:
        """All that is padded."""
        inputs = list(self.inputs.values()) if isinstance(self.inputs, dict) else [self.inputs]
        return [*inputs, self.targets] if isinstance(self.targets, Ragged) else inputs

    @property
    def lengths(self) -> list[torch.Tensor]:
        """(N,) int64 for each input: what is to be alike in a batch."""
        inputs = self.inputs.values() if isinstance(self.inputs, dict) else [self.inputs]
        return [ragged.lengths for ragged in inputs]

    def take(self, indices: torch.Tensor) -> RaggedSamples:
        """Returns the samples at (M,) int64 places."""
        inputs = self.inputs
        return replace(
            self,
            inputs=inputs.take(indices)
            if isinstance(inputs, Ragged)
            else {name: ragged.take(indices) for name, ragged in inputs.items()},
            targets=self.targets.take(indices) if isinstance(self.targets, Ragged) else self.targets[indices],
            weights=None if self.weights is None else self.weights[indices],
        )

    def to(self, device: torch.device | str) -> RaggedSamples:
        inputs = self.inputs
        return replace(
            self,
            inputs=inputs.to(device)
            if isinstance(inputs, Ragged)
            else {name: ragged.to(device) for name, ragged in inputs.items()},
            targets=self.targets.to(device),
            weights=None if self.weights is None else self.weights.to(device),
        )

    def split(self, *, batch_size: int, seed: int | None, device: torch.device | str) -> RaggedSplit:
        return RaggedSplit(self, batch_size=batch_size, seed=seed, device=device)

    def head(self, count: int) -> Batch:
        first = torch.arange(min(count, len(self)))
        return self.batch(first, [int(ragged.lengths[first].max()) for ragged in self.sequences], None)

    def content(self) -> Iterator[bytes | memoryview]:
        plain = [] if isinstance(self.targets, Ragged) else [self.targets]
        for ragged in self.sequences:
            plain += [ragged.values, ragged.starts, ragged.lengths]
        for tensor in [*plain, *([] if self.weights is None else [self.weights])]:
            yield str(tuple(tensor.shape)).encode()
            yield tensor.contiguous().numpy().data

    def dense(self) -> Source:
        """Returns the same samples as plain tensors, if they are windows of a fixed width that take little memory."""
        if self.width is None or self.transform is not None or len(self) * self.width * 8 > _DENSE_BYTES:
            return self
        inputs, targets, weights = self.batch(torch.arange(len(self)), [self.width] * len(self.sequences), None)
        return Samples(inputs, targets, weights)

    def batch(self, indices: torch.Tensor, widths: list[int], epoch: int | None) -> Batch:
        """Returns the samples at (B,) places, on the device where these are.

        Args:
            widths: the longest of each of ``sequences`` in this batch; the host knows them, so that nothing waits
                for the device.
        """
        if self.width is not None:
            widths = [self.width] * len(widths)
        inputs: Tensors
        if isinstance(self.inputs, Ragged):
            inputs = self.inputs.padded(indices, widths[0], self.padding)
        else:
            inputs = {
                name: ragged.padded(indices, width, self.padding)
                for (name, ragged), width in zip(self.inputs.items(), widths, strict=False)
            }
        if isinstance(self.targets, Ragged):
            targets = self.targets.padded(indices, widths[-1], self.padding, fill=IGNORED)
        else:
            targets = self.targets[indices]
        if self.ignored is not None:
            targets = torch.where(targets == self.ignored, IGNORED, targets)
        batch = Batch(inputs, targets, None if self.weights is None else self.weights[indices])
        return batch if self.transform is None else self.transform(batch, indices, epoch)


class RaggedSplit(Split):
    """Batches of sequences that are on the device as a whole."""

    def __init__(
        self, samples: RaggedSamples, *, batch_size: int, seed: int | None, device: torch.device | str = "cpu"
    ) -> None:
        """
        Args:
            samples: moved to ``device`` if they are elsewhere.
            seed: of the order; None takes each sample once, in order of length or (with a fixed width) as they stand.
        """
        self.host = samples
        self.stored = samples.to(device)
        if samples.transform is not None and seed is not None:
            self.stored = replace(self.stored, transform=samples.transform.seeded(seed))
        self.num_samples = len(samples)
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        if start >= self.num_batches:
            return
        order = self._order(epoch)[start * self.batch_size :]
        augment = None if self.seed is None else epoch
        placed = order.to(self.device).split(self.batch_size)
        for indices, places in zip(order.split(self.batch_size), placed, strict=True):
            widths = [int(ragged.lengths[indices].max()) for ragged in self.host.sequences]
            yield self.stored.batch(places, widths, augment)

    def evaluation_order(self) -> torch.Tensor | None:
        return self._order(0)

    def _order(self, epoch: int) -> torch.Tensor:
        """Returns the places of the samples of an epoch in their order, (N,) int64 on the CPU."""
        size, count = self.batch_size, self.num_samples
        fixed = self.host.width is not None
        if self.seed is None or size >= count:  # one batch of all samples: their order does not matter
            standing = torch.arange(count)
            return standing if fixed or size >= count else _by_length(standing, self.host.lengths, size)
        order = permutation(count, self.seed, epoch)
        if fixed:
            return order
        # The samples that fill no batch are the last batch, of whatever length they are: were it the longest or the
        # shortest, a text's chance to be in it would hang on its length.
        whole = count - count % size
        order, rest = order[:whole], order[whole:]
        lengths = self.host.lengths
        windows = [_by_length(window, lengths, size) for window in order.split(size * _WINDOW_BATCHES)]
        batches = torch.cat(windows).reshape(-1, size)
        shuffled = batches[torch.randperm(len(batches), generator=generator_of(self.seed + 1, epoch))]
        return torch.cat((shuffled.flatten(), rest))


def _by_length(places: torch.Tensor, lengths: list[torch.Tensor], size: int) -> torch.Tensor:
    """Puts samples in an order whose batches of ``size`` hold like lengths.

    Of several lengths the last decides first: what it sorts is cut into strips of some batches, as many strips as
    batches in each, and a strip is sorted by the lengths before. By their sum, a short question with a long answer
    would meet a long one with a short answer, and both be padded.
    """
    *others, last = lengths
    places = places[last[places].argsort(stable=True)]
    if not others:
        return places
    strip = max(1, round((len(places) / size) ** 0.5)) * size
    return torch.cat([_by_length(part, others, size) for part in places.split(strip)])


@dataclass(frozen=True)
class Bag(Transform):
    """Turns padded tokens (B, T) into a row of floats for each text, (B, V): which of the tokens 1 to V it holds.

    Made a batch at a time, so that the rows of a whole corpus never exist at once.

    Attributes:
        size: V; tokens beyond it have no column.
        counts: how often instead of whether.
    """

    size: int
    counts: bool = False

    def __call__(self, batch: Batch, indices: torch.Tensor, epoch: int | None) -> Batch:
        tokens = batch.inputs
        assert isinstance(tokens, torch.Tensor)
        # A first column takes the padding, a last one the tokens beyond V; then both go.
        rows = torch.zeros(len(tokens), self.size + 2, device=tokens.device)
        tokens = tokens.clamp(max=self.size + 1)
        if self.counts:
            rows.scatter_add_(1, tokens, torch.ones((), device=tokens.device).expand(tokens.shape))
        else:
            rows.scatter_(1, tokens, 1.0)
        return batch._replace(inputs=rows[:, 1:-1].contiguous())
