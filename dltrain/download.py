"""Fetching the files of a data set: what lies under a file's own name is always whole, and what was published.

pooch checks the hash and moves the file to its name; its own downloader starts again from nothing after a cut, so
``ResumingDownloader`` stands in for that. Two processes that want the same data set take turns.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dltrain import __version__
from dltrain.catalog import Dataset, File
from dltrain.console import error_console
from dltrain.errors import DataError, MachineError
from dltrain.files import megabytes, missing
from dltrain.run_folder import free_megabytes, sync_folder

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 30.0
PAUSE_SECONDS = 1.0
# A broken transfer goes on where it was; this many times in a row without a new byte is enough.
FRUITLESS_ATTEMPTS = 3
ATTEMPTS = 20

# Told how many bytes of the file are here.
Show = Callable[[int], None]

_PIECE = 2**16
# What no data file of ours begins with, and each answer of a login page or a proxy does.
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


class _Unreachable(Exception):
    """This URL gives nothing now: the next one may."""


class _Wrong(Exception):
    """This URL gives something else than the published file."""


class _Broken(Exception):
    """The transfer broke; it is worth another attempt."""


def fetch(dataset: Dataset, folder: Path) -> dict[str, Path]:
    """Downloads the files of a data set that are not in ``folder`` yet, and returns all by name.

    Raises:
        DataError: a file cannot be reached, or is not what was published; nothing of it is under its name.
        MachineError: the folder cannot be written, or the disk is full.
    """
    files = dataset.choices[0]
    paths = {file.name: folder / file.name for file in files}
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(dataset, folder):
            wanted = [file for file in files if not paths[file.name].is_file()]
            if wanted:
                _remove_leftovers(folder)
                _check_space(dataset, wanted, folder)
                _announce(dataset, wanted, folder)
            for file in wanted:
                _fetch_file(dataset, file, folder)
    return paths


def _fetch_file(dataset: Dataset, file: File, folder: Path) -> None:
    """Downloads one file from the first of its URLs that has it."""
    import pooch

    pooch.get_logger().setLevel("ERROR")  # it would tell its own story beside ours
    problems = []
    for url in file.urls:
        try:
            pooch.retrieve(
                url, known_hash=file.hash, fname=file.name, path=folder, downloader=ResumingDownloader(file, folder)
            )
        except (_Unreachable, _Wrong) as problem:
            problems.append((url, problem))
            continue
        sync_folder(folder)
        return
    wrong = any(isinstance(problem, _Wrong) for _, problem in problems)
    reason = f"what there is to download is not {file.name}" if wrong else f"{file.name} cannot be downloaded"
    raise DataError(missing(dataset, reason, [f"{url}: {problem}" for url, problem in problems]))


class ResumingDownloader:
    """What pooch calls to get a file; a transfer that was cut goes on where it ended, also in the next run."""

    def __init__(self, file: File, folder: Path) -> None:
        """
        Args:
            file: what is fetched.
            folder: keeps the part that is there so far, as ``.NAME.part``.
        """
        self.file = file
        self.part = folder / f".{file.name}.part"

    def __call__(self, url: str, output_file: str | Path, _pooch: object, check_only: bool = False) -> None:
        """Leaves the checked file at ``output_file``.

        Raises:
            _Unreachable, _Wrong: it cannot.
        """
        with _progress(self.file) as show:
            if self._received():
                with contextlib.suppress(_Wrong):  # the part may be of something else: then all from the start
                    self._get(url, Path(output_file), show)
                    return
            self._get(url, Path(output_file), show)

    def _get(self, url: str, target: Path, show: Show) -> None:
        try:
            self._receive_all(url, show)
            problem = self._mismatch()
            if problem is not None:
                raise _Wrong(problem)
        except _Wrong:
            self.part.unlink(missing_ok=True)
            raise
        self.part.replace(target)

    def _received(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _receive_all(self, url: str, show: Show) -> None:
        """Receives until the part is whole, as far as can be told without its hash."""
        fruitless = 0
        for attempt in range(1, ATTEMPTS + 1):
            before = self._received()
            if before and before == self.file.size:
                return
            try:
                self._receive(url, before, show)
                return
            except _Broken as broken:
                fruitless = 0 if self._received() > before else fruitless + 1
                if fruitless >= FRUITLESS_ATTEMPTS or attempt == ATTEMPTS:
                    got = (
                        f"{self._received():,} of {self.file.size:,} bytes are here, and the next attempt goes on there"
                    )
                    raise _Unreachable(f"{broken}; {got}" if self._received() else str(broken)) from broken
                time.sleep(min(fruitless, 2) * PAUSE_SECONDS)

    def _receive(self, url: str, before: int, show: Show) -> None:
        """Receives what one connection gives, from byte ``before`` on where the server can."""
        import requests
        import urllib3

        headers = {"User-Agent": f"dltrain/{__version__}", "Accept-Encoding": "identity"}
        if before:
            headers["Range"] = f"bytes={before}-"
        try:
            with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, SILENT_SECONDS)) as response:
                start = self._start(response, before)
                self._store(response, start, show)
        except requests.exceptions.RequestException as error:
            raise _told(error, url) from error
        except (urllib3.exceptions.HTTPError, ConnectionError) as error:
            silent = isinstance(error, urllib3.exceptions.ReadTimeoutError)
            raise _Broken(f"silent for {SILENT_SECONDS:g} s" if silent else "the connection was cut") from error

    def _start(self, response: requests.Response, before: int) -> int:
        """Returns the place in the file at which an answer begins.

        Raises:
            _Unreachable, _Broken, _Wrong: it is no answer to go on with.
        """
        status = f"{response.status_code} {response.reason}"
        if response.status_code == 416:  # the part is longer than the file
            self.part.unlink(missing_ok=True)
            raise _Broken(f"the server answers {status}")
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _Broken(f"the server answers {status}")
        if response.status_code not in (200, 206):
            raise _Unreachable(f"the server answers {status}")
        if response.status_code == 206:
            if response.headers.get("Content-Range", "").startswith(f"bytes {before}-"):
                return before
            self.part.unlink(missing_ok=True)
            raise _Broken("the server sends another part than was asked for")
        return 0

    def _store(self, response: requests.Response, start: int, show: Show) -> None:
        """Writes the body of an answer into the part, from ``start`` on."""
        place, size = start, self.file.size
        with self.part.open("r+b" if start else "wb") as part:
            part.seek(start)
            for piece in response.raw.stream(_PIECE, decode_content=False):
                if place == 0 and piece.lstrip()[:20].lower().startswith(_PAGES):
                    raise _Wrong("it is a web page, as a login or a proxy sends it")
                part.write(piece)
                place += len(piece)
                show(place)
                if size and place > size:
                    raise _Wrong(f"it has more than the {size:,} bytes of the published file")
            part.flush()
            os.fsync(part.fileno())
        length = response.headers.get("Content-Length")
        if length is None and place < size:
            raise _Broken("the connection was cut")

    def _mismatch(self) -> str | None:
        """Returns how the part differs from the published file, or None."""
        import pooch

        algorithm, _, expected = self.file.hash.partition(":")
        got = pooch.file_hash(str(self.part), alg=algorithm)
        if got == expected:
            return None
        size = self._received()
        length = f", and {size:,} bytes instead of {self.file.size:,}" if size != self.file.size else ""
        return f"expected {algorithm} {expected}, got {got}{length}"


def _told(error: requests.exceptions.RequestException, url: str) -> _Unreachable | _Broken:
    """Returns what became of a request in words, by whether another attempt makes sense."""
    from requests import exceptions

    host, text = urlsplit(url).hostname, str(error)
    if isinstance(error, exceptions.ProxyError):
        return _Unreachable("the proxy does not let it through")
    if isinstance(error, exceptions.SSLError):
        return _Unreachable("the server's certificate is not one that this machine trusts")
    if isinstance(error, exceptions.ConnectTimeout):
        return _Unreachable(f"no answer within {CONNECT_SECONDS:g} s")
    if isinstance(error, exceptions.ReadTimeout):
        return _Broken(f"silent for {SILENT_SECONDS:g} s")
    if "NameResolutionError" in text or "Name or service not known" in text:
        return _Unreachable(f"the name {host} cannot be looked up. Is there a network?")
    if "refused" in text:
        return _Unreachable(f"{host} refuses the connection")
    if "unreachable" in text:
        return _Unreachable(f"there is no way to {host}. Is there a network?")
    if isinstance(error, exceptions.ConnectionError):
        return _Broken("the connection was cut")
    return _Unreachable(f"{type(error).__name__}: {error}")


# --- the folder -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _one_at_a_time(dataset: Dataset, folder: Path) -> Iterator[None]:
    """Holds the folder of a data set, waiting for another process that does; the lock ends with the process."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"{dataset.name} is being downloaded by another process: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: Path) -> None:
    """Removes pooch's temporary files of a process that was killed; who holds the lock is the only one at work."""
    for path in folder.glob("tmp????????"):
        path.unlink(missing_ok=True)


def _check_space(dataset: Dataset, files: list[File], folder: Path) -> None:
    parts = (folder / f".{file.name}.part" for file in files)
    needed = sum(file.size for file in files) - sum(part.stat().st_size for part in parts if part.is_file())
    free = free_megabytes(folder) * 2**20
    if needed > free:
        raise MachineError(
            f"{dataset.name}: the disk of {folder} is too full: {megabytes(needed)} to download, "
            f"{megabytes(int(free))} free. Make room, or name another folder with DLTRAIN_CACHE"
        )


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Says what the disk refuses."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise MachineError(
                f"the disk of {folder} is full. Make room, or name another folder with DLTRAIN_CACHE; "
                "the download goes on where it ended"
            ) from error
        raise MachineError(
            f"{error.filename or folder} cannot be written: {error.strerror}. Name another folder with DLTRAIN_CACHE"
        ) from error


# --- what a person sees -----------------------------------------------------------------------------------


def _announce(dataset: Dataset, files: list[File], folder: Path) -> None:
    size = megabytes(sum(file.size for file in files))
    _say(f"{dataset.name}: {dataset.shape}. Rights: {dataset.rights}. About it: {dataset.homepage}")
    _say(f"downloading {len(files)} file{'s' if len(files) > 1 else ''}, {size}, to {folder}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _progress(file: File) -> Iterator[Show]:
    """Gives a function that is told how many bytes are here: a bar at a terminal, else a line at the end."""
    if not sys.stderr.isatty() or os.environ.get("CI") or os.environ.get("TERM", "dumb") == "dumb":
        yield lambda place: None
        _say(f"  {file.name}")
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=error_console()) as progress:
        task = progress.add_task(file.name, total=file.size or None)
        yield lambda place: progress.update(task, completed=place)
