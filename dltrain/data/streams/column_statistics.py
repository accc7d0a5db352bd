"""What one pass over the training blocks of a stream learns from their columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dltrain.data.cache import Arrays
from dltrain.data.streams.parquet_blocks import Floats, RowGroup, damages, floats, read_columns, texts
from dltrain.errors import DataError

# Different words of a column that are counted; beyond, it is taken for an id, and the count would outgrow the memory.
MOST_WORDS = 100_000


@dataclass
class Numbers:
    """A column's count, mean, sum of squared deviations, smallest and largest value, and its empty cells."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = 0.0
    high: float = 0.0
    empty: int = 0

    def add(self, values: Floats) -> None:
        """Adds (N,) values; the sums of two parts are put together as in Chan, Golub and LeVeque 1983."""
        known = values[~np.isnan(values)]
        self.empty += len(values) - len(known)
        if not len(known):
            return
        count, mean = len(known), float(known.mean())
        squares = float(np.square(known - mean).sum())
        low, high = float(known.min()), float(known.max())
        self.low, self.high = (min(self.low, low), max(self.high, high)) if self.count else (low, high)
        total, between = self.count + count, mean - self.mean
        self.squares += squares + between * between * self.count * count / total
        self.mean += between * count / total
        self.count = total

    def scaling(self, kind: str) -> tuple[float, float]:
        """Returns shift and scale; a constant column has scale 1."""
        if kind == "none" or not self.count:
            return 0.0, 1.0
        if kind == "minmax":
            shift, scale = self.low, self.high - self.low
        else:
            shift, scale = self.mean, (self.squares / self.count) ** 0.5
        return shift, scale if scale > 0 else 1.0


@dataclass
class Words:
    """How often each word of a column stands there; ``counts`` is None where there are too many."""

    counts: dict[str, int] | None = field(default_factory=dict)
    empty: int = 0

    def add(self, cells: Any) -> None:
        from pyarrow import compute

        self.empty += cells.null_count
        if self.counts is None:
            return
        total = Counter(self.counts)
        for item in compute.value_counts(cells).to_pylist():
            if item["values"] is not None:
                total[item["values"]] += item["counts"]
        self.counts = dict(total) if len(total) <= MOST_WORDS else None

    def ranked(self) -> list[str]:
        """Returns the words, the most frequent first, then by spelling."""
        counts = self.counts or {}
        return sorted(counts, key=lambda word: (-counts[word], word))


@dataclass
class Statistics:
    """Of the training blocks; of a target both its numbers, if it has any, and its words."""

    numbers: dict[str, Numbers]
    words: dict[str, Words]
    rows: int = 0

    def to_arrays(self) -> Arrays:
        """Returns it in the form that the cache keeps."""
        plain = {
            "numbers": {name: vars(found) for name, found in self.numbers.items()},
            "words": {name: vars(found) for name, found in self.words.items()},
            "rows": self.rows,
        }
        return {"json": np.frombuffer(json.dumps(plain).encode("utf-8", "surrogatepass"), dtype=np.uint8).copy()}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Statistics:
        plain = json.loads(arrays["json"].tobytes().decode("utf-8", "surrogatepass"))
        return cls(
            {name: Numbers(**found) for name, found in plain["numbers"].items()},
            {name: Words(**found) for name, found in plain["words"].items()},
            plain["rows"],
        )


def gather(groups: Iterable[RowGroup], numbers: list[str], words: list[str]) -> Statistics:
    """Reads columns of row groups, one group after the other.

    Raises:
        DataError: a file is damaged, or a number is infinite.
    """
    found = Statistics({name: Numbers() for name in numbers}, {name: Words() for name in words})
    for group in groups:
        table = read_columns(group, list(dict.fromkeys([*numbers, *words])))
        found.rows += table.num_rows
        for name in numbers:
            found.numbers[name].add(floats(table, name, group))
        for name in words:
            with damages(str(group)):
                found.words[name].add(texts(table.column(name)))
    return found


def refuse_unseen(groups: Iterable[RowGroup], target: str, classes: tuple[str, ...], part: str) -> None:
    """
    Raises:
        DataError: a row is of a class that the training rows have not.
    """
    known = set(classes)
    for group in groups:
        table = read_columns(group, [target])
        with damages(str(group)):
            there = texts(table.column(target)).unique().to_pylist()
        unseen = sorted(word for word in there if word is not None and word not in known)
        if unseen:
            raise DataError(
                f"{group}: class '{unseen[0]}' of column '{target}' is in the {part} data and never in the training "
                f"data, which have {len(classes)} classes. Another data.split_seed may deal it out better"
            )
