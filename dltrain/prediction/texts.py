"""Texts from outside: a line each, a column of a table, or a list in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dltrain import arrow
from dltrain.data.tables.content import open_table
from dltrain.data.tables.sniffing import Format
from dltrain.prediction.lines import Lines, is_whole, open_lines
from dltrain.prediction.records import DELIMITERS, first_record
from dltrain.prediction.rows import Rows
from dltrain.prediction.tables import NewTable, ParquetTable, Wanted, text_table

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
    path: Path | None, column: str, form: Format, *, quoting: bool = True, as_lines: bool = False
) -> tuple[NewTable, str]:
    """Opens texts: a table where the name says so or the first line names the column among others, else lines.

    Args:
        path: None is standard input.
        column: of a table, that with the texts.
        as_lines: takes what is no Parquet file as lines, whatever it looks like.

    Returns:
        The table, and its column with the texts.

    Raises:
        DataError: it cannot be read, or is a table without that column.
    """
    wanted = Wanted([column], quoting=quoting)
    if path is not None and not path.is_fifo():
        file, is_parquet = open_table(path, str(path))
        file.close()
        if is_parquet:
            return ParquetTable(path, wanted), column
    lines = open_lines(path, form.encoding, newline="" if quoting and not as_lines else "\n")
    if as_lines:
        return LinesTable(lines), TEXT
    if path is not None and path.name.lower().removesuffix(".gz").endswith(_TABLES):
        return text_table(lines, wanted, form), column
    sample = lines.ahead()
    rows = [first_record(sample, delimiter, quoting=quoting) for delimiter in DELIMITERS]
    if any(column in row for row in rows):
        return text_table(lines, wanted, form), column
    return LinesTable(lines), TEXT
