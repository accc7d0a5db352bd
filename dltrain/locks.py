"""Locks that end with the process that holds them: two processes never write one folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from dltrain.console import log
from dltrain.errors import MachineError

# What file systems say that have no such locks, as some network ones do.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def lock(path: Path, busy: str) -> Iterator[None]:
    """Holds a lock file, whose lock ends with the process.

    Args:
        busy: what to say where another process holds it.

    Raises:
        MachineError: another process holds it, or it cannot be written.
    """
    descriptor = _open(path)
    try:
        while True:
            if not _take(descriptor, path):
                owner = os.read(descriptor, 100).decode().strip() or "unknown"
                raise MachineError(f"{busy} (number {owner}). Wait for it, or stop it; then try again")
            if _is_still_there(descriptor, path):
                break
            os.close(descriptor)  # the process that held it has removed it: nobody else would see this lock
            descriptor = _open(path)
        with contextlib.suppress(OSError):  # on a full disk; the number only helps whom the lock keeps out
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise MachineError(f"{path.parent} cannot be written: {error.strerror}") from error


def _take(descriptor: int, path: Path) -> bool:
    """Takes the lock: BSD's, else POSIX's, else none; returns False where another process holds it."""
    for take in (fcntl.flock, fcntl.lockf):
        try:
            take(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise MachineError(f"{path} cannot be locked: {error.strerror}") from error
            reason = error.strerror
    _warn_of_no_locks(path.parent, reason)
    return True


@functools.cache
def _warn_of_no_locks(folder: Path, reason: str) -> None:
    log.warning(
        "%s: its file system has no locks (%s), so nothing keeps a second process from training there as well. Do not "
        "start one, or take a folder on another file system with run_dir=...",
        folder,
        reason,
    )


def _is_still_there(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
