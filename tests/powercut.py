"""What a disk may hold after a power cut, from a record of the operations that a process did on its files.

The model is POSIX at its strictest: the bytes of a file are on the disk as they were at its last fsync, and a name
(that a file got, lost or was given instead of another) is there for sure once its folder was synced; until then it
may be there or not, each name by itself. Real file systems keep more than that.
"""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crashing import Watch


@dataclass
class Recorder(Watch):
    """Writes each operation below a folder into a file, with the bytes that an fsync brought to the disk.

    Called in the process to be recorded.
    """

    folder: Path
    record: Path
    _descriptor: int = -1

    def __call__(self) -> None:
        self._descriptor = os.open(self.record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.install()

    def happens(self, operation: str, path: str, source: Any = None) -> None:
        if not Path(path).is_relative_to(self.folder) or operation in ("fsync", "fsync folder"):
            return
        if operation == "fsynced":
            descriptor = os.open(path, os.O_RDONLY)
            source = b"".join(iter(lambda: os.read(descriptor, 2**20), b""))
            os.close(descriptor)
        elif operation == "replace":
            source = str(Path(source).relative_to(self.folder))
        os.write(self._descriptor, pickle.dumps((operation, str(Path(path).relative_to(self.folder)), source)))


def operations(record: Path) -> Iterator[tuple[str, str, Any]]:
    """Yields what a ``Recorder`` wrote: operation, path below the folder, and flags, bytes or source."""
    with record.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)


@dataclass
class _File:
    """A file, under whatever names.

    Attributes:
        content: what of it is on the disk for sure.
    """

    content: bytes = b""


@dataclass
class Disk:
    """Follows operations, and tells what a power cut may leave at this moment.

    Attributes:
        names: the files and folders (None) as the process sees them.
        durable: those that are on the disk for sure.
        pending: changes of names, in their order, which may be there or not: folder, name, and its new file; "gone"
            where it has none any more. The two names of a replacement change as one.
    """

    names: dict[str, _File | None] = field(default_factory=dict)
    durable: dict[str, _File | None] = field(default_factory=dict)
    pending: list[dict[str, Any]] = field(default_factory=list)

    def follow(self, operation: str, path: str, detail: Any) -> None:
        if operation == "open":
            new = path not in self.names
            if new:
                self._change({path: _File()})
            elif detail & os.O_TRUNC:
                self.names[path].content = b""  # type: ignore[union-attr]
        elif operation == "fsynced":
            self.names[path].content = detail  # type: ignore[union-attr]
        elif operation == "replace":
            self._change({detail: "gone", path: self.names[detail]})
        elif operation == "remove" and path in self.names:
            self._change({path: "gone"})
        elif operation == "mkdir" and path not in self.names:
            self._change({path: None})
        elif operation == "fsynced folder":
            for change in [change for change in self.pending if _folder(change) == path]:
                _apply(self.durable, change)
                self.pending.remove(change)

    def _change(self, change: dict[str, Any]) -> None:
        self.pending.append(change)
        _apply(self.names, change)

    def after_a_cut(self, most: int = 5) -> Iterator[dict[str, bytes]]:
        """Yields each content that the disk may have: of the last so many changes that are pending, any may be there,
        of those before them all or none."""
        early, late = self.pending[:-most], self.pending[-most:]
        for first in ([], early) if early else ([],):
            for chosen in itertools.product((False, True), repeat=len(late)):
                names = dict(self.durable)
                for change in [*first, *itertools.compress(late, chosen)]:
                    _apply(names, change)
                yield {
                    path: file.content
                    for path, file in names.items()
                    if file is not None and all(str(parent) in names for parent in Path(path).parents[:-1])
                }


def _folder(change: dict[str, Any]) -> str:
    return str(Path(next(iter(change))).parent)


def _apply(names: dict[str, Any], change: dict[str, Any]) -> None:
    for path, file in change.items():
        if file == "gone":
            names.pop(path, None)
        else:
            names[path] = file


def write(folder: Path, content: dict[str, bytes]) -> None:
    """Makes a folder that holds what was left."""
    for path, found in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(found)
