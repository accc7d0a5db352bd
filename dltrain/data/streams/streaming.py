"""Samples that do not fit in memory: read in blocks by worker processes, in an order that needs no memory either.

A block is what can be read alone: a row group of a Parquet file, a range of a tar, one image. The order of an epoch
is a pure function of (seed, epoch): the blocks are permuted, neighbours are taken together until they fill a window
of ``buffer`` samples, and each window is shuffled inside. Since the blocks' sizes are known beforehand, the place of
any batch is found by arithmetic. So a run starts at batch k without reading what comes before it, and its batches are
the same with any number of workers.

The engine is PyTorch's own ``DataLoader``, an item of which is a window here; the main process cuts the windows into
batches. ``StatefulDataLoader`` stores the positions of its workers, so a resumed run needs as many workers as before,
and WebDataset and litdata shuffle by which worker reads what. Computed positions need neither, and no further package.

Windows come from the workers through pipes, not through shared memory: half as fast (about 0.4 against 1 GB/s), but a
container's 64 MB of shared memory are soon full, and each shared tensor takes a file descriptor. The workers are
forked from a server process that has PyTorch imported, which takes 0.1 s an epoch; to fork the main process is not
safe beside its threads, and to start anew takes more than a second for each worker.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.data.batching import permutation
from dltrain.data.contract import Batch, Source, Split, Tensors, Transform
from dltrain.data.streams.workers import from_workers
from dltrain.errors import DataError

Places = NDArray[np.int64]


class Reader(ABC):
    """Reads blocks, in this process or in a worker, to which it is sent with its settings.

    Attributes:
        imports: modules that every worker needs, imported once for all of them.
    """

    imports: tuple[str, ...] = ()

    @abstractmethod
    def read(self, requests: list[Any]) -> Batch:
        """Returns the samples of blocks, one after the other, as CPU tensors.

        Raises:
            DataError: a block is damaged; the message names its file.
        """


class Blocks(ABC):
    """All blocks of a data set.

    Attributes:
        sizes: (M,) samples in each.
        reader: reads what ``request`` describes.
    """

    sizes: Places
    reader: Reader

    @abstractmethod
    def request(self, block: int) -> Any:
        """Returns what the reader needs to know to read a block: plain values, and few."""

    @abstractmethod
    def content(self) -> Iterator[bytes | memoryview]:
        """Yields what tells these blocks from others, without reading all of them."""


@dataclass(frozen=True)
class Window:
    """Neighbouring blocks of an epoch's order that are read at once.

    Attributes:
        requests: of its blocks.
        places: of its samples in their source, (W,), before they are shuffled.
        shuffle: seed of its inner order; None keeps it.
    """

    requests: list[Any]
    places: Places
    shuffle: int | None

    def read(self, reader: Reader) -> tuple[Batch, torch.Tensor]:
        """Returns its samples and their places, in the order in which they are trained on.

        Raises:
            DataError: a block is damaged, or is not what it was when its samples were counted.
        """
        batch, places = reader.read(self.requests), torch.from_numpy(self.places)
        if batch.size != len(places):
            raise DataError(
                f"{batch.size} samples were read where {len(places)} were counted at the start: "
                "the files have changed meanwhile. Start the run again"
            )
        if self.shuffle is None:
            return batch, places
        order = torch.randperm(len(places), generator=torch.Generator().manual_seed(self.shuffle))
        return batch.map(lambda tensor: tensor.index_select(0, order)), places[order]


class StreamSource(Source):
    """The samples of some of the blocks."""

    def __init__(
        self,
        blocks: Blocks,
        members: Places,
        *,
        buffer: int,
        workers: int,
        transform: Transform | None = None,
    ) -> None:
        """
        Args:
            members: numbers of this split's blocks, in the order in which they stand.
            buffer: samples that are shuffled together; a larger block is not cut.
            workers: processes that read; 0 reads in this one.
            transform: what turns stored samples into what a model sees; None where they are that.
        """
        self.blocks, self.members = blocks, members
        self.buffer, self.workers, self.transform = buffer, workers, transform
        self.sizes = blocks.sizes[members]
        self.firsts = np.cumsum(self.sizes) - self.sizes  # the place of each block's first sample

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def split(self, *, batch_size: int, seed: int | None, device: torch.device | str) -> StreamSplit:
        return StreamSplit(self, batch_size=batch_size, seed=seed, device=device)

    def head(self, count: int) -> Batch:
        num_blocks = int(np.searchsorted(self.firsts, min(count, len(self))))
        window = self.window(np.arange(max(1, num_blocks)), None)
        batch, places = window.read(self.blocks.reader)
        batch, places = batch.map(lambda tensor: tensor[:count]), places[:count]
        return batch if self.transform is None else self.transform(batch, places, None)

    def content(self) -> Iterator[bytes | memoryview]:
        yield np.ascontiguousarray(self.members).data
        yield np.ascontiguousarray(self.sizes).data
        yield from self.blocks.content()

    def window(self, chosen: Places, shuffle: int | None) -> Window:
        """Returns the window of some of the source's blocks, counted from its first."""
        requests = [self.blocks.request(int(block)) for block in self.members[chosen]]
        places = np.concatenate([np.arange(self.firsts[i], self.firsts[i] + self.sizes[i]) for i in chosen])
        return Window(requests, places, shuffle)


class StreamSplit(Split):
    """Batches cut from windows as they come."""

    def __init__(
        self, source: StreamSource, *, batch_size: int, seed: int | None, device: torch.device | str = "cpu"
    ) -> None:
        """
        Args:
            seed: of the order; None keeps the samples as they stand.
        """
        self.source, self.batch_size, self.seed, self.device = source, batch_size, seed, torch.device(device)
        self.num_samples = len(source)
        self.transform = source.transform
        if self.transform is not None and seed is not None:
            self.transform = self.transform.seeded(seed)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        augment = None if self.seed is None else epoch
        for batch, places in self.stored_batches(epoch, start):
            batch = batch.map(lambda tensor: tensor.to(self.device))
            yield batch if self.transform is None else self.transform(batch, places.to(self.device), augment)

    def stored_batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Batch, torch.Tensor]]:
        """Yields the batches as they are stored, on the CPU, each with its samples' places (B,).

        Raises:
            DataError: a block is damaged.
            MachineError: a worker process was ended.
        """
        if start >= self.num_batches:
            return
        order, edges = self._plan(epoch)
        before = np.concatenate([[0], np.cumsum(self.source.sizes[order])])[edges]  # samples before each window
        first = int(np.searchsorted(before, start * self.batch_size, side="right")) - 1
        windows = self._windows(epoch, order, edges, first)
        reader, num_windows = self.source.blocks.reader, len(edges) - 1 - first
        workers = min(self.source.workers, num_windows)
        alone = workers == 0 or num_windows == 1  # to start a process for one window takes longer than to read it
        read = (window.read(reader) for window in windows) if alone else from_workers(windows, reader, workers)
        yield from _cut(read, self.batch_size, skip=start * self.batch_size - int(before[first]))

    def _plan(self, epoch: int) -> tuple[Places, Places]:
        """Returns the order of the blocks (M,), and where in it the windows begin, with the end after the last."""
        sizes = self.source.sizes
        order = np.arange(len(sizes)) if self.seed is None else permutation(len(sizes), self.seed, epoch).numpy()
        filled = np.cumsum(sizes[order])
        edges = [0]
        while edges[-1] < len(order):
            taken = filled[edges[-1] - 1] if edges[-1] else 0
            edges.append(min(len(order), int(np.searchsorted(filled, taken + self.source.buffer)) + 1))
        return order, np.array(edges)

    def _windows(self, epoch: int, order: Places, edges: Places, first: int) -> Iterator[Window]:
        for number in range(first, len(edges) - 1):
            shuffle = None if self.seed is None else _mixed(self.seed, epoch, number)
            yield self.source.window(order[edges[number] : edges[number + 1]], shuffle)


def _mixed(*numbers: int) -> int:
    """Returns a seed that is a pure function of some numbers, the same for ever."""
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _cut(read: Iterator[tuple[Batch, torch.Tensor]], size: int, skip: int) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Yields batches of ``size`` samples out of windows of any length; the last one may be smaller.

    Args:
        skip: samples of the first window to leave out.
    """
    parts: list[tuple[Batch, torch.Tensor]] = []
    have = 0
    for batch, places in read:
        at, skip = skip, 0
        while at < len(places):
            end = min(len(places), at + size - have)
            parts.append(_rows(batch, places, at, end))
            have, at = have + end - at, end
            if have == size:
                yield _joined(parts)
                parts, have = [], 0
    if parts:
        yield _joined(parts)


def _rows(batch: Batch, places: torch.Tensor, first: int, end: int) -> tuple[Batch, torch.Tensor]:
    return batch.map(lambda tensor: tensor[first:end]), places[first:end]


def _joined(parts: list[tuple[Batch, torch.Tensor]]) -> tuple[Batch, torch.Tensor]:
    if len(parts) == 1:
        return parts[0]
    return concatenated([batch for batch, _ in parts]), torch.cat([places for _, places in parts])


def concatenated(batches: list[Batch]) -> Batch:
    """Returns batches as one."""

    def join(parts: list[Tensors]) -> Tensors:
        named = [part for part in parts if isinstance(part, dict)]
        if named:
            return {name: torch.cat([part[name] for part in named]) for name in named[0]}
        return torch.cat([part for part in parts if isinstance(part, torch.Tensor)])

    weights = [batch.weights for batch in batches if batch.weights is not None]
    return Batch(
        join([batch.inputs for batch in batches]),
        join([batch.targets for batch in batches]),
        torch.cat(weights) if weights else None,
    )
