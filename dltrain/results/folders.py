"""Finding thousands of run folders at once: the same as ``run_folder.all_runs`` finds, by as few calls as can be."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dltrain.console import log

CONFIG, RESULT, ROWS, LOCK = "config.yaml", "result.json", "metrics.jsonl", "run.lock"
PLAN, SWEEP_LOCK = "multirun.yaml", "sweep.lock"

# What was renamed so that it is no run any more, and is being removed.
TRASH = ".removed-"


def single_runs(root: Path) -> Iterator[str]:
    """Yields the folders of runs that are no trials of a sweep: ``root/NAME`` and ``root/DATE/NAME``."""
    for path in _inside(str(root)):
        if path.endswith("/sweeps"):
            continue
        if is_run(path):
            yield path
        else:
            yield from filter(is_run, _inside(path))


def sweeps(root: Path) -> list[str]:
    """Returns the folders of sweeps, in the order of their names, which begin with the time."""
    return sorted(path for path in _inside(f"{root}/sweeps") if is_sweep(path))


def trials(sweep: str) -> Iterator[str]:
    """Yields the run folders of a sweep: of each trial, or of the several runs of one."""
    for path in _inside(f"{sweep}/trials"):
        if is_run(path):
            yield path
        else:
            yield from filter(is_run, _inside(path))


def num_trials(sweep: str) -> int:
    return sum(1 for _ in _inside(f"{sweep}/trials"))


def is_run(path: str) -> bool:
    return os.path.exists(f"{path}/{CONFIG}")  # noqa: PTH110 (a Path costs more than the call)


def is_sweep(path: str) -> bool:
    return os.path.exists(f"{path}/{PLAN}")  # noqa: PTH110


def sweep_of(path: str) -> str | None:
    """Returns the sweep that a run is a trial of; None where it is none."""
    parts = path.split("/")
    if "trials" not in parts[1:]:
        return None
    sweep = "/".join(parts[: len(parts) - 1 - parts[::-1].index("trials")])
    return sweep if is_sweep(sweep) else None


def _inside(folder: str) -> list[str]:
    """Returns the folders in a folder, hidden ones left out; of one that cannot be read the log says so."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.name[0] != "." and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        log.warning("%s cannot be looked into: %s", folder, error.strerror)
        return []


def is_held(lock_file: str) -> bool:
    """Tells whether a process holds a lock file, as a run's while it is trained.

    It is asked for by a shared lock, which is given back at once: there is no other way that sees other machines too.
    """
    try:
        descriptor = os.open(lock_file, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        for take in (fcntl.flock, fcntl.lockf):
            try:
                take(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
            except (BlockingIOError, PermissionError):
                return True
            except OSError as error:
                if error.errno == errno.EINTR:
                    raise
        return False  # a file system without locks
    finally:
        os.close(descriptor)


def size_of(folder: str) -> int:
    """Returns the bytes of all files below a folder; links are counted as links and not followed."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # it is being removed, or may not be looked into
                if entry.is_dir(follow_symlinks=False):
                    total += size_of(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
