"""The command line in this process, in processes of its own, and at a pseudo-terminal."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

# The quickest training that there is.
QUICK = ("data=iris", "model.hidden=[4]", "trainer.max_epochs=1", "~callbacks.tensorboard")
DLTRAIN = (sys.executable, "-m", "dltrain")


@dataclass(frozen=True)
class Answer:
    """What a command line printed, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Screen:
    """What a terminal was sent: each piece with its time."""

    code: int
    pieces: list[tuple[float, str]]

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.pieces)


def environment(**changes: str) -> dict[str, str]:
    """Returns this process's environment without what would change the output, and with the changes."""
    dropped = ("CI", "DLTRAIN_TRACEBACK", "DLTRAIN_CONFIG_PATH", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONUNBUFFERED": "1", **changes}


def start(*arguments: str | Path, cwd: Path, **changes: str) -> subprocess.Popen[str]:
    """Starts dltrain with pipes, in a process group of its own as a shell does."""
    return subprocess.Popen(
        [*DLTRAIN, *map(str, arguments)],
        cwd=cwd,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def at_terminal(*arguments: str, cwd: Path, columns: int = 100) -> Screen:
    """Runs dltrain at a pseudo-terminal and returns what that was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [*DLTRAIN, *arguments],
        cwd=cwd,
        env=environment(TERM="xterm-256color"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    content: list[tuple[float, bytes]] = []
    with contextlib.suppress(OSError):  # which Linux raises when the other end is closed
        while piece := os.read(ours, 65536):
            content.append((time.monotonic(), piece))
    os.close(ours)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a piece may end in the middle of a character
    return Screen(process.wait(), [(when, decoder.decode(piece)) for when, piece in content])


def tree(folder: Path) -> dict[str, int]:
    """Returns every file and folder below a folder, files with their size."""
    return {str(p.relative_to(folder)): p.stat().st_size if p.is_file() else -1 for p in sorted(folder.rglob("*"))}


def only_run(folder: Path) -> Path:
    """Returns the one run folder below ``folder``."""
    (config,) = folder.glob("runs/*/*/config.yaml")
    return config.parent
