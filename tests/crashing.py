"""A process that ends itself by a signal at a chosen point of saving, in whatever thread that comes.

The points are operations on files, seen from Python's audit hooks, which report each opening, renaming and removal,
and from a wrapper around ``os.fsync``, which they do not report. The product knows nothing of this.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What a file of a run is, also while it is a temporary one.
_KINDS = {
    "best": re.compile(r"best-step-\d+\.safetensors"),
    "best manifest": re.compile(r"best-step-\d+\.json"),
    "content": re.compile(r"(?<!best-)step-\d+\.safetensors"),
    "manifest": re.compile(r"(?<!best-)step-\d+\.json"),
    "pointer": re.compile(r"last\.json"),
    "best pointer": re.compile(r"best\.json"),
    "result": re.compile(r"result\.json"),
    "overrides": re.compile(r"overrides\.yaml"),
    "config": re.compile(r"config\.yaml"),
}
_WRITING = os.O_WRONLY | os.O_RDWR


def kind_of(path: str) -> str | None:
    """Returns what a file is for a run, or None."""
    name = Path(path).name
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(name)), None)


class Watch:
    """Tells of each operation on files, in the process that installs it: subclasses say what then happens.

    ``happens(operation, path, source)`` is called just before "open" (for writing; source is its flags), "fsync",
    "fsync folder", "replace" (path replaces source), "remove" and "mkdir" are done, and just after "fsynced" and
    "fsynced folder". Its calls never overlap.
    """

    _lock: Any = None

    def install(self) -> None:
        self._lock = threading.RLock()
        sys.addaudithook(self._audit)
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            folder = " folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else ""
            with self._lock:
                self.happens(f"fsync{folder}", path)
                fsync(descriptor)
                self.happens(f"fsynced{folder}", path)

        os.fsync = watched

    def happens(self, operation: str, path: str, source: Any = None) -> None:
        raise NotImplementedError

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename", "os.remove", "os.mkdir") or not _is_path(arguments[0]):
            return
        with self._lock:
            if event == "open" and arguments[2] & _WRITING:
                self.happens("open", _absolute(arguments[0]), arguments[2])
            elif event == "os.rename":
                self.happens("replace", _absolute(arguments[1]), _absolute(arguments[0]))
            elif event != "open":
                self.happens(event.removeprefix("os."), _absolute(arguments[0]))


def _is_path(value: object) -> bool:
    return isinstance(value, (str, bytes, os.PathLike))


def _absolute(path: Any) -> str:
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (Path.resolve would open links)


@dataclass
class Crash(Watch):
    """Ends the process just before an operation comes to a kind of file for the n-th time.

    Called in the process that is to end. "half" lets the system end it in the middle of a write: when the file has
    half the bytes that the one before it had. "fsync folder" is the one after a replacement.
    """

    operation: str
    kind: str
    time: int
    _counted: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)
    _replaced: str | None = None

    def __call__(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self.install()

    def happens(self, operation: str, path: str, source: Any = None) -> None:
        if operation == "fsync folder":
            kind, self._replaced = self._replaced, None
        else:
            kind = kind_of(path)
        if kind is None:
            return
        if operation == "replace":
            self._replaced = kind
        if operation == "fsync":
            self._sizes[kind] = Path(path).stat().st_size
        half = self.operation == "half"
        if (operation, kind) != ("open" if half else self.operation, self.kind):
            return
        self._counted += 1
        if self._counted != self.time:
            return
        if not half:
            os.kill(os.getpid(), signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._sizes[kind] // 2,) * 2)
