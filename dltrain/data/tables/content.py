"""The bytes of a table's file: opened, unpacked, checked, and turned into UTF-8 as they are read."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO

from dltrain.data.unpacking import unpacked
from dltrain.errors import DataError, did_you_mean

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
ENCODINGS = ("auto", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp949", "cp1252")

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_NO_TABLES = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet (.xlsx): unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (.xls): save the sheet as CSV",
    b"BZh": "packed with bzip2: unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz: unpack it, or pack it with gzip",
    b"(\xb5/\xfd": "packed with zstd: unpack it, or pack it with gzip",
    b"%PDF": "a PDF document: save the table as CSV",
}
_PIECE = 2**20


class BadByteError(DataError):
    """A byte that the encoding does not have."""


def open_table(path: Path, where: str) -> tuple[BinaryIO, bool]:
    """Opens a file of a table; gzip is unpacked, found by its first bytes.

    Args:
        where: the setting and the path in messages, such as "data.path=my.csv".

    Returns:
        The file, and whether it is Parquet.

    Raises:
        DataError: it is missing, a folder, cannot be read, or is of a kind that holds no table.
    """
    try:
        if path.is_dir():
            raise DataError(f"{where}: this is a folder; give a file")
        if path.exists() and not path.is_file():
            raise DataError(f"{where}: this is no ordinary file")
        file: BinaryIO = path.open("rb")
    except FileNotFoundError as error:
        if path.is_symlink():
            raise DataError(f"{where}: this is a link to {path.readlink()}, which is not there") from error
        raise DataError(f"{where}: there is no such file in {path.parent.resolve()}.{_near(path)}") from error
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise DataError(f"{where}: no file can have this name") from error
    start = file.read(8)
    file.seek(0)
    for magic, kind in _NO_TABLES.items():
        if start.startswith(magic):
            file.close()
            raise DataError(f"{where}: this is {kind}")
    if start.startswith(_GZIP):
        file.seek(0)
        return unpacked(file), False
    return file, start.startswith(_PARQUET)


def _near(path: Path) -> str:
    """Returns the nearest name in the folder, or the names of a small folder."""
    folder = path.parent
    files = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    hint = did_you_mean(path.name, files)
    return hint if len(files) <= 12 else hint.partition(" There is:")[0]


def codec_of(encoding: str, start: bytes) -> str:
    """Returns the codec for an encoding of ``ENCODINGS``; UTF-16 without a mark is read as Windows writes it.

    Args:
        start: the first bytes of the text.
    """
    return "utf-16-le" if encoding == "utf-16" and not start.startswith(_UTF_16_MARKS) else encoding


class Utf8Stream(io.RawIOBase):
    """A file's text as UTF-8 without a mark, checked on the way."""

    def __init__(self, path: Path, where: str, encoding: str) -> None:
        """
        Args:
            encoding: one of ``ENCODINGS`` but "auto".

        Raises:
            DataError: see ``open_table``; while reading, also a bad byte, a NUL, or a broken gzip file.
        """
        super().__init__()
        self.path, self.where, self.encoding = path, where, encoding
        self.file, _ = open_table(path, where)
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.position = 0  # bytes of the unpacked file that the decoder has seen
        self.num_quotes = 0
        self.at_start = True
        self.ended = False
        self.ready = b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.file.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        """Returns at most ``size`` bytes, none at the end."""
        limit = _PIECE if size < 0 else size
        while not self.ready and not self.ended:
            self.ready = self._next(limit)
        answer, self.ready = self.ready[:limit], self.ready[limit:]
        return answer

    def _next(self, size: int) -> bytes:
        try:
            piece = self.file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{self.where}: the gzip file is cut off or damaged: get or make it again") from error
        except OSError as error:
            raise DataError(f"{self.where}: cannot be read: {error.strerror}") from error
        self.ended = not piece
        if not self.position and self.encoding == "utf-16":
            self.decoder = codecs.getincrementaldecoder(codec_of(self.encoding, piece))()
        pending = len(self.decoder.getstate()[0])
        if self.encoding == "utf-8" and not self.at_start and not pending and piece.isascii():
            text_bytes = piece  # the common case at the speed of memory
        else:
            try:
                text = self.decoder.decode(piece, final=self.ended)
            except UnicodeDecodeError as error:
                raise self._bad_byte(self.position - pending + error.start) from error
            if self.at_start and text:
                text, self.at_start = text.removeprefix("\ufeff"), False
            text_bytes = text.encode("utf-8", "surrogatepass")
        if b"\0" in text_bytes:
            raise self._nul()
        self.position += len(piece)
        self.num_quotes += text_bytes.count(b'"')
        return text_bytes

    def _bad_byte(self, offset: int) -> BadByteError:
        return BadByteError(
            f"{self.where}: byte {offset} (line {_line(self.path, self.where, self.encoding, offset)}) is not "
            f"{self.encoding.upper()}. Save the file as UTF-8, or give data.encoding"
        )

    def _nul(self) -> DataError:
        hint = "" if self.encoding.startswith("utf-16") else "; for UTF-16 give data.encoding=utf-16"
        return DataError(f"{self.where}: holds NUL characters, so it is not a text file{hint}")


def _line(path: Path, where: str, encoding: str, offset: int) -> int:
    """Returns the number of the line in which the byte at ``offset`` stands."""
    file, _ = open_table(path, where)
    line, decoder = 1, None
    with file:
        while offset > 0 and (piece := file.read(min(offset, _PIECE))):
            decoder = decoder or codecs.getincrementaldecoder(codec_of(encoding, piece))("ignore")
            line += decoder.decode(piece).count("\n")
            offset -= len(piece)
    return line


def find_encoding(path: Path, where: str) -> str:
    """Returns the encoding to try first: UTF-16 where its mark stands, else UTF-8."""
    file, _ = open_table(path, where)
    with file:
        try:
            start = file.read(2)
        except (EOFError, zlib.error, OSError):  # told again, with its reason, when the file is read
            start = b""
    return "utf-16" if start in _UTF_16_MARKS else "utf-8"
