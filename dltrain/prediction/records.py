"""Lines cut into the records of a table: what cannot be cut is one bad record, and the next line goes on as before."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from dltrain.data.tables.spelling import composed
from dltrain.prediction.lines import Lines, is_whole

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
NAMED = {"comma": ",", "tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|", "space": " "}

_CELL_LIMIT = 2**24

# The line in which a record begins, and its cells or why it has none.
Record = tuple[int, list[str] | str]


class _Feed(Iterator[str]):
    """Lines for the csv module, which are remembered until the next record."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.taken: list[str] = []

    def __next__(self) -> str:
        line = next(self.lines)
        self.taken.append(line)
        return line


def records(lines: Lines, delimiter: str, width: int, *, quoting: bool = True) -> Iterator[Record]:
    """Yields each record that is not blank.

    Args:
        width: cells that a record has.
        quoting: quotes hold a cell together; without it they are characters like any other.
    """
    cut = _quoted(lines, delimiter, width) if quoting else _plain(lines, delimiter)
    for number, cells in cut:
        if isinstance(cells, str):
            yield number, cells
        elif not cells or (width > 1 and len(cells) == 1 and not cells[0].strip()):
            continue
        elif lines.has_bad_bytes and not is_whole(cells):
            yield number, f"it holds bytes that are not {lines.encoding.upper()}"
        elif len(cells) != width:
            yield number, f"it has {len(cells)} cell{'' if len(cells) == 1 else 's'}, and the header has {width}"
        else:
            yield number, cells


def _plain(lines: Lines, delimiter: str) -> Iterator[Record]:
    for line in lines:
        yield lines.number, line.rstrip("\r\n").split(delimiter)


def _quoted(lines: Lines, delimiter: str, width: int) -> Iterator[Record]:
    """Yields records; of one that runs over lines because a quote was left open, the first line alone is bad."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter)
    before = csv.field_size_limit(_CELL_LIMIT)
    try:
        while True:
            feed.taken, first = [], lines.number + 1
            cells: list[str] | str
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                cells = f"it cannot be read: {error}"
            if len(feed.taken) > 1 and (
                isinstance(cells, str) or len(cells) != width or not _is_well_quoted(feed.taken, delimiter)
            ):
                lines.put_back(feed.taken[1:])
                cells = 'a quotation mark (") is left open in it'
            yield first, cells
    finally:
        csv.field_size_limit(before)


def _is_well_quoted(lines: list[str], delimiter: str) -> bool:
    """Tells whether lines are one record whose quotes all end before a delimiter or the end."""
    try:
        return len(list(csv.reader(lines, delimiter=delimiter, strict=True))) == 1
    except csv.Error:
        return False


def first_record(text: str, delimiter: str, *, quoting: bool = True) -> list[str]:
    """Returns the cells of the first record of a text that is not blank, without white space and composed (NFC)."""
    lines = (line for line in io.StringIO(text, newline="") if line.strip())
    if not quoting:
        return [composed(cell.strip()) for cell in next(lines, "").rstrip("\r\n").split(delimiter)]
    try:
        return [composed(cell.strip()) for cell in next(csv.reader(lines, delimiter=delimiter), [])]
    except csv.Error:
        return []


def printable(text: str) -> str:
    """Returns a text with a question mark for each byte that its encoding has not."""
    return text.encode(errors="replace").decode()


def named(header: list[str]) -> tuple[list[str], list[str]]:
    """Returns the names of the columns, each another one as in training, and a note for each that had to be changed."""
    names: list[str] = []
    notes: list[str] = []
    for place, cell in enumerate(header, 1):
        name = printable(cell) or f"column_{place}"
        if name in names:
            new = next(f"{name}_{k}" for k in range(2, len(header) + 2) if f"{name}_{k}" not in names)
            notes.append(f"there are two columns '{name}': the second one is called '{new}' here")
            name = new
        names.append(name)
    return names, notes
