"""Tables from outside, a piece at a time: files of text, standard input, Parquet files, and frames in memory."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import arrow
from dltrain.data.streams.parquet_blocks import damages
from dltrain.data.tables.columns import near
from dltrain.data.tables.content import open_table
from dltrain.data.tables.sniffing import Format, sniff
from dltrain.data.tables.spelling import composed
from dltrain.errors import DataError
from dltrain.prediction.lines import Lines, open_lines
from dltrain.prediction.records import DELIMITERS, NAMED, first_record, named, records
from dltrain.prediction.rows import Rows

if TYPE_CHECKING:
    from pandas import DataFrame

EMPTY_WORDS = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "?")
_BY_PLACE = ". It was trained without a header, so columns go by their place, the target's among them"
ANY_FORMAT = Format("auto", "auto", "auto", "auto", EMPTY_WORDS)


class NewTable(ABC):
    """A table that is read from its beginning to its end, once.

    Attributes:
        where: what it is called in messages.
        names: of its columns.
        decimal: the decimal mark of its numbers; None where it is not known.
        notes: what a person should know of how it is read.
        is_typed: a text in it is meant as it stands, white space and words such as NA included.
    """

    where: str
    names: list[str]
    decimal: str | None = None
    notes: list[str]
    is_typed = False

    @abstractmethod
    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        """Yields all rows with these columns, as Arrow arrays, null where a cell is empty."""

    def close(self) -> None:  # noqa: B027 - only text is kept open
        """Closes what is read."""

    def require(self, columns: Sequence[str], hint: str = "") -> None:
        """
        Args:
            hint: what to add to the message.

        Raises:
            DataError: there is no such column; the message gives the nearest.
        """
        missing = [name for name in columns if name not in self.names]
        if missing:
            more = f" (and {len(missing) - 1} more that the model needs)" if len(missing) > 1 else ""
            raise DataError(
                f"{self.where}: there is no column '{missing[0]}'{more}.{near(missing[0], self.names)}{hint}"
            )


@dataclass(frozen=True)
class Wanted:
    """What is looked for in a table, which tells its header and its delimiter.

    Attributes:
        columns: names of the columns.
        by_place: of a table without a header, its first columns are these.
        alias: turns a name in the header into the one that is meant.
        quoting: quotes hold a cell of a text table together.
    """

    columns: Sequence[str]
    by_place: bool = False
    alias: Callable[[str], str] = str
    quoting: bool = True

    @property
    def are_places(self) -> bool:
        """Tells whether the names are those that a table without a header is given."""
        return bool(self.columns) and all(name.startswith("column_") for name in self.columns)


def open_new_table(path: Path | None, wanted: Wanted, form: Format = ANY_FORMAT) -> NewTable:
    """Opens a table whose columns have names.

    Args:
        path: None is standard input.
        form: how tables of this run are written, where it is told.

    Raises:
        DataError: it cannot be read, is empty, or has none of the wanted columns.
    """
    if path is not None and not path.is_fifo():
        file, is_parquet = open_table(path, str(path))
        file.close()
        if is_parquet:
            return ParquetTable(path, wanted)
    return text_table(open_lines(path, form.encoding, newline="" if wanted.quoting else "\n"), wanted, form)


def text_table(lines: Lines, wanted: Wanted, form: Format) -> TextTable:
    """Returns lines as a table; closes them where they are none."""
    with contextlib.ExitStack() as stack:
        stack.callback(lines.close)
        table = TextTable(lines, wanted, form)
        stack.pop_all()
    return table


# --- text -------------------------------------------------------------------------------------------------


class TextTable(NewTable):
    """CSV and its relatives."""

    def __init__(self, lines: Lines, wanted: Wanted, form: Format) -> None:
        self.where, self._lines, self._wanted = lines.where, lines, wanted
        sample = lines.ahead()
        if not sample.strip():
            raise DataError(f"{self.where}: there is nothing but blank lines")
        self._delimiter, first = _delimiter(sample, wanted, form)
        self.names, self._has_header, self.notes = self._names(first, form)
        self.require(wanted.columns, "" if self._has_header else _BY_PLACE)
        header = "true" if self._has_header else "false"
        known = replace(form, delimiter=self._delimiter, header=header)
        self.decimal = sniff(sample, True, known, set(), self.where).decimal
        if lines.encoding != "utf-8":
            self.notes.insert(0, f"{self.where} is read as {lines.encoding.upper()}")

    def close(self) -> None:
        self._lines.close()

    def _names(self, first: list[str], form: Format) -> tuple[list[str], bool, list[str]]:
        """Returns the names of the columns, whether they stand in the table, and notes.

        Raises:
            DataError: the first row has none of the wanted columns, and cannot be told to be no header.
        """
        meant = [self._wanted.alias(cell) for cell in first]
        if any(name in meant for name in self._wanted.columns):
            names, notes = named(meant)
            return names, True, notes
        places = [f"column_{place}" for place in range(1, len(first) + 1)]
        if self._wanted.are_places or form.header == "false":
            return places, False, []
        wanted = list(self._wanted.columns)
        if self._wanted.by_place and _fits_by_place(first, len(wanted)):
            order = ", ".join(wanted[:8]) + (", ..." if len(wanted) > 8 else "")
            note = f"{self.where} has no header: its columns are taken in this order: {order}"
            return [*wanted, *places[len(wanted) :]], False, [note]
        if self._wanted.by_place and all(map(_is_number, first)):
            raise DataError(
                f"{self.where} has no header and {len(first)} columns, and the model needs {len(wanted)}, in the order "
                f"of the training. Leave out the others, or give a first row with the names: {', '.join(wanted[:20])}"
                + (f" and {len(wanted) - 20} more" if len(wanted) > 20 else "")
            )
        shown = ", ".join(cell[:40] for cell in first[:8]) + (", ..." if len(first) > 8 else "")
        raise DataError(
            f"{self.where}: its first row names no column that the model needs. It begins with: {shown}. The model "
            f"needs: {', '.join(wanted[:20])}{f' and {len(wanted) - 20} more' if len(wanted) > 20 else ''}"
        )

    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        places = {name: self.names.index(name) for name in columns}
        numbers: list[int] = []
        cells: list[list[str]] = []
        problems: dict[int, str] = {}
        nothing = [""] * len(self.names)
        found = records(self._lines, self._delimiter, len(self.names), quoting=self._wanted.quoting)
        if self._has_header:
            next(found, None)
        is_empty = True
        for number, record in found:
            if isinstance(record, str):
                problems[len(numbers)] = record
            numbers.append(number)
            cells.append(nothing if isinstance(record, str) else record)
            if len(numbers) >= most or self._lines.would_wait:
                yield Rows(numbers, _columns(places, cells), problems)
                numbers, cells, problems, is_empty = [], [], {}, False
        if numbers:
            yield Rows(numbers, _columns(places, cells), problems)
        elif is_empty:
            raise DataError(f"{self.where}: there is a header and no row below it")


def _delimiter(sample: str, wanted: Wanted, form: Format) -> tuple[str, list[str]]:
    """Returns the delimiter that gives most of the wanted columns, else that of the run, else most columns; and the
    first row as it cuts it.
    """
    given = NAMED.get(form.delimiter, form.delimiter)
    found = []
    for delimiter in dict.fromkeys([*([] if given == "auto" else [given]), *DELIMITERS]):
        row = first_record(sample, delimiter, quoting=wanted.quoting)
        meant = {wanted.alias(cell) for cell in row}
        found.append((sum(name in meant for name in wanted.columns), delimiter == given, len(row), delimiter, row))
    *_, best, row = max(found, key=lambda one: one[:3])
    return best, row


def _fits_by_place(first: list[str], count: int) -> bool:
    """Tells whether a row without names can be the columns of the training: numbers, and at most a class behind them.

    One more number may be anything, such as an index in front, which would move all others by a place.
    """
    if len(first) == count + 1 and _is_number(first[-1]):
        return False
    return len(first) in (count, count + 1) and all(map(_is_number, first[:count]))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(places: dict[str, int], cells: list[list[str]]) -> dict[str, Any]:
    return {name: arrow.strings([row[place] or None for row in cells]) for name, place in places.items()}


# --- Parquet ----------------------------------------------------------------------------------------------


class ParquetTable(NewTable):
    """A Parquet file, of which a few row groups are in memory at a time."""

    is_typed = True

    def __init__(self, path: Path, wanted: Wanted) -> None:
        from pyarrow import parquet

        self.where, self._path, self.notes = str(path), path, []
        with damages(self.where), parquet.ParquetFile(path) as file:
            self._stored = list(file.schema_arrow.names)
            num_rows: int = file.metadata.num_rows
        if not num_rows:
            raise DataError(f"{self.where}: there are columns and no row")
        self.names, self.notes = named([wanted.alias(composed(name)) for name in self._stored])
        self.require(wanted.columns)

    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        from pyarrow import parquet

        places = {name: self._stored[self.names.index(name)] for name in columns}
        first = 1
        with damages(self.where), parquet.ParquetFile(self._path) as file:
            for batch in file.iter_batches(most, columns=list(dict.fromkeys(places.values()))):
                cells = {name: batch.column(batch.schema.get_field_index(stored)) for name, stored in places.items()}
                yield Rows(range(first, first + batch.num_rows), cells)
                first += batch.num_rows


# --- memory -----------------------------------------------------------------------------------------------


class FrameTable(NewTable):
    """A pandas DataFrame; its rows are called by their places from 1."""

    def __init__(self, frame: DataFrame, wanted: Wanted) -> None:
        self.where, self._frame = "the frame", frame
        self.names, self.notes = named([wanted.alias(composed(str(name))) for name in frame.columns])
        self.require(wanted.columns)

    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        count = len(self._frame)
        for first in range(0, count, most):
            part = self._frame.iloc[first : first + most]
            cells = {name: _array(part.iloc[:, self.names.index(name)]) for name in columns}
            yield Rows(range(first + 1, first + 1 + len(part)), cells)


def _array(series: Any) -> Any:
    """Returns a column of a frame as an Arrow array; of mixed objects as text."""
    import pyarrow as pa

    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError):
        missing = series.isna().tolist()
        texts = [None if empty else str(value) for value, empty in zip(series.tolist(), missing, strict=True)]
        array = pa.array(texts, pa.string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return array.cast(pa.string())
    return array
