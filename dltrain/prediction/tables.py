"""Tables of text from outside, a piece at a time: files of CSV and its relatives, and standard input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltrain import arrow
from dltrain.data.tables.sniffing import sniff
from dltrain.errors import DataError
from dltrain.prediction.lines import Lines, open_lines
from dltrain.prediction.records import DELIMITERS, NAMED, first_record, named, printable, records
from dltrain.prediction.rows import Rows
from dltrain.prediction.typed_tables import parquet_table
from dltrain.prediction.wanted import ANY_FORMAT, NewFormat, NewTable, Wanted

_BY_PLACE = ". It was trained without a header, so columns go by their place, the target's among them"
_NO_HEADER = ". With data.header=false its columns have no names: leave that out, or give a first row with the names"


def open_new_table(path: Path | None, wanted: Wanted, form: NewFormat = ANY_FORMAT) -> NewTable:
    """Opens a table whose columns have names.

    Args:
        path: a file, or a folder of Parquet files; None is standard input.
        form: how tables of this run are written, where it is told.

    Raises:
        DataError: it cannot be read, is empty, or has none of the wanted columns.
        ConfigError: something was given of it that it does not have.
    """
    if path is not None and not path.is_fifo():
        typed = parquet_table(path, wanted, form)
        if typed is not None:
            return typed
    is_given = "encoding" in form.given
    lines = open_lines(path, form.encoding, newline="" if wanted.quoting else "\n", is_given=is_given)
    return text_table(lines, wanted, form)


def text_table(lines: Lines, wanted: Wanted, form: NewFormat) -> TextTable:
    """Returns lines as a table; closes them where they are none."""
    with contextlib.ExitStack() as stack:
        stack.callback(lines.close)
        table = TextTable(lines, wanted, form)
        stack.pop_all()
    return table


# --- text -------------------------------------------------------------------------------------------------


class TextTable(NewTable):
    """CSV and its relatives."""

    def __init__(self, lines: Lines, wanted: Wanted, form: NewFormat) -> None:
        self.where, self._lines, self._wanted = lines.where, lines, wanted
        sample = lines.ahead()
        if not sample.strip():
            raise DataError(f"{self.where}: there is nothing but blank lines")
        self._delimiter, first = _delimiter(sample, wanted, form)
        self.names, self._has_header, self.notes = self._names(first, form)
        by_place = _BY_PLACE if wanted.are_places else _NO_HEADER
        self.require(wanted.columns, wanted.hint + ("" if self._has_header else by_place) + form.told)
        header = "true" if self._has_header else "false"
        known = replace(form, delimiter=self._delimiter, header=header)
        self.decimal = sniff(sample, True, known, set(), self.where).decimal
        if lines.encoding != "utf-8":
            self.notes.insert(0, f"{self.where} is read as {lines.encoding.upper()}")

    def close(self) -> None:
        self._lines.close()

    def _names(self, first: list[str], form: NewFormat) -> tuple[list[str], bool, list[str]]:
        """Returns the names of the columns, whether they stand in the table, and notes.

        Raises:
            DataError: the first row has none of the wanted columns, and cannot be told to be no header.
        """
        meant = [self._wanted.alias(cell) for cell in first]
        places = [f"column_{place}" for place in range(1, len(first) + 1)]
        given = form.header if "header" in form.given else "auto"
        if given == "true" and self._wanted.are_places:
            return places, True, []
        if given != "false" and any(name in meant for name in self._wanted.columns):
            names, notes = named(meant)
            return names, True, notes
        if given != "true" and (self._wanted.are_places or form.header == "false"):
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
        shown = ", ".join(printable(cell[:40]) for cell in first[:8]) + (", ..." if len(first) > 8 else "")
        if self._wanted.option:
            raise DataError(
                f"{self.where}: its first row has no column '{wanted[0]}', which {self._wanted.option} names. It "
                f"begins with: {shown}{form.told}"
            )
        raise DataError(
            f"{self.where}: its first row names no column that the model needs. It begins with: {shown}. The model "
            f"needs: {', '.join(wanted[:20])}{f' and {len(wanted) - 20} more' if len(wanted) > 20 else ''}"
            f"{self._wanted.hint}{form.told}"
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


def _delimiter(sample: str, wanted: Wanted, form: NewFormat) -> tuple[str, list[str]]:
    """Returns the delimiter that gives most of the wanted columns, else that of the run, else most columns; and the
    first row as it cuts it. One that was given for this file is the only one.
    """
    given = NAMED.get(form.delimiter, form.delimiter)
    if "delimiter" in form.given:
        return given, first_record(sample, given, quoting=wanted.quoting)
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
