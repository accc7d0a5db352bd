"""Signals that ask a training to stop: Ctrl-C, a scheduler's SIGTERM, a cluster's SIGUSR1, a terminal that closes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from dltrain.errors import Interrupted

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


_is_guest = False


@contextlib.contextmanager
def as_guest() -> Iterator[None]:
    """Lets trainings be stopped in a way that leaves the process to whoever called, as to the kernel of a notebook.

    The second Ctrl-C then raises ``KeyboardInterrupt`` where it would have ended the process at once, and with it all
    that a notebook holds; and a signal that is meant for the process, such as SIGTERM, reaches it once the state is
    saved.
    """
    global _is_guest
    before, _is_guest = _is_guest, True
    try:
        yield
    finally:
        _is_guest = before


class Signals:
    """Lets the first signal ask the training to save and stop, and the second end the process at once.

    It is in force from before the trainer is built, so that a signal in between is not lost.
    """

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._number: int | None = None
        self._is_guest = _is_guest

    def attend(self, trainer: Trainer) -> None:
        """Sends signals to this trainer, the one that came before it too."""
        self._trainer = trainer
        if self._number is not None:
            self._stop(trainer, self._number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            if self._is_guest and number == signal.SIGINT:
                raise KeyboardInterrupt
            os._exit(128 + number)
        self._number = number
        if self._trainer is not None:
            self._stop(self._trainer, number)

    def _stop(self, trainer: Trainer, number: int) -> None:
        trainer.request_stop(f"stopped by {signal.Signals(number).name}", number)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return
        stopping = [number for number in _STOPPING if not _is_to_be_ignored(number)]
        before = {number: signal.signal(number, self._handle) for number in stopping}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._is_guest and self._number not in (None, signal.SIGINT):
                signal.raise_signal(self._number)  # it was not for the training alone


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Lets a signal that comes while nothing is trained raise ``Interrupted``, so that somebody can say how to go on.

    Raises:
        Interrupted: one came.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}", number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping = [number for number in _STOPPING if not _is_to_be_ignored(number)]
    before = {number: signal.signal(number, stop) for number in stopping}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_to_be_ignored(number: int) -> bool:
    """Tells whether whoever started us wants a signal to be ignored, as nohup does with that of a closed terminal.

    Of the others this means less: a shell that is no terminal's lets all that it puts into the background ignore
    Ctrl-C, and what is sent to a process by its number is meant for it.
    """
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
