"""TensorBoard as a process of its own, on this machine only (127.0.0.1)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from dltrain.errors import MachineError

FIRST_PORT = 6006
_LAST_PORT = FIRST_PORT + 99

# Samples that are kept of each row of pictures and texts, where TensorBoard would keep ten of an epoch each.
_KEPT = "images=100,text=100"

_LOOK_EVERY_SECONDS = 0.1
_LONGEST_START_SECONDS = 60.0


class BoardServer:
    """Starts TensorBoard on a folder; a context, which ends it."""

    def __init__(self, folder: Path, port: int | None) -> None:
        """
        Args:
            port: None takes the first free one from ``FIRST_PORT`` on.

        Raises:
            MachineError: the port is in use or not to be had.
        """
        self._folder, self._asked = folder, port
        self.port = free_port(port)
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (until the end)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> BoardServer:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            self._process.wait()
        self._said.close()

    def _start(self) -> None:
        command = [sys.executable, "-m", "tensorboard.main", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--logdir", str(self._folder), "--samples_per_plugin", _KEPT]
        self._said.truncate(0)
        self._process = subprocess.Popen(command, stdout=self._said, stderr=self._said)

    def wait_until_it_answers(self) -> None:
        """
        Raises:
            MachineError: it ended before, or takes longer than a minute.
        """
        until = time.monotonic() + _LONGEST_START_SECONDS
        while time.monotonic() < until:
            if self._process is not None and self._process.poll() is not None:
                self._start_elsewhere()
            if self._answers():
                return
            time.sleep(_LOOK_EVERY_SECONDS)
        raise MachineError(f"TensorBoard does not answer at {self.url}")

    def _answers(self) -> bool:
        """Tells whether the one that answers is ours: another may have taken the port while ours was starting."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names
        try:
            with opener.open(f"{self.url}data/environment", timeout=5) as answer:
                location = json.load(answer).get("data_location")
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            return False
        return bool(location == str(self._folder))

    def _start_elsewhere(self) -> None:
        """Starts it on the next free port, where another process took the port between the look and the start.

        Raises:
            MachineError: that is not why it ended, or this port and no other was asked for.
        """
        if self._asked is not None:
            free_port(self._asked)
        if self._asked is not None or _is_free(self.port):
            raise MachineError(f"TensorBoard ended at once: {self._last_words()}")
        self.port = free_port(None)
        self._start()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it did not say why"

    def wait(self, every_seconds: float, look: Callable[[], None]) -> None:
        """Waits until TensorBoard ends, and calls ``look`` now and then.

        Raises:
            MachineError: it ended by itself.
        """
        assert self._process is not None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=every_seconds)
                raise MachineError(f"TensorBoard ended: {self._last_words()}")
            look()


def free_port(asked: int | None) -> int:
    """Returns the port that is asked for, or the first free one.

    Raises:
        MachineError: the port is in use or not to be had.
    """
    if asked is not None:
        reason = _why_not(asked)
        if reason is not None:
            raise MachineError(f"port {asked} cannot be used: {reason}. Leave out --port to take a free one")
        return asked
    for port in range(FIRST_PORT, _LAST_PORT + 1):
        if _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    return _why_not(port) is None


def _why_not(port: int) -> str | None:
    """Returns why a port cannot be used, or None where it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            return (getattr(error, "strerror", None) or str(error)).rstrip(".")
    return None


def has_display() -> bool:
    """Tells whether a browser would have a screen to open on."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
