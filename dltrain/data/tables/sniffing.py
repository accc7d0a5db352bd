"""Finding out how a text table is written: its delimiter, whether it has a header, its decimal mark."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from dltrain.data.tables.spelling import composed
from dltrain.errors import DataError

SAMPLE_BYTES = 2**18
_SAMPLE_ROWS = 200

# In the order in which they are believed where several fit: a comma also stands in numbers and sentences.
_DELIMITERS = ("\t", ";", "|", ",")
DELIMITER_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}

_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
# Of numbers without their sign and unit. Of "1,234" and "1.234" alone nobody can tell whether they are thousands.
_AROUND = re.compile(r"^[^\d.,]{0,5}|[^\d.,]{0,5}$")
_POINT = re.compile(r"\d*\.\d+([eE][+-]?\d+)?|[1-9]\d{0,2}(,\d{3})+\.\d+")
_COMMA = re.compile(r"\d*,\d+([eE][+-]?\d+)?|[1-9]\d{0,2}(\.\d{3})+,\d+")
_EITHER = {mark: re.compile(rf"[1-9]\d{{0,2}}([{mark}]\d{{3}})+") for mark in ".,"}
_MILLIONS = {mark: re.compile(rf"[1-9]\d{{0,2}}([{mark}]\d{{3}}){{2,}}") for mark in ".,"}


@dataclass(frozen=True)
class Format:
    """How a text table is written; "auto" is to be found out.

    Attributes:
        delimiter: one character, or its name such as "tab".
        header: "auto", "true" or "false": whether the first row holds the columns' names.
        decimal: "auto", "." or ",".
        empty_words: cells with these texts count as empty, besides those with nothing in them.
    """

    delimiter: str
    encoding: str
    header: str
    decimal: str
    empty_words: tuple[str, ...]


@dataclass(frozen=True)
class Dialect:
    """How a text table is written, found out.

    Attributes:
        width: cells of the first row.
        decimal: None where no number of the sample has a fraction.
    """

    delimiter: str
    header: bool
    width: int
    decimal: str | None


def sniff(sample: str, complete: bool, form: Format, names: set[str], where: str) -> Dialect:
    """Finds the dialect from the beginning of a file.

    Args:
        complete: whether the sample is the whole file; else its last row may be cut off.
        names: of columns that the settings mention; a first row that has one is a header.

    Raises:
        DataError: there is nothing in the file, or only one column.
    """
    if not sample.strip():
        raise DataError(f"{where}: the file is empty")
    delimiter = DELIMITER_NAMES.get(form.delimiter, form.delimiter)
    if delimiter == "auto":
        delimiter = _delimiter(sample, complete, where)
    rows = _rows(sample, complete, delimiter)
    header = {"true": True, "false": False}.get(form.header)
    if header is None:
        header = _has_header(rows, names, form)
    body = rows[1:] if header else rows
    decimal = _decimal(body, delimiter) if form.decimal == "auto" else form.decimal
    return Dialect(delimiter, header, len(rows[0]), decimal)


def _rows(sample: str, complete: bool, delimiter: str) -> list[list[str]]:
    """Returns the first rows of the sample, blank ones left out, the first one at least."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) > _SAMPLE_ROWS:
                return rows[:-1]
    except csv.Error:  # a cell larger than the csv module takes
        return rows or [[]]
    return rows if complete or len(rows) < 2 else rows[:-1]


def _delimiter(sample: str, complete: bool, where: str) -> str:
    """Returns the delimiter that cuts most rows into as many cells as the first."""
    best, best_score = "", (False, 0.0)
    for delimiter in _DELIMITERS:
        rows = _rows(sample, complete, delimiter)
        if len(rows[0]) < 2:
            continue
        share = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        score = (share >= 0.9, 0.0 if share >= 0.9 else share)
        if not best or score > best_score:
            best, best_score = delimiter, score
    if best:
        return best
    first = next(line for line in sample.splitlines() if line.strip())
    shown = first if len(first) <= 60 else first[:57] + "..."
    raise DataError(
        f"{where}: only one column was found, where the target and at least one more are needed. The file begins "
        f"with {shown!r}; if its cells are apart by something else than comma, semicolon, tab or |, give "
        "data.delimiter; if a title stands above the table, remove it"
    )


def _has_header(rows: list[list[str]], names: set[str], form: Format) -> bool:
    """Tells whether the first row holds names: no number, and nothing that stands below it in its column."""
    first = [composed(cell.strip()) for cell in rows[0]]
    if names & set(first):
        return True
    if any(_NUMBER.fullmatch(cell) or cell in form.empty_words for cell in first if cell):
        return False
    body = [row for row in rows[1:] if len(row) == len(first)]
    repeated = sum(any(row[i].strip() == cell for row in body) for i, cell in enumerate(first) if cell)
    return repeated == 0


def _decimal(rows: list[list[str]], delimiter: str) -> str | None:
    """Returns the decimal mark that more numbers of the sample have."""
    cells = [_AROUND.sub("", cell) for row in rows for cell in row]
    sure, unsure = dict.fromkeys(".,", 0), dict.fromkeys(".,", 0)
    for cell in cells:
        for mark, pattern in ((".", _POINT), (",", _COMMA)):
            if _MILLIONS[mark].fullmatch(cell):
                sure["," if mark == "." else "."] += 1
            elif _EITHER[mark].fullmatch(cell):
                unsure[mark] += 1
            elif pattern.fullmatch(cell):
                sure[mark] += 1
    if any(sure.values()):
        return "," if sure[","] > sure["."] else "."
    if unsure["."]:
        return "."
    # Semicolons stand between cells where the comma is the decimal mark.
    return "," if unsure[","] and delimiter == ";" else None
