"""One thread that writes while the training goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class BackgroundWriter:
    """Runs jobs beside the thread that hands them over, one at a time and in order.

    A job must use no operation of PyTorch: those share the cores' worker threads with the training. Reading and
    writing files and hashing large buffers give Python's lock back, so the training goes on meanwhile.

    Attributes:
        cpu_seconds: what the last job that ended has cost the processor; the training may have had to do without.
    """

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, job: Callable[[], None]) -> None:
        """Starts a job as soon as the one before has ended.

        Raises:
            BaseException: what the job before raised; the new one is not started.
        """
        self.wait()
        # Not a daemon: a process that ends in whatever way it may, but for being killed, ends its job first.
        self._thread = threading.Thread(target=self._run, args=(job,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Waits until nothing is left to do. A job may call it too, and does not wait for itself.

        Raises:
            BaseException: what a job raised; it is raised once.
        """
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None
            self.check()

    def check(self) -> None:
        """Does not wait.

        Raises:
            BaseException: what a job raised; it is raised once.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self, job: Callable[[], None]) -> None:
        started = time.thread_time()
        try:
            job()
        except BaseException as error:
            self._error = error
        self.cpu_seconds = time.thread_time() - started
