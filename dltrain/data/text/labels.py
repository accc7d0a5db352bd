"""Text files with a class in each row: which files, and which classes of which rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dltrain.data.cache import cached, content_key
from dltrain.data.text.reading import TextTable
from dltrain.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Tables:
    """The files of a data set: the first is split into training and validation, and test where it is the only one.

    Attributes:
        text, target: names of the columns.
        open: checks the files, which takes a while: only where the cache does not have what is in them.
        how: the settings that say how they are read.
    """

    paths: list[Path]
    text: str
    target: str
    open: Callable[[], list[TextTable]]
    how: list[str]

    @functools.cached_property
    def opened(self) -> list[TextTable]:
        return self.open()

    @functools.cached_property
    def key(self) -> list[str]:
        """What decides the texts."""
        try:
            return [content_key(self.paths), *self.how, self.text]
        except OSError:
            self.open()  # which says what is wrong
            raise

    @property
    def what(self) -> str:
        return " and ".join(path.name for path in self.paths)

    def texts(self) -> Iterator[str]:
        return (cells[0] for table in self.opened for _, cells in table.rows([self.text]))


@dataclass(frozen=True)
class Labels:
    """
    Attributes:
        codes: (N,) int64 places in ``names``, of the rows of both files.
        num_first: rows of the first file.
        encodings: of the files.
    """

    codes: NDArray[np.int64]
    names: tuple[str, ...]
    num_first: int
    encodings: tuple[str, ...]


def cached_labels(tables: Tables) -> Labels:
    def build() -> dict[str, NDArray[np.generic]]:
        labels = _labels(tables.opened, tables.target)
        plain = json.dumps([labels.names, labels.num_first, labels.encodings]).encode()
        return {"codes": labels.codes, "plain": np.frombuffer(bytearray(plain), dtype=np.uint8)}

    arrays = cached(["labels", *tables.key, tables.target], build, f"the classes of {tables.what}")
    names, num_first, encodings = json.loads(bytes(arrays["plain"]))
    return Labels(arrays["codes"], tuple(names), num_first, tuple(encodings))


def _labels(tables: list[TextTable], column: str) -> Labels:
    """
    Raises:
        DataError: a row without a class, a class that only the test file has, a single class, or no rows.
    """
    known: dict[str, int] = {}
    codes: list[int] = []
    counts: list[int] = []
    for table in tables:
        for row, (name,) in table.rows([column]):
            label = name.strip()
            if not label:
                raise DataError(f"{table.file.key}: row {row} has no {column}. Fill it in, or take the row out")
            if len(counts) == 1 and label not in known:
                hint = did_you_mean(label, known) if len(known) <= 30 else ""
                raise DataError(
                    f"{table.file.key}: row {row} has the {column} '{label}', which no row of {tables[0].file.path} "
                    f"has, so no model can learn it.{hint}"
                )
            codes.append(known.setdefault(label, len(known)))
        counts.append(len(codes) - sum(counts))
        if not counts[-1]:
            raise DataError(f"{table.file.key}: there is no row below the header")
    if len(known) == 1:
        only = next(iter(known))
        raise DataError(f"{tables[0].file.key}: every row has the {column} '{only}', so there is nothing to tell apart")
    names = _in_order(list(known))
    place = {name: number for number, name in enumerate(names)}
    renumber = np.array([place[name] for name in known])
    encodings = tuple(table.file.encoding for table in tables)
    return Labels(renumber[np.array(codes)], tuple(names), counts[0], encodings)


def _in_order(names: list[str]) -> list[str]:
    """Returns numbers in order of size, other names in order of their letters."""
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def rare_classes(labels: Labels, train: NDArray[np.int64], tables: Tables) -> list[str]:
    """Returns a note where classes are in no training row, as when the target is no class at all."""
    counts = np.bincount(labels.codes[train], minlength=len(labels.names))
    missing = np.flatnonzero(counts == 0)
    if not len(missing):
        return []
    number = len(missing)
    return [
        f"{number} of {len(labels.names)} classes {'is' if number == 1 else 'are'} in no training row, such as "
        f"'{labels.names[missing[0]]}', so no model can learn {'it' if number == 1 else 'them'}: is {tables.target} "
        "the column of the classes?"
    ]
