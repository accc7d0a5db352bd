"""The index of runs: what their files said when they were last read, and which state of the files that was.

It lies in ``runs/.index.json``, so that thousands of runs are parsed once. An entry counts only as long as its files
are the very ones that were read; an index that is damaged, or cannot be written, costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.results import ahead, folders, reading
from dltrain.results.reading import ConfigReader, Figures, Outcome, Section
from dltrain.results.record import Run, monitor_of

FILE = ".index.json"
_VERSION = 1

# A file that was changed so shortly ago may change again without a trace: clocks of file systems are coarse.
_SETTLED = 1.0


# Of config.yaml, result.json and run.lock; None of one that is not there.
_Stats = tuple[os.stat_result | None, os.stat_result | None, os.stat_result | None]


@dataclass
class _Entry:
    """What was read of a run.

    Attributes:
        states: of config.yaml, result.json and, where it was needed, metrics.jsonl; "" of one that is not there.
        is_settled: whether the files are old enough for the states to tell any change.
    """

    states: tuple[str, str, str]
    sections: list[Section] | None
    outcome: Outcome
    problems: list[str]
    is_settled: bool = True


class Index:
    """What is known of the runs below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self._prefix = root, f"{root}/"
        self._file = root / FILE
        self._reader: ConfigReader | None = None
        self._entries: dict[str, _Entry] = {}
        self._is_changed = False
        with uncollected():
            self._load()

    def runs(self, paths: Iterable[str]) -> list[Run]:
        """Returns what is known of the runs in some folders, the one trained last first, as ``last`` means it."""
        with uncollected():
            paths, now = list(paths), time.time()
            stats = ahead.each(_stats, paths)
            ahead.fetch(self._unread(paths, stats))
            seen = zip(paths, stats, strict=True)
            found = [run for path, each in seen if (run := self._run(path, each, now)) is not None]
        return sorted(found, key=lambda run: run.trained, reverse=True)

    def _unread(self, paths: list[str], stats: list[_Stats]) -> list[str]:
        """Returns the files that are to be read, as they were or anew."""
        found = []
        for path, (config, result, _) in zip(paths, stats, strict=True):
            if config is not None and not self._is_known(path, (_state(config), _state(result))):
                found += [f"{path}/{folders.CONFIG}", *([f"{path}/{folders.RESULT}"] if result is not None else [])]
        return found

    def _is_known(self, path: str, states: tuple[str, str]) -> bool:
        entry = self._entries.get(path.removeprefix(self._prefix))
        return entry is not None and entry.states[:2] == states

    def _run(self, path: str, stats: _Stats, now: float) -> Run | None:
        """
        Args:
            now: a time before the files were looked at: whatever is written later changes their states.
        """
        config, result, lock = stats
        if config is None:  # it was removed a moment ago
            return None
        name = path.removeprefix(self._prefix)
        entry = self._entries.get(name)
        states = (_state(config), _state(result))
        if entry is None or entry.states[:2] != states:
            entry = self._read(path, *states)
            if entry.sections is None and not folders.is_run(path):  # removed since it was looked at
                return None
            entry.is_settled = _is_settled(config, now) and _is_settled(result, now)
            self._keep(name, entry)
        is_running = False
        trained = (lock or config).st_mtime
        if entry.outcome.status in (None, "running"):
            is_running = folders.is_held(f"{path}/{folders.LOCK}")
            entry = self._with_rows(path, name, entry)
        return _run_of(path, name, entry, trained, is_running)

    def _read(self, path: str, config: str, result: str) -> _Entry:
        self._reader = self._reader or ConfigReader()
        sections, problem = self._reader.read(f"{path}/{folders.CONFIG}")
        problems = [problem] if problem else []
        outcome: Outcome | None = reading.nothing()
        if result:
            outcome, problem = reading.read_result(f"{path}/{folders.RESULT}")
            problems += [problem] if problem else []
        return _Entry((config, result, ""), sections, outcome or reading.nothing("damaged"), problems)

    def _with_rows(self, path: str, name: str, entry: _Entry) -> _Entry:
        """Returns what is known of a run that has no end, with the figures that it has reached."""
        found, now = _stat(f"{path}/{folders.ROWS}"), time.time()
        rows = _state(found)
        if rows == entry.states[2]:
            return entry
        outcome, problem = reading.so_far(f"{path}/{folders.ROWS}", monitor_of(entry.sections or []))
        outcome.status = entry.outcome.status
        others = [text for text in entry.problems if folders.ROWS not in text]
        entry = _Entry(
            (*entry.states[:2], rows),
            entry.sections,
            outcome,
            [*others, *([problem] if problem else [])],
            entry.is_settled and _is_settled(found, now),
        )
        self._keep(name, entry)
        return entry

    def _keep(self, name: str, entry: _Entry) -> None:
        self._entries[name] = entry
        self._is_changed = self._is_changed or entry.is_settled

    # --- the file -----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes what was read, if anything was, whole or not at all; runs that are gone are dropped.

        Of two processes that write at once the later one's file stands; the other reads what it lacks again.
        """
        if not self._is_changed:
            return
        with uncollected(), contextlib.suppress(OSError):
            temporary = self._file.with_name(f"{FILE}.{os.getpid()}.tmp")
            try:
                temporary.write_bytes(self._content())  # not durable: what a power cut leaves is damaged, or older
                temporary.replace(self._file)
            except OSError:  # a folder that may not be written, a full disk
                temporary.unlink(missing_ok=True)
                raise
        self._is_changed = False

    def _content(self) -> bytes:
        numbers: dict[int, int] = {}
        sections: list[Section] = []
        runs, last = {}, []
        for name, entry in self._entries.items():
            if not entry.is_settled or not folders.is_run(f"{self.root}/{name}"):
                continue
            for section in entry.sections or []:
                if id(section) not in numbers:
                    numbers[id(section)] = len(sections)
                    sections.append(section)
            known = None if entry.sections is None else [numbers[id(section)] for section in entry.sections]
            *outcome, rows = vars(entry.outcome).values()
            runs[name] = [entry.states, known, outcome, entry.problems]
            last.append(rows())
        body = b"\n".join(map(_dumped, ([sections, runs], last)))
        return b"%d %d\n" % (_VERSION, zlib.crc32(body)) + body

    def _load(self) -> None:
        """Reads the file; where it is missing, damaged or of another version, nothing is known."""
        try:
            head, _, body = self._file.read_bytes().partition(b"\n")
            if head != b"%d %d" % (_VERSION, zlib.crc32(body)):
                return
            first, _, second = body.partition(b"\n")
            last = _Last(second)
            sections, runs = _loaded(first)
            for place, (name, (states, known, outcome, problems)) in enumerate(runs.items()):
                own = None if known is None else [sections[number] for number in known]
                status, numbers, texts, best, test = outcome
                told = Outcome(status, numbers, texts, best, test, functools.partial(last.of, place))
                self._entries[name] = _Entry(tuple(states), own, told, problems)
        except (OSError, ValueError, TypeError, AttributeError, IndexError, RecursionError):
            self._entries = {}


class _Last:
    """The figures of the last rows, parsed when the first of them is asked for."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._known: list[Figures] | None = None

    def of(self, place: int) -> Figures:
        if self._known is None:
            self._known = _loaded(self._content)
        return self._known[place]


def _dumped(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="surrogatepass")


def _loaded(content: bytes) -> Any:
    return json.loads(content.decode(errors="surrogatepass"))


def _run_of(path: str, name: str, entry: _Entry, trained: float, is_running: bool) -> Run:
    outcome = entry.outcome
    status = outcome.status
    if entry.sections is None:
        status = "damaged"
    elif status in (None, "running"):
        status = "running" if is_running else "killed"
    return Run(path, name, entry.sections or [], status or "killed", outcome, trained, entry.problems)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 (a Path costs more than the call)
    except OSError:
        return None


def _stats(path: str) -> _Stats:
    return _stat(f"{path}/{folders.CONFIG}"), _stat(f"{path}/{folders.RESULT}"), _stat(f"{path}/{folders.LOCK}")


def _state(found: os.stat_result | None) -> str:
    """Returns what tells a file from what stood there before; "" where there is none.

    Whatever is written to a file, or put in its place, changes its number, its size or the time of its last change,
    which nobody can set.
    """
    return "" if found is None else f"{found.st_dev}.{found.st_ino}.{found.st_size}.{found.st_ctime_ns}"


def _is_settled(found: os.stat_result | None, now: float) -> bool:
    """Tells whether a file was old enough, when it was looked at, for its state to tell any change."""
    return found is None or found.st_ctime < now - _SETTLED


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keeps the garbage collector from looking again and again at a million values that all stay meanwhile."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load(root: Path, paths: Iterable[str]) -> list[Run]:
    """Returns what is known of runs, the one trained last first, and keeps what had to be read.

    Args:
        root: the folder of all runs; the folders may lie elsewhere.
    """
    index = Index(root)
    runs = index.runs(paths)
    index.save()
    return runs
