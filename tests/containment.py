"""Commands in a child process with little memory and little time, as nobody knows what hostile input does."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["dltrain.run", "dltrain.compose", "dltrain.multirun", "dltrain.commands.resume"])

MEMORY = 2**30
SECONDS = 10.0


@dataclass(frozen=True)
class Contained:
    """What a command did.

    Attributes:
        code: the exit code; None where it had to be stopped.
        megabytes: the memory that it took at its peak, besides what was taken before it began.
        seconds: how long it took.
    """

    code: int | None
    text: str
    megabytes: float
    seconds: float


def _peak() -> int:
    """Returns the peak of the process's resident memory in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def _run(arguments: list[str], folder: str, report: str, variables: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(variables)
    os.environ.pop("DLTRAIN_TRACEBACK", None)
    output = os.open(f"{report}.text", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    import torch

    from dltrain import cli

    torch.set_num_threads(1)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    before = _peak()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * resource.getpagesize() + 4 * MEMORY  # of addresses, most of which are never touched
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    started = time.monotonic()
    code = cli.run(arguments)
    figures = {"code": code, "bytes": _peak() - before, "seconds": time.monotonic() - started}
    Path(report).write_text(json.dumps(figures), encoding="utf-8")
    os._exit(0)


def contained(*arguments: object, folder: Path, scratch: Path, **variables: str) -> Contained:
    """Runs a command line in ``folder``.

    Args:
        scratch: an empty folder for what the child reports.
    """
    report = scratch / f"{time.monotonic_ns()}.json"
    words = [str(argument) for argument in arguments]
    process = _CONTEXT.Process(target=_run, args=(words, str(folder), str(report), variables))
    process.start()
    process.join(3 * SECONDS)
    if process.is_alive():
        process.kill()
    process.join()
    text = Path(f"{report}.text").read_text(encoding="utf-8", errors="replace")
    if not report.exists():
        return Contained(None, f"{text}\nended by {process.exitcode}", 0.0, 3 * SECONDS)
    figures = json.loads(report.read_text(encoding="utf-8"))
    return Contained(figures["code"], text, figures["bytes"] / 2**20, figures["seconds"])


def contents(folder: Path, without: Path | None = None) -> dict[str, tuple[int, int, str]]:
    """Returns every file and folder below a folder with its mode, size and hash; links are not followed.

    Args:
        without: a folder below it that may change.
    """
    found: dict[str, tuple[int, int, str]] = {}
    for path in sorted(folder.rglob("*")):
        if without is not None and (path == without or without in path.parents):
            continue
        status = path.lstat()
        plain = path.is_file() and not path.is_symlink() and status.st_mode & 0o400
        size = status.st_size if plain else 0
        found[str(path.relative_to(folder))] = (
            status.st_mode,
            size,
            hashlib.sha256(path.read_bytes()).hexdigest() if plain else "",
        )
    return found
