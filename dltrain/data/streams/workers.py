"""Worker processes that read the windows of a stream, through PyTorch's ``DataLoader``."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dltrain.data.contract import Batch
from dltrain.errors import DltrainError, MachineError

if TYPE_CHECKING:
    from dltrain.data.streams.streaming import Reader, Window

# A worker that is asked to end ends after so many seconds at the latest. A cluster asks all processes of a job at
# once, and the main process needs a batch or two more until it has saved its state and lets its workers go.
_GRACE_SECONDS = 30

# What asks a training to stop: a terminal or a cluster sends it to all processes, and it is for the main one.
_FOR_MAIN_PROCESS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

# So long after a worker has ended, and the work has not, it was ended from outside.
_PAUSE_SECONDS = 2.0

# Windows that each worker reads ahead.
_AHEAD = 2


def from_workers(windows: Iterator[Window], reader: Reader, workers: int) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Yields the samples of windows and their places, in the windows' order, as ``Window.read`` does.

    Raises:
        DltrainError: what a worker met.
        MachineError: a worker was ended from outside.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores: as asked
        loader: DataLoader[Any] = DataLoader(
            _Windows(reader),
            batch_size=None,
            sampler=_AsTheyCome(windows),
            num_workers=workers,
            collate_fn=_as_it_is,
            multiprocessing_context=_context(reader),
            prefetch_factor=_AHEAD,
            worker_init_fn=_prepare,
            generator=torch.Generator(),  # else it would move the global one
        )
    items: Any = iter(loader)
    try:
        with _watched(items._workers, items._worker_result_queue._writer):
            while True:
                item = next(items, None)
                if item is None:
                    return
                if isinstance(item, (DltrainError, MemoryError)):
                    raise item
                yield _unpacked(item)
    except (RuntimeError, EOFError) as error:
        if isinstance(error, RuntimeError) and "exited unexpectedly" not in str(error):
            raise
        raise MachineError(
            "a process that reads data was ended from outside, most likely for want of memory: take a smaller "
            f"data.buffer, or fewer than data.workers={workers}"
        ) from error.with_traceback(None)
    finally:
        del items, loader  # ends the workers now, and not when an error that is under way lets go of this frame


class _Windows(Dataset[Any]):
    """What a worker gives for a window: its arrays, or the error that it met."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __getitem__(self, window: Window) -> Any:
        try:
            return _packed(*window.read(self.reader))
        except (DltrainError, MemoryError) as error:
            return error


class _AsTheyCome(Sampler[Any]):
    """Hands out windows; it can be gone through once."""

    def __init__(self, windows: Iterator[Window]) -> None:
        self.windows = windows

    def __iter__(self) -> Iterator[Window]:
        return self.windows


def _as_it_is(item: Any) -> Any:
    return item


def _packed(batch: Batch, places: torch.Tensor) -> tuple[Any, ...]:
    """Returns arrays, which go through a pipe as they are, in place of tensors, which would take shared memory."""

    def pack(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: tensor.numpy() for name, tensor in value.items()}
        return None if value is None else value.numpy()

    return pack(batch.inputs), pack(batch.targets), pack(batch.weights), places.numpy()


def _unpacked(item: tuple[Any, ...]) -> tuple[Batch, torch.Tensor]:
    def unpack(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: torch.from_numpy(array) for name, array in value.items()}
        return None if value is None else torch.from_numpy(np.asarray(value))

    inputs, targets, weights, places = (unpack(value) for value in item)
    return Batch(inputs, targets, weights), places


# --- processes --------------------------------------------------------------------------------------------


def _context(reader: Reader) -> ForkServerContext:
    """Returns the way to start workers; starts the server from which they are forked, if it does not run yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dltrain.data.streams.workers", "dltrain.data.streams.streaming", *reader.imports])
    # The server and its workers inherit that these are held back, so that none ends a worker before it is prepared:
    # PyTorch sets handlers of its own at a worker's start.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_MAIN_PROCESS)
    try:
        resource_tracker.ensure_running()  # which lets some of them through again
        signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_MAIN_PROCESS)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@contextlib.contextmanager
def _watched(workers: list[BaseProcess], writer: connection.Connection) -> Iterator[None]:
    """Ends all workers when one was ended from outside.

    One that is killed in the middle of a message leaves the main process waiting for the rest of it, as long as anyone
    can still write to the pipe: another worker, or the main process itself. With all ends closed the wait is over,
    and the ``DataLoader`` looks for the worker that is missing.

    Args:
        writer: the main process's own end of the pipe that the workers write to.
    """
    writer.close()
    stop, stopper = multiprocessing.Pipe(duplex=False)
    sentinels = [worker.sentinel for worker in workers]

    def watch() -> None:
        if stop in connection.wait([*sentinels, stop]) or stop.poll(_PAUSE_SECONDS):  # or the loader ends them itself
            return
        for worker in workers:
            if worker.exitcode is None:
                worker.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopper.close()  # to the reader an end is something to read too
        thread.join()
        stop.close()


def _prepare(worker: int) -> None:
    """Makes a worker outlive the signals that ask the main process to save and stop, and not outlive that itself."""
    for number in _FOR_MAIN_PROCESS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_MAIN_PROCESS)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


def _end_soon(number: int, frame: FrameType | None) -> None:
    signal.alarm(_GRACE_SECONDS)


def _end_with_main_process() -> None:
    main = multiprocessing.parent_process()
    if main is not None:
        connection.wait([main.sentinel])
        os._exit(1)
