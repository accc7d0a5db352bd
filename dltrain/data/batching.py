"""Batches of samples that are resident on the device as tensors."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dltrain.data import Batch, Samples, Split

# Samples are put in order for this many bytes at a time: few gathers, each small enough for the caches.
_GATHER_BYTES = 4 * 2**20


def permutation(num_samples: int, seed: int, epoch: int) -> torch.Tensor:
    """Returns the order of an epoch: int64 (N,), a pure function of its arguments."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(num_samples, generator=generator)


class ResidentSplit(Split):
    """Slices of tensors that are on the device as a whole, in a new random order each epoch or as they stand."""

    def __init__(
        self, samples: Samples, *, batch_size: int, seed: int | None, device: torch.device | str = "cpu"
    ) -> None:
        """
        Args:
            samples: moved to ``device`` if it is elsewhere.
            seed: of the order; None keeps the samples as they stand.
        """
        self.inputs = samples.inputs.to(device)
        self.targets = samples.targets.to(device)
        self.num_samples = len(samples)
        self.batch_size = batch_size
        self.seed = seed

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        size = self.batch_size
        if start >= self.num_batches:
            return  # a tensor of no rows would still be split into one empty batch
        if self.seed is None or size >= self.num_samples:  # one batch of all samples: their order does not matter
            first = start * size
            for inputs, targets in zip(self.inputs[first:].split(size), self.targets[first:].split(size), strict=True):
                yield Batch(inputs, targets)
            return
        order = permutation(self.num_samples, self.seed, epoch).to(self.inputs.device)
        sample_bytes = self.inputs[:1].nbytes + self.targets[:1].nbytes
        gather = max(1, _GATHER_BYTES // max(1, sample_bytes * size)) * size
        for chunk in order[start * size :].split(gather):
            inputs, targets = self.inputs.index_select(0, chunk), self.targets.index_select(0, chunk)
            for batch in zip(inputs.split(size), targets.split(size), strict=True):
                yield Batch(*batch)
