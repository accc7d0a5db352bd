"""Text files: lines and tables of whatever encoding, gzipped or not, read a piece at a time."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dltrain.data.unpacking import unpacked
from dltrain.errors import DataError, did_you_mean, nearest

ENCODINGS = ("auto", "utf-8", "utf-16", "cp949")
ENCODING_MEANING = "Encoding of the file; auto finds UTF-8, UTF-16 with a mark, and CP949."
_CHARACTERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
DELIMITERS = ("auto", *_CHARACTERS, *_CHARACTERS.values())

_PIECE = 2**20
# A cell beyond this is a forgotten quote rather than a text; 2**31 - 1 is what the module can take.
_CELL_LIMIT = 2**24


@dataclass(frozen=True)
class TextFile:
    """A file that is known to be text.

    Attributes:
        key: how messages name it, such as "data.path=reviews.csv".
        encoding: what it really is: utf-8, utf-16 or cp949.
        codec: Python's name of it, which tells the byte order where the file does not.
    """

    path: Path
    key: str
    encoding: str
    codec: str

    @classmethod
    def check(cls, path: Path, encoding: str = "auto", key: str | None = None) -> TextFile:
        """Reads the whole file once to find its encoding, without keeping it.

        Args:
            encoding: one of ``ENCODINGS``.
            key: None names it as ``data.path``.

        Raises:
            DataError: there is no such file, it is empty, or it is not text in that encoding.
        """
        key = f"data.path={path}" if key is None else key
        with _opened(path, key) as file:
            mark = file.read(2)
        if encoding != "auto":
            candidates = [encoding]
        else:
            candidates = ["utf-16"] if mark in (b"\xff\xfe", b"\xfe\xff") else ["utf-8", "cp949"]
        places = []
        for name in candidates:
            is_bare = name == "utf-16" and mark not in (b"\xff\xfe", b"\xfe\xff")
            codec = "utf-16-le" if is_bare else "utf-8-sig" if name == "utf-8" else name
            place = _place_of_bad_byte(path, key, codec)
            if place is None:
                return cls(path, key, name, codec)
            places.append(place)
        names = " or ".join(map(str.upper, candidates))
        raise DataError(f"{key}: {places[0]} is not {names}. Save the file as UTF-8, or give data.encoding")

    @property
    def notes(self) -> list[str]:
        return encoding_notes(self.path, self.encoding)

    @contextlib.contextmanager
    def opened(self, newline: str = "") -> Iterator[io.TextIOWrapper]:
        """Opens it for reading, with the line ends that it has; a byte order mark is left out.

        Args:
            newline: what ends a line; "" is any line end.
        """
        with _opened(self.path, self.key) as file, io.TextIOWrapper(file, self.codec, newline=newline) as text:
            yield text


def encoding_notes(path: Path, encoding: str) -> list[str]:
    """Returns what a person should know of a file's encoding."""
    return [] if encoding == "utf-8" else [f"{path} is read as {encoding.upper()}"]


def read_text(path: Path, encoding: str) -> tuple[str, list[str]]:
    """Reads a text file and returns it with notes about its encoding.

    Raises:
        DataError: there is no such file, it is empty, or it is not in that encoding.
    """
    file = TextFile.check(path, encoding)
    with file.opened() as opened:
        text = opened.read().removeprefix("\ufeff")
    if not text.strip():
        raise DataError(f"{file.key}: the file is empty")
    return text, file.notes


@dataclass(frozen=True)
class TextTable:
    """A text file with a header and columns.

    Attributes:
        delimiter: one character.
        quoting: quotes hold a cell together; without it they are characters like any other.
    """

    file: TextFile
    delimiter: str
    quoting: bool
    columns: tuple[str, ...]

    @classmethod
    def check(
        cls, file: TextFile, wanted: dict[str, str], *, delimiter: str = "auto", quoting: bool = True
    ) -> TextTable:
        """Reads the header.

        Args:
            wanted: setting -> the column that it names.
            delimiter: one of ``DELIMITERS``; auto takes that which gives the wanted columns, or the most columns.

        Raises:
            DataError: there is no header, or it lacks a wanted column.
        """
        with file.opened() as text:
            header = text.readline(_PIECE)
            while header and not header.strip():
                header = text.readline(_PIECE)
        if not header:
            raise DataError(f"{file.key}: the file is empty")
        tried = [_CHARACTERS.get(delimiter, delimiter)] if delimiter != "auto" else list(_CHARACTERS.values())
        tables = [cls(file, character, quoting, _cells(header, character, quoting)) for character in tried]
        table = max(tables, key=lambda t: (len(set(wanted.values()) & set(t.columns)), len(t.columns)))
        table._require(wanted)
        return table

    def _require(self, wanted: dict[str, str]) -> None:
        for setting, column in wanted.items():
            if column not in self.columns:
                close = nearest(column, self.columns)
                hint = f" Did you mean '{close}'?" if close is not None else ""
                there = ", ".join(name[:60] for name in self.columns[:30]) + (", ..." if len(self.columns) > 30 else "")
                single = ". With a single column found, try another data.delimiter" if len(self.columns) == 1 else ""
                raise DataError(
                    f"{self.file.key}: data.{setting}={column} is no column of it.{hint} There is: {there}{single}"
                )
            if self.columns.count(column) > 1:
                raise DataError(f"{self.file.key}: several columns are named {column}. Rename all but one")

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Yields (number, cells of these columns) of each row; the header is row 1, blank rows are passed over.

        Raises:
            DataError: a row with another number of cells than the header, or a quote that does not end.
        """
        places = [self.columns.index(column) for column in columns]
        with self.file.opened("" if self.quoting else "\n") as text:
            header = False
            for number, cells in self._records(text):
                if not cells or (len(cells) == 1 and not cells[0].strip() and len(self.columns) > 1):
                    continue
                if not header:
                    header = True
                    continue
                if len(cells) != len(self.columns):
                    raise DataError(self._other_number(number, len(cells)))
                yield number, [cells[place] for place in places]

    def _records(self, text: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
        if not self.quoting:
            for number, line in enumerate(text, 1):
                yield number, line.rstrip("\r\n").split(self.delimiter)
            return
        before = csv.field_size_limit(_CELL_LIMIT)
        reader = csv.reader(text, delimiter=self.delimiter, strict=True)
        number = 0
        try:
            for number, cells in enumerate(reader, 1):
                yield number, cells
        except csv.Error as error:
            raise DataError(
                f"{self.file.key}: row {number + 1} (line {reader.line_num}) cannot be read: {error}. "
                "Where quotes are characters like any other, give data.quoting=false"
            ) from error
        finally:
            csv.field_size_limit(before)

    def _other_number(self, number: int, count: int) -> str:
        cells = "cell" if count == 1 else "cells"
        character = {"\t": "tab", ",": "comma"}.get(self.delimiter, self.delimiter)
        hint = "put it in quotes" if self.quoting else "take it out"
        return (
            f"{self.file.key}: row {number} has {count} {cells}, and the header has {len(self.columns)}. "
            f"Where a text holds a {character}, {hint}"
        )


def _cells(header: str, delimiter: str, quoting: bool) -> tuple[str, ...]:
    """Returns the names of the columns; without quoting where the quotes of the line do not match."""
    line = header.rstrip("\r\n").removeprefix("\ufeff")
    if quoting:
        with contextlib.suppress(csv.Error):
            return tuple(name.strip() for name in next(csv.reader([line], delimiter=delimiter, strict=True)))
    return tuple(name.strip() for name in line.split(delimiter))


@contextlib.contextmanager
def _opened(path: Path, key: str) -> Iterator[BinaryIO]:
    """Opens a file as bytes, unpacked if it is gzipped.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{key}: this is no ordinary file; give a text file")
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            yield unpacked(file) if zipped else file
    except FileNotFoundError as error:
        folder = path.parent
        files = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        hint = did_you_mean(path.name, files)
        if len(files) > 12:  # too many to list
            hint = hint.partition(" There is:")[0]
        raise DataError(f"{key}: there is no such file in {folder.resolve()}.{hint}") from error
    except IsADirectoryError as error:
        raise DataError(f"{key}: this is a folder; give a text file") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{key}: the gzip file is damaged ({error}). Fetch it again") from error
    except OSError as error:
        raise DataError(f"{key}: cannot be read: {error.strerror}") from error


def _place_of_bad_byte(path: Path, key: str, codec: str) -> str | None:
    """Returns "byte B (line L)", the first place that this codec cannot read, or None.

    Raises:
        DataError: it is, and holds NUL characters.
    """
    decoder = codecs.getincrementaldecoder("utf-8" if codec == "utf-8-sig" else codec)()
    offset, lines, has_nul = 0, 1, False
    with _opened(path, key) as file:
        piece = b"..."
        while piece:
            piece = file.read(_PIECE)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(error.encoding, "ignore")  # with the byte order found
                return f"byte {offset - pending + error.start} (line {lines + good.count(chr(10))})"
            has_nul = has_nul or "\0" in text
            offset += len(piece)
            lines += text.count("\n")
    if has_nul:
        raise DataError(f"{key}: holds NUL characters, so it is not a text file")
    return None
