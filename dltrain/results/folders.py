"""Finding thousands of run folders at once: the same as ``run_folder.all_runs`` finds, by as few calls as can be."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from dltrain.console import log
from dltrain.results import ahead

CONFIG, RESULT, ROWS, LOCK = "config.yaml", "result.json", "metrics.jsonl", "run.lock"
PLAN, SWEEP_LOCK = "multirun.yaml", "sweep.lock"

# What was renamed so that it is no run any more, and is being removed.
TRASH = ".removed-"


def single_runs(root: Path) -> Iterator[str]:
    """Yields the folders of runs that are no trials of a sweep: ``root/NAME`` and ``root/DATE/NAME``."""
    return _runs_among([path for path in _inside(str(root)) if not path.endswith("/sweeps")])


def sweeps(root: Path) -> list[str]:
    """Returns the folders of sweeps, in the order of their names, which begin with the time."""
    return sorted(path for path in _inside(f"{root}/sweeps") if is_sweep(path))


def trials(sweep: str) -> Iterator[str]:
    """Yields the run folders of a sweep: of each trial, or of the several runs of one."""
    return _runs_among(_inside(f"{sweep}/trials"))


def _runs_among(paths: list[str]) -> Iterator[str]:
    """Yields those of some folders that are runs, and the runs in those that are none."""
    are_runs = ahead.each(is_run, paths)
    yield from itertools.compress(paths, are_runs)
    inside = [path for folder, is_one in zip(paths, are_runs, strict=True) if not is_one for path in _inside(folder)]
    yield from itertools.compress(inside, ahead.each(is_run, inside))


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


def newest_first(paths: list[str]) -> list[str]:
    """Returns run folders, the one trained last first; those that were removed a moment ago are left out."""
    timed = zip(ahead.each(_trained, paths), paths, strict=True)
    known = [(when, path) for when, path in timed if when is not None]
    return [path for _, path in sorted(known, key=lambda pair: pair[0], reverse=True)]


def _trained(path: str) -> float | None:
    """Returns when a run's training began or was last gone on with, in seconds since 1970; None where it is gone."""
    for file in (LOCK, CONFIG):
        with contextlib.suppress(OSError):
            return os.stat(f"{path}/{file}").st_mtime  # noqa: PTH116 (a Path costs more than the call)
    return None


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
