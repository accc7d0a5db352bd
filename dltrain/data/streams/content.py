"""What tells files from others that are too large to be read whole at each start."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from dltrain.errors import DataError

# Files that together hold no more than this are read whole; of larger ones so much is read, evenly spread.
_BUDGET = 256 * 2**20
_PIECE = 64 * 2**10


def fingerprint(paths: Sequence[str]) -> bytes:
    """Returns the SHA-256 of files' names, sizes and content; beyond 256 MB, of an even sample of the content.

    Raises:
        DataError: a file is gone or cannot be read.
    """
    return _sampled(_stamped(paths))


def cache_key(paths: Sequence[str]) -> str:
    """Returns what decides whether something that was learned from files still holds: their fingerprint, and the times
    at which they were changed, since a sample does not show every change."""
    stamped = _stamped(paths)
    return hashlib.sha256(_sampled(stamped) + repr(stamped).encode("utf-8", "surrogateescape")).hexdigest()


_Stamp = tuple[str, int, int]  # path, size, time of the last change


def _stamped(paths: Sequence[str]) -> tuple[_Stamp, ...]:
    try:
        return tuple((path, (stat := os.stat(path)).st_size, stat.st_mtime_ns) for path in paths)  # noqa: PTH116
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error


@lru_cache(maxsize=16)  # the splits of a data set lie in the same files
def _sampled(files: tuple[_Stamp, ...]) -> bytes:
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{Path(path).name}\0{size}\0".encode("utf-8", "surrogateescape"))
    total = sum(size for _, size, _ in files)
    stride = _PIECE * max(1, -(-total // _BUDGET))  # from the begin of one piece to that of the next
    skip = 0  # bytes of the next file before its first piece
    for path, size, _ in files:
        if skip < size:
            _add_pieces(digest, path, range(skip, size, stride))
        skip = (skip - size) % stride if stride > _PIECE else 0
    return digest.digest()


def _add_pieces(digest: hashlib._Hash, path: str, starts: range) -> None:
    try:
        with Path(path).open("rb") as file:
            for start in starts:
                file.seek(start)
                digest.update(file.read(_PIECE))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
