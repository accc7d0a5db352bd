"""Numbered lines of text, from a file or as they come through a pipe."""

from __future__ import annotations

import codecs
import gzip
import io
import select
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from dltrain.console import log
from dltrain.data.tables.content import codec_of, open_table
from dltrain.errors import DataError

STANDARD_INPUT = "standard input"

_PIECE = 2**18
_LONGEST_LINE = 2**24
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Lines(Iterator[str]):
    """Lines with their ends.

    Bytes that the encoding has not are kept as lone surrogates (PEP 383), so that they spoil no other line.

    Attributes:
        number: of the line that was given last, from 1.
        has_bad_bytes: some were found so far.
    """

    def __init__(
        self,
        file: BinaryIO,
        encoding: str,
        where: str,
        *,
        newline: str = "",
        begin: bytes = b"",
        is_ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        Args:
            newline: what ends a line; "" is any line end.
            begin: bytes that were read of the file already.
            is_ready: tells whether reading would give something at once.
        """
        self.where, self.encoding, self.number, self.has_bad_bytes = where, encoding, 0, False
        self._file, self._newline, self._begin, self._is_ready = file, newline, begin, is_ready
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._lines: deque[str] = deque()
        self._rest = ""
        self._at_start, self.ended = True, False

    def __next__(self) -> str:
        self._wait_for_line()
        if not self._lines:
            raise StopIteration
        self.number += 1
        return self._lines.popleft()

    def put_back(self, lines: Iterable[str]) -> None:
        """Gives these lines once more, the last ones that were given."""
        again = list(lines)
        self._lines.extendleft(reversed(again))
        self.number -= len(again)

    def ahead(self) -> str:
        """Returns what is at hand of the lines to come: one at least, unless all have come."""
        self._wait_for_line()
        return "".join(self._lines)

    @property
    def would_wait(self) -> bool:
        """Tells whether the next line may take its time to come."""
        return not self._lines and not self.ended and not self._is_ready()

    def close(self) -> None:
        if self._file is not _standard_input():
            self._file.close()

    def _wait_for_line(self) -> None:
        while not self._lines and not self.ended:
            self._fill()

    def _fill(self) -> None:
        piece = self._begin or _read(self._file, self.where)
        self._begin, self.ended = b"", not piece
        text = self._decoded(piece)
        if self._at_start and text:
            text, self._at_start = text.removeprefix("\ufeff"), False
        if "\0" in text:
            raise DataError(
                f"{self.where}: holds NUL characters, so it is not a text file, or one in UTF-16 without its mark: "
                "save it as UTF-8"
            )
        self._lines.extend(io.StringIO(self._rest + text, newline=self._newline))
        self._rest = ""
        if self._lines and not self.ended and not self._lines[-1].endswith("\n"):  # \r may be half of \r\n
            self._rest = self._lines.pop()
            if len(self._rest) > _LONGEST_LINE:
                line = self.number + len(self._lines) + 1
                raise DataError(f"{self.where}: line {line} has more than {_LONGEST_LINE:,} characters: is it a text?")

    def _decoded(self, piece: bytes) -> str:
        state = self._decoder.getstate()
        try:
            return self._decoder.decode(piece, final=self.ended)
        except UnicodeError:
            self._decoder.setstate(state)
            self._decoder.errors, self.has_bad_bytes = "surrogateescape", True
        try:
            return self._decoder.decode(piece, final=self.ended)
        except UnicodeError as error:  # UTF-16 without its mark, or half a character of it, which no surrogate keeps
            raise DataError(
                f"{self.where}: it is not {self.encoding.upper()}, or damaged ({getattr(error, 'reason', error)}): "
                "save it as UTF-8"
            ) from error


def is_whole(texts: Iterable[str]) -> bool:
    """Tells whether texts have no byte that their encoding has not."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def open_lines(path: Path | None, encoding: str, *, newline: str = "", is_given: bool = False) -> Lines:
    """Opens a file of text, packed with gzip or not, or standard input where ``path`` is None.

    Args:
        encoding: what to take where a text is not UTF-8; "auto" takes UTF-16 where its mark stands, else CP949.
        is_given: the encoding was given for this very file, and holds whatever its bytes look like.

    Raises:
        DataError: there is no such file, it cannot be read, or is no text.
    """
    if path is None or path.is_fifo():
        return _of_stream(path, encoding, newline, is_given)
    where = str(path)
    file, _ = open_table(path, where)
    with file:
        _refuse(start := _read(file, where, 16), where)

    def opened() -> BinaryIO:
        return open_table(path, where)[0]

    found = codec_of(encoding, start) if is_given else _encoding_of_file(opened, encoding, where)
    return Lines(opened(), found, where, newline=newline)


def _of_stream(path: Path | None, encoding: str, newline: str, is_given: bool) -> Lines:
    """Opens what can be read once: its encoding is told from what comes first."""
    where = STANDARD_INPUT if path is None else str(path)
    file = _standard_input() if path is None else cast("BinaryIO", path.open("rb"))
    if file is None:
        raise DataError("standard input is closed: give a file, or pipe something in")
    if path is None and sys.stdin.isatty():
        log.info("reading from the terminal; Ctrl-D on a line of its own ends it")
    begin = _read(file, where)
    packed = next((kind for magic, kind in _PACKED.items() if begin.startswith(magic)), None)
    if packed is not None:
        raise DataError(f"{where} is packed with {packed}: unpack it on the way, as in zcat FILE | dltrain predict ...")
    if begin.startswith(b"PAR1"):
        raise DataError(f"{where} is a Parquet file, which is not read through a pipe: name the file")
    _refuse(begin, where)

    def is_ready() -> bool:
        try:
            return bool(select.select([file.fileno()], [], [], 0)[0])
        except (OSError, ValueError):  # it is no file of the system's
            return True

    tried = (name for name in _candidates(begin, encoding) if _reads(name, [begin], whole=False))
    found = codec_of(encoding, begin) if is_given else next(tried, "utf-8")
    return Lines(file, found, where, newline=newline, begin=begin, is_ready=is_ready)


def _standard_input() -> BinaryIO | None:
    return None if sys.stdin is None else sys.stdin.buffer


def _read(file: BinaryIO, where: str, size: int = _PIECE) -> bytes:
    """Returns what comes next, not more than is at hand; nothing at the end.

    Raises:
        DataError: it cannot be read.
    """
    try:
        read: Any = getattr(file, "read1", file.read)
        piece: bytes = read(size)
        return piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{where}: the gzip file is cut off or damaged: get or make it again") from error
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror}") from error


def _refuse(start: bytes, where: str) -> None:
    """
    Raises:
        DataError: it is an image, or there is nothing.
    """
    if not start:
        raise DataError(f"{where} is empty" if where == STANDARD_INPUT else f"{where}: the file is empty")
    if start.startswith(_IMAGES) or (start.startswith(b"RIFF") and b"WEBP" in start[:16]):
        raise DataError(f"{where}: this is an image, and this run's model takes no images")


# --- encodings --------------------------------------------------------------------------------------------


def _candidates(start: bytes, given: str) -> list[str]:
    """Returns the encodings to try, in this order: what reads as UTF-8 is hardly ever anything else."""
    marked = ["utf-16"] if start.startswith(_UTF_16_MARKS) else []
    known = [] if given == "auto" else [given]
    # UTF-16 without a mark reads most of what has an even number of bytes; as CP949, its spaces and line ends are NULs.
    bare = [codec_of(given, start)] if given == "utf-16" else []
    return list(dict.fromkeys([*marked, "utf-8", *known, "cp949", *bare]))


def _encoding_of_file(opened: Callable[[], BinaryIO], given: str, where: str) -> str:
    """Returns the first encoding that reads all of a file; UTF-8 where none does, so that only some rows are lost."""
    with opened() as file:
        candidates = _candidates(_read(file, where, 4), given)
    for name in candidates:
        with opened() as file:
            if _reads(name, iter(lambda file=file: _read(file, where), b""), whole=True):  # type: ignore[misc]
                return name
    return "utf-8"


def _reads(encoding: str, pieces: Iterable[bytes], *, whole: bool) -> bool:
    """Tells whether an encoding has all the bytes, and makes text of them.

    Args:
        whole: nothing comes after them.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in pieces:
            if "\0" in decoder.decode(piece):
                return False
        decoder.decode(b"", final=whole)
    except UnicodeError:
        return False
    return True
