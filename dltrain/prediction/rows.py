"""The contract of new inputs: rows as they were read, and how a family of inputs makes batches of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dltrain.data import Tensors

Places = NDArray[np.int64]

# Columns of answers: numbers as float64, NaN where there is none, or texts as objects, None where there is none.
Columns = dict[str, NDArray[Any]]


@dataclass
class Rows:
    """Some neighbouring rows of new inputs, N of them.

    Attributes:
        numbers: by which a person finds each row: its line in a file of text, its place from 1 elsewhere.
        cells: N of each column that was asked for, as they were read: an Arrow array or a list; null where empty.
        problems: why a row, by its place from 0, cannot be predicted; grows as more of them are looked at.
    """

    numbers: Sequence[int]
    cells: dict[str, Any]
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def good(self) -> Places:
        """The places of the rows that have no problem."""
        keep = np.ones(len(self), dtype=bool)
        keep[list(self.problems)] = False
        return np.flatnonzero(keep)


class Inputs(ABC):
    """New inputs of one kind.

    Attributes:
        where: what they come from, as messages name it.
        columns: names of the columns that ``rows`` can give, in their order.
        shown: those that stand before the predictions unless others are asked for.
    """

    where: str
    columns: list[str]
    shown: tuple[str, ...] = ()

    @abstractmethod
    def rows(self, keep: Sequence[str], most: int) -> Iterator[Rows]:
        """Yields all rows in their order, so many at a time at most, and as soon as they come through a pipe.

        Args:
            keep: of ``columns``; their cells are needed besides those that the model sees.

        Raises:
            DataError: the source cannot be read any further.
        """

    @abstractmethod
    def batches(self, rows: Rows, size: int) -> Iterator[tuple[Places, Tensors]]:
        """Yields what a model gets of the good rows, at most ``size`` at a time and in any order, with their places.

        What cannot be used is added to ``rows.problems``.
        """

    def finish(self, rows: Rows, answers: Columns) -> None:  # noqa: B027 - most have nothing to add
        """Changes the answers to some rows where they hang on more than the model's outputs."""

    def close(self) -> None:  # noqa: B027 - most have nothing open
        """Closes what is read."""

    def name_of(self, rows: Rows, place: int) -> str:
        """Returns what a person calls a row."""
        return f"row {rows.numbers[place]}"

    def notes(self) -> Iterator[str]:
        """Yields what a person should know of these inputs, once all were read."""
        yield from ()
