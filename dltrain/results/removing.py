"""Removing folders of runs and sweeps, each of them whole or not at all, and what of a sweep leads to them."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dltrain import run_folder
from dltrain.errors import DltrainError, MachineError
from dltrain.results import folders

CHECKPOINTS = "checkpoints"
_LEADERBOARD, _FOLDER = "leaderboard.csv", "folder"


@dataclass(frozen=True)
class Item:
    """One folder that is to be removed.

    Attributes:
        path: the folder.
        locks: lock files to be held meanwhile, so that nobody begins to work there.
        busy: those that nobody may hold: of a sweep's trials, which may be thousands.
        size: bytes of all its files.
        what: of which run or sweep it is.
    """

    path: str
    locks: list[str]
    busy: list[str]
    size: int
    what: str


def remove(items: Sequence[Item]) -> list[Item]:
    """Removes folders, each by renaming it first, so that a run is there whole or not at all.

    Whatever ends the process midway, the runs that are left are whole; what was renamed is removed the next time.

    Returns:
        What was removed.

    Raises:
        MachineError: some could not be; all others are.
    """
    _clear()
    removed, problems = [], []
    try:
        for item in items:
            try:
                trash = _set_aside(item)
            except (OSError, DltrainError) as error:
                problems.append(f"{item.path} stays: {_reason(error)}")
                continue
            removed.append(item)
            try:
                _destroy(item, trash)
            except OSError as error:
                problems.append(
                    f"of {item.path} something is left in {trash}: {_reason(error)}. The next prune tries again"
                )
    except KeyboardInterrupt:
        _clear()
        _unlink(items)
        left = sum(Path(item.path).exists() for item in items)
        print(f"{len(items) - left:,} of {len(items):,} are removed, the others are as they were", file=sys.stderr)
        raise
    problems += _unlink(removed)
    if problems:
        raise MachineError("\n".join(problems))
    return removed


def _unlink(items: Sequence[Item]) -> list[str]:
    """Takes the trials that are gone out of the links of their sweeps' leaderboards; returns what went wrong."""
    problems = []
    for sweep in dict.fromkeys(sweep for item in items if (sweep := folders.sweep_of(item.path)) is not None):
        lock = f"{sweep}/{folders.SWEEP_LOCK}"
        if folders.is_held(lock):  # whoever runs the sweep writes its leaderboard anew
            continue
        try:
            with _held([lock]):
                without_links(Path(sweep, _LEADERBOARD))
        except (OSError, ValueError, csv.Error, DltrainError) as error:
            problems.append(f"{sweep}/{_LEADERBOARD} still names the folders of trials that are gone: {_reason(error)}")
    return problems


def without_links(leaderboard: Path) -> None:
    """Empties the column ``folder`` of trials whose folders are gone. What else it says of them stays: they were tried.

    Raises:
        OSError, ValueError, csv.Error: it cannot be read.
        MachineError: it cannot be written.
    """
    if not leaderboard.exists():
        return
    with leaderboard.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    if not rows or _FOLDER not in rows[0]:
        return
    place = rows[0].index(_FOLDER)
    gone = [
        row for row in rows[1:] if len(row) > place and row[place] and not (leaderboard.parent / row[place]).is_dir()
    ]
    for row in gone:
        row[place] = ""
    if gone:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        run_folder.write_file(leaderboard, text.getvalue())


def _reason(error: Exception) -> object:
    return getattr(error, "strerror", None) or error


def _set_aside(item: Item) -> Path:
    """Renames a folder, from when on it is no run any more, and returns its new name.

    Raises:
        OSError, DltrainError: it stays as it is.
    """
    folder = Path(item.path)
    with _held(item.locks):
        if folder.is_symlink() or any(map(folders.is_held, item.busy)):
            raise MachineError("it is a link" if folder.is_symlink() else "it is being trained")
        trash = folder.with_name(f"{folders.TRASH}{run_folder.random_letters()}-{folder.name}")
        folder.rename(trash)
    return trash


def _destroy(item: Item, trash: Path) -> None:
    """
    Raises:
        OSError: something of it is left.
    """
    for name in (folders.CONFIG, folders.PLAN):  # no run any more for those either that look into hidden folders
        (trash / name).unlink(missing_ok=True)
    shutil.rmtree(trash)
    folder = Path(item.path)
    above = folder.parent
    if folder.name != CHECKPOINTS and run_folder.RUNS in above.parents and above.name not in ("trials", "sweeps"):
        with contextlib.suppress(OSError):  # it holds other runs
            above.rmdir()  # of a day, or of a trial with several runs


@contextlib.contextmanager
def _held(locks: Sequence[str]) -> Iterator[None]:
    """Holds locks, so that nobody begins to train meanwhile.

    Raises:
        MachineError: another process has one.
    """
    with contextlib.ExitStack() as stack:
        for name in locks:
            path = Path(name)
            before = path.stat() if path.exists() else None
            stack.enter_context(run_folder.lock(path, f"{path.parent} is being trained by another process"))
            if before is None:
                stack.callback(path.unlink, missing_ok=True)
            else:  # its time says when the run was trained last
                stack.callback(_date, path, (before.st_atime_ns, before.st_mtime_ns))
        yield


def _date(path: Path, times: tuple[int, int]) -> None:
    if path.exists():
        os.utime(path, ns=times)


def _clear() -> None:
    """Removes what a removal left that was ended midway."""
    root, name = run_folder.RUNS, f"{folders.TRASH}*"
    inside = ("", "*/", "*/*/", "sweeps/*/trials/", "sweeps/*/trials/*/", "sweeps/*/trials/*/*/")
    for path in [path for place in inside for path in root.glob(f"{place}{name}")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
