"""``environment.json``: what a run was made with, so that it can be made again."""

from __future__ import annotations

import contextlib
import functools
import platform
import re
import subprocess
import sys
import threading
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from dltrain import __version__
from dltrain.console import log
from dltrain.errors import MachineError
from dltrain.redaction import redacted_values
from dltrain.run_folder import RunFolder, write_json

# A longer diff is noted but not kept: somebody has data under version control.
_MAX_DIFF = 1_000_000

_FIELD = re.compile(r"^(Name|Version): *(.*?)\s*$", re.MULTILINE)

_TIME = "%Y-%m-%dT%H:%M:%S%z"


def describe() -> dict[str, Any]:
    """Returns versions, hardware, and the working directory's git commit with its uncommitted changes."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "dltrain": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "started": time.strftime(_TIME),
        "command": sys.argv,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "gpu": gpu,
        "git": _git(),
        "packages": dict(_packages(_folders_of_packages())),
    }


def _folders_of_packages() -> tuple[tuple[str, int], ...]:
    """Returns where packages lie, with a time that changes when one is installed there or removed."""
    found = []
    for folder in sys.path:
        with contextlib.suppress(OSError):
            found.append((folder, Path(folder or ".").stat().st_mtime_ns))
    return tuple(found)


@functools.lru_cache(maxsize=1)
def _packages(folders: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """Returns the version of each package by its name; a process that trains again finds them once."""
    found: dict[str, str] = {}
    for distribution in distributions():
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        head = dict(_FIELD.findall(text.partition("\n\n")[0]))  # a parser of mail would read the whole description
        if "Name" in head and "Version" in head:
            found.setdefault(head["Name"], head["Version"])  # of several, the first is the one that is imported
    return found


def write_beside_training(folder: RunFolder, known: dict[str, Any]) -> threading.Thread:
    """Writes the file in a thread, since asking git and listing packages takes as long as many a small training.

    Args:
        known: what an earlier run of this process found, or {}, which is filled.

    Returns:
        The thread, to be joined before the process ends.
    """

    started = time.strftime(_TIME)

    def write() -> None:
        try:
            known.update(known or describe())
            now = {"started": started, "threads": torch.get_num_threads()}
            write_json(folder.environment, redacted_values({**known, **now}))
        except MachineError as error:  # the training goes on for as long as it can
            log.warning("%s", error)

    thread = threading.Thread(target=write, name="environment")
    thread.start()
    return thread


def _git() -> dict[str, Any] | None:
    """Returns commit and diff of the working directory, or None where it is in no repository."""
    commit = _run("git", "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _run("git", "diff", "HEAD") or ""
    return {
        "commit": commit.strip(),
        "changed": bool(diff),
        "diff": diff if len(diff) <= _MAX_DIFF else f"{len(diff)} characters, not kept",
    }


def _run(*command: str) -> str | None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None
