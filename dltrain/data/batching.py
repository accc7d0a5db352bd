"""Samples that fit in memory: they lie on the device as tensors, and batches are slices of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dltrain.data.contract import Batch, Source, Split, Tensors, Transform, size_of

# Samples are put in order for this many bytes at a time: few gathers, each small enough for the caches.
_GATHER_BYTES = 4 * 2**20


def generator_of(seed: int, epoch: int) -> torch.Generator:
    """Returns the source of chance of an epoch, a pure function of its arguments."""
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)


def permutation(num_samples: int, seed: int, epoch: int) -> torch.Tensor:
    """Returns the order of an epoch: int64 (N,), a pure function of its arguments."""
    return torch.randperm(num_samples, generator=generator_of(seed, epoch))


def drawn(chances: torch.Tensor, seed: int, epoch: int) -> torch.Tensor:
    """Draws an epoch of N samples with replacement: int64 (N,), a pure function of its arguments.

    Args:
        chances: (N,) how likely each sample is, up to a common factor.
    """
    limits = chances.double().cumsum(0)  # torch.multinomial takes at most 2^24 of them
    points = torch.rand(len(chances), generator=generator_of(seed, epoch), dtype=torch.float64) * limits[-1]
    return torch.searchsorted(limits, points, right=True).clamp_(max=len(chances) - 1)


@dataclass(frozen=True)
class Samples(Source):
    """A split that fits in memory.

    Attributes:
        inputs: (N, *task.input.shape), or several of them by name.
        targets: (N,) int64 classes or tokens; (N, 1) float32 for binary; (N, output_size) float32 for regression;
            (N, T) int64 for a target at each step; several of them by name where the task has heads.
        weights: (N,) float32, how much each sample counts in the loss; None where all count the same.
        chances: (N,) float64, how likely each sample is drawn in training; None takes each once an epoch.
        transform: what turns stored samples into what a model sees; None where they are that.
    """

    inputs: Tensors
    targets: Tensors
    weights: torch.Tensor | None = None
    chances: torch.Tensor | None = None
    transform: Transform | None = None

    def __len__(self) -> int:
        return size_of(self.targets)

    def split(self, *, batch_size: int, seed: int | None, device: torch.device | str) -> ResidentSplit:
        return ResidentSplit(self, batch_size=batch_size, seed=seed, device=device)

    def head(self, count: int) -> Batch:
        batch = Batch(self.inputs, self.targets, self.weights).map(lambda tensor: tensor[:count])
        return batch if self.transform is None else self.transform(batch, torch.arange(batch.size), None)

    def content(self) -> Iterator[bytes | memoryview]:
        for tensors in (self.inputs, self.targets, self.weights, self.chances):
            if tensors is None:
                continue
            for name, tensor in tensors.items() if isinstance(tensors, dict) else [("", tensors)]:
                yield f"{name}{tuple(tensor.shape)}".encode()
                yield tensor.contiguous().numpy().data


class ResidentSplit(Split):
    """Slices of tensors that are on the device as a whole, in a new random order each epoch or as they stand."""

    def __init__(
        self, samples: Samples, *, batch_size: int, seed: int | None, device: torch.device | str = "cpu"
    ) -> None:
        """
        Args:
            samples: moved to ``device`` if they are elsewhere.
            seed: of the order; None keeps the samples as they stand.
        """
        self.stored = Batch(samples.inputs, samples.targets, samples.weights).map(lambda tensor: tensor.to(device))
        self.num_samples = len(samples)
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self.chances = samples.chances
        self.transform = samples.transform
        if self.transform is not None and seed is not None:
            self.transform = self.transform.seeded(seed)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        if start >= self.num_batches:
            return  # a tensor of no rows would still be split into one empty batch
        order = self._order(epoch, start)
        batches = self._stored_batches(order, start)
        if self.transform is None:
            yield from batches
            return
        if order is None:
            order = torch.arange(start * self.batch_size, self.num_samples, device=self.device)
        augment = None if self.seed is None else epoch
        for batch, places in zip(batches, order.split(self.batch_size), strict=True):
            yield self.transform(batch, places, augment)

    def _order(self, epoch: int, start: int) -> torch.Tensor | None:
        """Returns the places of the samples from batch ``start`` on, on the device; None for as they stand."""
        if self.seed is None:
            return None
        if self.chances is not None:
            order = drawn(self.chances, self.seed, epoch)
        elif self.batch_size >= self.num_samples:  # one batch of all samples: their order does not matter
            return None
        else:
            order = permutation(self.num_samples, self.seed, epoch)
        return order[start * self.batch_size :].to(self.device)

    def _stored_batches(self, order: torch.Tensor | None, start: int) -> Iterator[Batch]:
        size, first = self.batch_size, start * self.batch_size
        if order is None:
            yield from _cut(self.stored.map(lambda tensor: tensor[first:]), size)
            return
        sample_bytes = sum(tensor[:1].nbytes for tensor in _tensors(self.stored))
        gather = max(1, _GATHER_BYTES // max(1, sample_bytes * size)) * size
        for chunk in order.split(gather):
            yield from _cut(self.stored.map(lambda tensor, chunk=chunk: tensor.index_select(0, chunk)), size)  # type: ignore[misc]


def _tensors(batch: Batch) -> Iterator[torch.Tensor]:
    for tensors in batch:
        if isinstance(tensors, dict):
            yield from tensors.values()
        elif tensors is not None:
            yield tensors


def _cut(batch: Batch, size: int) -> Iterator[Batch]:
    """Yields a batch in parts of ``size`` samples; the last one may be smaller."""
    inputs, targets, weights = batch
    if isinstance(inputs, torch.Tensor) and isinstance(targets, torch.Tensor) and weights is None:
        for pair in zip(inputs.split(size), targets.split(size), strict=True):  # the plain case, and the quickest
            yield Batch(*pair)
        return
    for first in range(0, batch.size, size):
        yield batch.map(lambda tensor, first=first: tensor[first : first + size])  # type: ignore[misc]
