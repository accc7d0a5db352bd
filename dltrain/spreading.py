"""Some samples of a split, spread evenly over it, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dltrain.data import Batch, Samples, Source, Split
from dltrain.data.series.windows import Windows
from dltrain.data.text.ragged import RaggedSamples


def spread_batches(source: Source, split: Split, count: int, device: torch.device) -> Iterator[tuple[list[int], Batch]]:
    """Yields batches of samples, as a model sees them when it is evaluated, each with its places in the source.

    They lie evenly from the first to the last, so that data in the order of their classes show all of these; of a
    source that is read from its beginning they are the first.

    Args:
        split: of the source, not shuffled.
        count: samples at most.
    """
    source = source.samples() if isinstance(source, Windows) else source
    places = torch.linspace(0, len(source) - 1, min(count, len(source))).long().unique()
    if isinstance(source, Samples):
        stored = Batch(source.inputs, source.targets)
        for part in places.split(split.batch_size):
            batch = stored.map(lambda tensor, part=part: tensor[part].to(device))  # type: ignore[misc]
            if source.transform is not None:
                batch = source.transform(batch, part.to(device), None)
            yield part.tolist(), batch
    elif isinstance(source, RaggedSamples):
        some = source.take(places).split(batch_size=split.batch_size, seed=None, device=device)
        order = places[some.evaluation_order()]
        yield from zip((part.tolist() for part in order.split(split.batch_size)), some.batches(0), strict=True)
    else:
        first = 0
        for batch in split.batches(0):
            kept = batch.map(lambda tensor, first=first: tensor[: count - first])  # type: ignore[misc]
            yield list(range(first, first + kept.size)), kept
            first += kept.size
            if first >= count:
                return
