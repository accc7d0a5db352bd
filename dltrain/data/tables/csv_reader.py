"""One pass over a text table: rows to columns, each cell's text to a number where all of a column's are."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dltrain import arrow
from dltrain.data.tables.columns import PART_ROWS, Column, free_released, listed
from dltrain.data.tables.content import Utf8Stream
from dltrain.data.tables.sniffing import Dialect
from dltrain.data.tables.spelling import composed
from dltrain.errors import DataError

_BLOCK_BYTES = 2**19
_LETTING_GO_SECONDS = 5.0
_POINTS_GROUP = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?$"
_EXACT = float(2**53)  # from here on float64 skips whole numbers


class Reading:
    """One pass over a text table.

    Attributes:
        late: columns that began as numbers and turned out to hold words, so that another pass is needed.
    """

    def __init__(
        self,
        path: Path,
        where: str,
        encoding: str,
        dialect: Dialect,
        empty_words: tuple[str, ...],
        texts: set[str],
    ) -> None:
        """
        Args:
            texts: columns to keep as they are written even where they look like numbers.
        """
        self.path, self.where, self.encoding, self.dialect = path, where, encoding, dialect
        self.empty_words, self.texts = empty_words, texts
        self.late: set[str] = set()
        self.notes: list[str] = []
        self.num_rows = 0

    def columns(self) -> list[Column]:
        """Reads the file; gives nothing where there are ``late`` columns.

        Raises:
            DataError: a row has more or fewer cells than the first, or there is nothing below the header.
        """
        builders: list[_Builder] = []
        for block in self._blocks():
            first = 0
            if not builders:
                builders = self._builders([str(column[0].as_py() or "") for column in block.columns])
                first = 1 if self.dialect.header else 0
            cells = block.slice(first)
            self.num_rows += cells.num_rows
            if cells.num_rows:
                for builder, values in zip(builders, cells.columns, strict=True):
                    builder.add(values)
        if not self.num_rows:
            raise DataError(f"{self.where}: there is a header and no row below it")
        self.late = {builder.name for builder in builders if builder.late}
        columns = [] if self.late else [builder.finish() for builder in builders]
        free_released()
        return columns

    def _builders(self, first_row: list[str]) -> list[_Builder]:
        names: list[str] = []
        for i, cell in enumerate(first_row):
            name = composed(cell.strip()) if self.dialect.header else ""
            name = name or f"column_{i + 1}"
            if name in names:
                new = next(f"{name}_{k}" for k in range(2, len(first_row) + 2) if f"{name}_{k}" not in names)
                self.notes.append(f"{self.path} has two columns '{name}': the second one is called '{new}' here")
                name = new
            names.append(name)
        return [_Builder(name, self.empty_words, self.dialect.decimal, name in self.texts) for name in names]

    def _blocks(self) -> Iterator[Any]:
        """Yields the file as record batches of text columns."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        ragged: list[Any] = []

        def refuse(row: Any) -> str:
            ragged.append(row)
            return "error"

        parse = arrow_csv.ParseOptions(
            delimiter=self.dialect.delimiter, newlines_in_values=True, invalid_row_handler=refuse
        )
        options = arrow_csv.ReadOptions(autogenerate_column_names=True, block_size=_BLOCK_BYTES)
        convert = arrow_csv.ConvertOptions(
            column_types={f"f{i}": pa.string() for i in range(self.dialect.width)},
            strings_can_be_null=True,
            null_values=["", *self.empty_words],
            check_utf8=False,  # the stream has done it
        )
        reader: Any = None
        with Utf8Stream(self.path, self.where, self.encoding) as stream:
            held = [sys.getrefcount(shared) for shared in (stream, refuse)]
            try:
                reader = arrow_csv.open_csv(stream, read_options=options, parse_options=parse, convert_options=convert)
                last = None
                for block in reader:
                    last = block if block.num_rows else last
                    yield block
                if last is not None and stream.num_quotes % 2 == 1:
                    self._check_last_row([str(column[-1].as_py()) for column in last.columns])
            except pa.ArrowException as error:
                if ragged:
                    raise self._ragged(ragged[0]) from error
                reason = str(error).partition("\n")[0].rstrip(".")
                if "straddl" in reason:
                    reason = f'a row is longer than {_BLOCK_BYTES:,} bytes; is a quotation mark (") left open?'
                raise DataError(f"{self.where}: this is no table that can be read: {reason}") from error
            finally:
                reader = None
                # Arrow reads ahead in threads of its own. One that lets go of a Python object while the interpreter
                # is shutting down, as it is soon after an error, aborts the process.
                limit = time.monotonic() + _LETTING_GO_SECONDS
                while [sys.getrefcount(shared) for shared in (stream, refuse)] > held and time.monotonic() < limit:
                    time.sleep(0.001)

    def _check_last_row(self, cells: list[str]) -> None:
        """
        Raises:
            DataError: it runs over lines, in a file with an odd number of quotation marks: one was left open.
        """
        if any("\n" in cell for cell in cells):
            line = max((line for line, _ in _rows(self.path, self.where, self.encoding, self.dialect)), default=1)
            raise DataError(f'{self.where}: row {line}: a quotation mark (") is left open, up to the end of the file')

    def _ragged(self, row: Any) -> DataError:
        place, hint = "", 'Put cells that hold the delimiter into quotation marks ("), or give data.delimiter'
        for line, cells in _rows(self.path, self.where, self.encoding, self.dialect):
            if len(cells) != row.expected_columns:
                place = f" {line}"
                if any("\n" in cell for cell in cells):
                    hint = 'One of them runs over lines: is a quotation mark (") left open?'
                break
        count = f"{row.actual_columns} cell{'' if row.actual_columns == 1 else 's'}"
        return DataError(f"{self.where}: row{place}: {count}, where the first row has {row.expected_columns}. {hint}")


class _Builder:
    """A column that grows block by block."""

    def __init__(self, name: str, empty_words: tuple[str, ...], decimal: str | None, as_text: bool) -> None:
        self.name, self.empty_words, self.decimal = name, empty_words, decimal
        self.as_text = as_text
        self.kind = "text" if as_text else "empty"
        self.late = False
        self.parts: list[NDArray[np.float64]] = []
        self.pending: list[Any] = []  # Arrow arrays, as Arrow gives freed memory back to the system
        self.num_pending = 0
        self.texts: list[Any] = []
        self.num_empty = 0  # leading cells, as long as nothing but empty ones came

    def add(self, values: Any) -> None:
        """Adds an Arrow array of texts, null where a cell is empty."""
        import pyarrow as pa

        if self.late:
            return
        if values.type != pa.string():  # a column of which the sample did not know
            values = values.cast(pa.string())
        if self.kind == "empty" and values.null_count == len(values):
            self.num_empty += len(values)
            return
        if self.kind != "text":
            numbers = self._numbers(values)
            if numbers is not None:
                self._add_numbers(numbers)
                return
            cleaned = _cleaned(values, self.empty_words)
            if self.kind == "empty" and cleaned.null_count == len(cleaned):
                self.num_empty += len(cleaned)
                return
            numbers = self._numbers(cleaned)
            if numbers is not None:
                self._add_numbers(numbers)
                return
            if self.kind == "number":
                self.late = True
                self.parts, self.pending = [], []
                return
        self._add_texts(values)

    def _add_numbers(self, numbers: Any) -> None:
        if self.kind == "empty" and self.num_empty:
            self.pending.append(arrow.numbers(np.full(self.num_empty, np.nan)))
        self.kind = "number"
        self.pending.append(numbers)
        self.num_pending += len(numbers)
        if self.num_pending >= PART_ROWS:
            self._join_pending()

    def _join_pending(self) -> None:
        import pyarrow as pa

        if self.pending:
            self.parts.append(arrow.values_of(pa.concat_arrays(self.pending), np.nan))  # a view
            self.pending, self.num_pending = [], 0

    def _add_texts(self, values: Any) -> None:
        import pyarrow as pa

        if self.kind == "empty" and self.num_empty:
            self.texts.append(pa.nulls(self.num_empty, pa.string()).dictionary_encode())
            self.num_empty = 0
        self.kind = "text"
        self.texts.append(_cleaned(values, self.empty_words).dictionary_encode())

    def _numbers(self, values: Any) -> Any:
        """Returns the texts as Arrow's float64, NaN for null; None where one is no number, or rather a code."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = values
        if self.decimal == ",":
            points = pc.filter(values, pc.match_substring(values, "."))
            if len(points) and pc.all(pc.match_substring_regex(points, _POINTS_GROUP)).as_py():
                return None  # "1.234" is a thousand
            texts = pc.replace_substring(values, ",", ".")
        try:
            numbers = pc.cast(texts, pa.float64()).fill_null(arrow.numbers(np.array([np.nan]))[0])
        except pa.ArrowInvalid:
            return None
        array = arrow.values_of(numbers, np.nan)
        zeros = pc.filter(values, pc.starts_with(values, "0"))
        if pc.any(pc.match_substring_regex(zeros, r"^0\d+$")).as_py():
            return None  # zip codes and the like, of which the leading zero is a part
        if np.nanmax(np.abs(array), initial=0.0) >= _EXACT:
            large = values.filter(arrow.numbers(np.abs(array) >= _EXACT))
            if pc.any(pc.match_substring_regex(large, r"^[+-]?\d+$")).as_py():
                return None  # numbers that float64 would change: they are names of something
        return numbers

    def finish(self) -> Column:
        """Returns the column."""
        import pyarrow as pa

        if self.kind == "empty":
            return Column(self.name, "empty")
        if self.kind == "number":
            self._join_pending()
            return Column(self.name, "number", parts=self.parts)
        unified = pa.chunked_array(self.texts).unify_dictionaries()
        self.texts = []
        return text_column(self.name, unified.combine_chunks(), self.as_text)


def column_of(name: str, cells: Any, empty_words: tuple[str, ...], decimal: str | None, as_text: bool) -> Column:
    """Returns the column that a file with these cells would have, an Arrow array of texts, null where they are empty.

    Args:
        decimal: the decimal mark of the table's numbers.
        as_text: keeps the cells as they are written even where they look like numbers.
    """
    builder = _Builder(name, empty_words, decimal, as_text)
    builder.add(cells)
    return builder.finish()


def text_column(name: str, encoded: Any, as_text: bool) -> Column:
    """Returns the column of an Arrow dictionary array of texts."""
    codes = arrow.values_of(encoded.indices, -1).astype(np.int32)
    words: list[str] = encoded.dictionary.to_pylist()
    one = [composed(word) for word in words]
    if one == words:
        return Column(name, "text", codes=codes, words=words, as_text=as_text)
    places = {word: place for place, word in enumerate(dict.fromkeys(one))}
    codes = np.array([*(places[word] for word in one), -1], np.int32)[codes]
    return Column(name, "text", codes=codes, words=list(places), as_text=as_text, was_apart=True)


def told_apart(path: Path, columns: Iterable[Column]) -> list[str]:
    """Returns the note that words were composed, if they were."""
    names = [column.name for column in columns if column.was_apart]
    if not names:
        return []
    return [f"{path} spells letters in parts (NFD) in {listed(names)}: they are composed (NFC), to be equal to others"]


def _cleaned(texts: Any, empty_words: tuple[str, ...]) -> Any:
    """Returns texts without white space around them and without a leading plus, empty ones as nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(texts)
    is_empty = pc.is_in(trimmed, value_set=arrow.strings(["", *empty_words]))
    return pc.if_else(is_empty, pa.nulls(1, pa.string())[0], trimmed)


def _rows(path: Path, where: str, encoding: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yields each row that is not blank with the number of the line in which it begins, from 1.

    It is much slower than reading the table, and only finds the place of a mistake.
    """
    with Utf8Stream(path, where, encoding) as stream:
        text = io.TextIOWrapper(io.BufferedReader(_Readable(stream)), encoding="utf-8", newline="")
        reader = csv.reader(text, delimiter=dialect.delimiter)
        line = 1
        try:
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error:  # a cell larger than the csv module takes: its place stays unknown
            return


def line_number(path: Path, where: str, encoding: str, dialect: Dialect, row: int) -> int:
    """Returns the line of the file in which a row (from 0, without the header) begins."""
    wanted = row + (1 if dialect.header else 0)
    for number, (line, _) in enumerate(_rows(path, where, encoding, dialect)):
        if number == wanted:
            return line
    return wanted + 1


class _Readable(io.RawIOBase):
    """A ``Utf8Stream`` for what fills a buffer of its own."""

    def __init__(self, stream: Utf8Stream) -> None:
        super().__init__()
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)
