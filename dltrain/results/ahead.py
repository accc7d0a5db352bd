"""Asking for many files at once where each of them has to be waited for: on a disk whose cache is cold, a network.

Whether that is so is seen at the first ones: how often the thread waited, which other work on the machine does not
change. Files that lie in memory are asked for one after another, which is faster than through threads.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
from collections.abc import Callable, Sequence
from typing import TypeVar

Answer = TypeVar("Answer")

# So many are tried first; where half of them or more are waited for, so will be the rest.
_TRIED = 32

_THREADS, _CHUNK = 8, 64

# What Linux has and macOS lacks.
_advise = getattr(os, "posix_fadvise", None)
_WHOSE = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # other threads, as a notebook has them, wait too


def waits() -> int:
    """Returns how often this thread has stopped to wait so far; being displaced by another process does not count."""
    return resource.getrusage(_WHOSE).ru_nvcsw


def each(ask: Callable[[str], Answer], paths: Sequence[str]) -> list[Answer]:
    """Returns what a function says of each path, by several threads where the first ones have to be waited for."""
    before = waits()
    answers = [ask(path) for path in paths[:_TRIED]]
    rest = paths[_TRIED:]
    if not rest or waits() - before < _TRIED / 2:
        return [*answers, *map(ask, rest)]
    from concurrent.futures import ThreadPoolExecutor

    chunks = [rest[start : start + _CHUNK] for start in range(0, len(rest), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as threads:
        return [*answers, *itertools.chain.from_iterable(threads.map(lambda chunk: list(map(ask, chunk)), chunks))]


def fetch(paths: Sequence[str]) -> bool:
    """Lets the system read small files, of which the caller reads all next, into its cache, where they are not there.

    Returns:
        Whether it was asked to.
    """
    if _advise is None or len(paths) <= _TRIED:
        return False
    tried = paths[:: len(paths) // _TRIED]
    before = waits()
    for path in tried:
        _open_and(path, lambda descriptor: os.read(descriptor, 1))
    if waits() - before < len(tried) / 2:
        return False
    advise, will_need = _advise, os.POSIX_FADV_WILLNEED
    each(lambda path: _open_and(path, lambda descriptor: advise(descriptor, 0, 0, will_need)), paths)
    return True


def _open_and(path: str, use: Callable[[int], object]) -> None:
    with contextlib.suppress(OSError):  # whoever reads the file says so
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # something else than a file may have its name
        try:
            use(descriptor)
        finally:
            os.close(descriptor)
