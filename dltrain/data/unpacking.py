"""gzip files that strangers send: what unpacks to far more than data do is refused before it fills the memory."""

from __future__ import annotations

import gzip
import io
import os
from typing import BinaryIO, cast

# Tables of little but zeros are packed to a hundredth; the most that gzip can do is a thousandth.
_MOST_TIMES = 300
_ALWAYS_ALLOWED = 2**26


class BombError(OSError):
    """A gzip file unpacks to far more than data do."""


class _Unpacked(io.RawIOBase):
    def __init__(self, packed: BinaryIO) -> None:
        size = os.fstat(packed.fileno()).st_size
        self._packed, self._file = packed, gzip.GzipFile(fileobj=packed)
        self._left = max(_ALWAYS_ALLOWED, _MOST_TIMES * size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            problem = f"it unpacks to more than {_MOST_TIMES} times its size, so it is no data. Do not trust it"
            raise BombError(None, problem)
        return count

    def close(self) -> None:
        self._file.close()
        self._packed.close()
        super().close()


def unpacked(packed: BinaryIO) -> BinaryIO:
    """Returns the content of an open gzip file, which is closed with it.

    While it is read, ``BombError`` says that it unpacks to too much; its ``strerror`` is for a person.
    """
    return cast("BinaryIO", io.BufferedReader(_Unpacked(packed), 2**17))
