"""A table in memory, column by column: numbers as they are, words as codes."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dltrain.data.tables.spelling import spelled
from dltrain.errors import DataError, did_you_mean

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Rows = Indices | slice  # places of rows; a slice has a start and a stop, and no step

# Numbers are kept in pieces of about so many, which the system takes back one by one as they are released.
PART_ROWS = 2**17


@dataclass
class Column:
    """A column of N cells as it was read.

    Attributes:
        stored: "number" has ``parts``; "text" has ``codes`` and ``words``; "date" has ``times``; "other" (what no model
            can take, such as lists) and "empty" have none.
        parts: float64 arrays whose lengths add up to N; NaN where a cell is empty.
        codes: (N,) int32 places in ``words``; -1 where a cell is empty.
        words: each text that occurs, once.
        as_text: the reader was told to keep the cells as they are written.
        was_apart: the file spells letters of its name or of its words in parts (NFD); here they are composed.
        times: (N,) int64 microseconds since 1970 of dates that are stored as such, the least of int64 where a cell is
            empty; None of times of day and durations.
    """

    name: str
    stored: Literal["number", "text", "date", "other", "empty"]
    parts: list[Floats] = field(default_factory=list)
    codes: NDArray[np.int32] | None = None
    words: list[str] = field(default_factory=list)
    as_text: bool = False
    was_apart: bool = False
    times: NDArray[np.int64] | None = None

    def numbers(self, rows: Rows) -> Floats:
        """Returns the cells of some rows of a column that is stored as numbers."""
        if isinstance(rows, slice):
            return self._span(rows.start, rows.stop)
        return self._span(0, sum(map(len, self.parts)))[rows]

    def _span(self, start: int, stop: int) -> Floats:
        pieces, first = [], 0
        for part in self.parts:
            piece = part[max(0, start - first) : max(0, stop - first)]
            if len(piece):
                pieces.append(piece)
            first += len(part)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces) if pieces else np.empty(0)

    def release(self, stop: int) -> None:
        """Gives back the memory of the numbers before row ``stop``, which cannot be used any more."""
        first = 0
        for place, part in enumerate(self.parts):
            first += len(part)
            if first > stop:
                break
            # As long as it was, without any memory of its own.
            self.parts[place] = np.broadcast_to(np.float64("nan"), len(part))


@dataclass
class Table:
    """Named columns of equal length, and where they come from.

    Attributes:
        where: the setting and the path in messages, such as "data.path=my.csv".
        row_number: gives the number by which a person finds a row (from 0) in the file.
        notes: what a person should know of how the file was read.
        header: whether the columns' names stand in the file.
        decimal: the decimal mark of the numbers; None where none has a fraction.
    """

    where: str
    columns: dict[str, Column]
    num_rows: int
    row_number: Callable[[int], int]
    notes: list[str] = field(default_factory=list)
    header: bool = True
    decimal: str | None = None

    def column(self, name: str) -> Column:
        """
        Raises:
            DataError: there is none of this name; the message lists those that there are.
        """
        if name not in self.columns:
            single = ". With a single column found, try another data.delimiter" if len(self.columns) == 1 else ""
            raise DataError(f"{self.where}: there is no column '{name}'.{near(name, self.columns)}{single}")
        return self.columns[name]


def near(name: str, known: Any) -> str:
    """Returns the nearest name and the list of all, cut to 20."""
    names = list(known)
    hint = did_you_mean(name, names).partition(" There is:")[0]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"{hint} The columns are: {', '.join(names[:20])}{more}"


def listed(names: list[str], most: int = 8) -> str:
    """Returns names as a note shows them: the first ones, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def to_numbers(column: Column, rows: Rows, table: Table) -> Floats:
    """Returns the cells of some rows as float64, NaN where they are empty, text as the number that it spells.

    Raises:
        DataError: a cell of these rows holds text that is no number, or an infinite number.
    """
    if column.stored == "number":
        values = column.numbers(rows)
    elif column.codes is not None:
        codes = column.codes[rows]
        values = np.full(len(column.words) + 1, np.nan)  # the last place is that of -1, an empty cell
        bad = []
        for code in np.unique(codes[codes >= 0]).tolist():
            number = spelled(column.words[code], table.decimal)
            if number is None:
                bad.append(code)
            else:
                values[code] = number
        if bad:
            first = int(np.isin(codes, bad).argmax())
            raise DataError(
                f"{table.where}: row {file_row(table, rows, first)}: column '{column.name}' holds numbers, and "
                f"{column.words[codes[first]]!r} is none. Mend it, or add it to data.empty_words if it means an "
                "empty cell"
            )
        values = values[codes]
    else:
        if column.stored != "empty":
            raise DataError(f"{table.where}: column '{column.name}' holds {column.stored}s, which are no numbers")
        values = np.full(count_rows(rows), np.nan)
    infinite = np.isinf(values)
    if infinite.any():
        first = int(infinite.argmax())
        raise DataError(
            f"{table.where}: row {file_row(table, rows, first)}: column '{column.name}' holds {values[first]}, which "
            "is no finite number"
        )
    return values


def to_texts(column: Column, rows: Rows, table: Table) -> tuple[NDArray[np.int32], list[str]]:
    """Returns the cells of some rows as codes (-1 where empty) of a list of texts; numbers as they are written.

    Raises:
        DataError: the column holds dates or what has no text.
    """
    if column.codes is not None:
        return column.codes[rows], column.words
    if column.stored == "number":
        values = column.numbers(rows)
        distinct, inverse = np.unique(values, return_inverse=True)
        texts = [number_text(value) for value in distinct.tolist()]
        places: NDArray[np.int32] = np.where(np.isnan(values), -1, inverse).astype(np.int32)
        return places, texts
    if column.stored == "empty":
        return np.full(count_rows(rows), -1, np.int32), []
    raise DataError(f"{table.where}: column '{column.name}' holds {column.stored}s, which are no categories")


def number_text(value: float) -> str:
    """Returns a number as a person writes it: whole ones without a fraction."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def all_rows(table: Table) -> slice:
    return slice(0, table.num_rows)


def empty_cells(column: Column) -> NDArray[np.bool_] | None:
    """Returns (N,) which cells are empty; None for a column that has no cell at all."""
    if column.codes is not None:
        return column.codes < 0
    return np.isnan(np.concatenate(column.parts)) if column.stored == "number" else None


def untouched_zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Returns zeros that take memory only as they are written to, whatever the allocator has been told to keep."""
    size = int(np.prod(shape))
    if not size:
        return np.zeros(shape, np.float32)
    return np.frombuffer(mmap.mmap(-1, 4 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.float32).reshape(
        shape
    )


def free_released() -> None:
    """Gives memory that Arrow keeps for later back to the system."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def count_rows(rows: Rows) -> int:
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def file_row(table: Table, rows: Rows, place: int) -> int:
    """Returns the number by which a person finds the row at a place of ``rows`` in the file."""
    return table.row_number(rows.start + place if isinstance(rows, slice) else int(rows[place]))
