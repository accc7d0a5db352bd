"""Texts from outside: a line each, a column of a table, or a list in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dltrain import arrow
from dltrain.errors import ConfigError
from dltrain.prediction.lines import Lines, is_whole, open_lines
from dltrain.prediction.records import DELIMITERS, first_record
from dltrain.prediction.rows import Rows
from dltrain.prediction.tables import text_table
from dltrain.prediction.typed_tables import is_parquet, parquet_table
from dltrain.prediction.wanted import NewFormat, NewTable, Wanted

# What the texts are called where they stand in no table.
TEXT = "text"

_TABLES = (".csv", ".tsv")


class LinesTable(NewTable):
    """A text a line; an empty line is an empty text."""

    def __init__(self, lines: Lines) -> None:
        self.where, self.names, self._lines = lines.where, [TEXT], lines
        self.notes = [] if lines.encoding == "utf-8" else [f"{lines.where} is read as {lines.encoding.upper()}"]

    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        numbers: list[int] = []
        texts: list[str] = []
        for line in self._lines:
            numbers.append(self._lines.number)
            texts.append(line.rstrip("\r\n"))
            if len(texts) >= most or self._lines.would_wait:
                yield self._some(numbers, texts)
                numbers, texts = [], []
        if texts:
            yield self._some(numbers, texts)

    def close(self) -> None:
        self._lines.close()

    def _some(self, numbers: list[int], texts: list[str]) -> Rows:
        problems: dict[int, str] = {}
        if self._lines.has_bad_bytes:
            bad = [place for place, text in enumerate(texts) if not is_whole([text])]
            problems = dict.fromkeys(bad, f"it holds bytes that are not {self._lines.encoding.upper()}")
            texts = ["" if place in problems else text for place, text in enumerate(texts)]
        return Rows(numbers, {TEXT: arrow.strings(texts)}, problems)


class ListTable(NewTable):
    """Texts in memory, called by their places from 1."""

    def __init__(self, texts: Sequence[Any]) -> None:
        self.where, self.names, self.notes, self._texts = "the list", [TEXT], [], texts

    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        for first in range(0, len(self._texts), most):
            part = list(self._texts[first : first + most])
            problems = {
                place: f"it is no text but {type(text).__name__}"
                for place, text in enumerate(part)
                if not isinstance(text, str)
            }
            texts = [text if isinstance(text, str) else None for text in part]
            yield Rows(range(first + 1, first + 1 + len(part)), {TEXT: arrow.strings(texts)}, problems)


def open_texts(
    path: Path | None, wanted: Wanted, form: NewFormat, *, as_lines: bool = False, is_table: bool = False
) -> tuple[NewTable, str]:
    """Opens texts: a table where the name says so or the first line names the column among others, else lines.

    Args:
        path: None is standard input.
        wanted: the one column of a table, that with the texts.
        as_lines: takes a text a line, whatever it looks like.
        is_table: takes a table, whatever it looks like.

    Returns:
        The table, and its column with the texts.

    Raises:
        DataError: it cannot be read, or is a table without that column.
        ConfigError: it is Parquet, and is told to be text.
    """
    (column,) = wanted.columns
    if path is not None and not path.is_fifo():
        if as_lines and is_parquet(path):
            raise ConfigError(f"--lines: {path} is Parquet, which has no lines. Leave out --lines")
        typed = parquet_table(path, wanted, form)
        if typed is not None:
            return typed, column
    newline = "" if wanted.quoting and not as_lines else "\n"
    lines = open_lines(path, form.encoding, newline=newline, is_given="encoding" in form.given)
    if as_lines:
        return LinesTable(lines), TEXT
    if is_table or (path is not None and path.name.lower().removesuffix(".gz").endswith(_TABLES)):
        return text_table(lines, wanted, form), column
    sample = lines.ahead()
    rows = [first_record(sample, delimiter, quoting=wanted.quoting) for delimiter in DELIMITERS]
    if any(column in row for row in rows):
        return text_table(lines, wanted, form), column
    return LinesTable(lines), TEXT
