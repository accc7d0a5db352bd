"""Trains the trials of a sweep: one after the other in this process, or several at once in processes of their own.

Each worker is a process pool of one (joblib's loky), so that one which is killed takes no trial of another with it, and
each has its own GPU, or its share of the CPU's threads.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from types import FrameType
from typing import Any

from dltrain.errors import Interrupted, MachineError
from dltrain.sweeps.driver import Agenda
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.trial import Ended, Workshop, give_up

# A worker with PyTorch and a small data set takes about a third of this; auto leaves room for that much each.
_MEMORY_EACH = 2**30

# A worker takes some seconds to start; a sweep that is over sooner has none.
_WORTH_SECONDS = 10.0

# How often the driver looks whether a signal has come, and a worker whether its driver is still there.
_LOOK_SECONDS = 0.2

# A trial whose process ended so often while it was trained, killed or crashed, is given up.
_DEATHS, _MOST_DEATHS_IN_A_ROW = 2, 8

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

Told = Callable[[int, str], None]


def count(workers: str | int, trials: int, device: str, seconds_each: float) -> int:
    """Returns how many workers a sweep takes.

    Args:
        workers: as in the config.
        trials: that are left.
        device: as in the config.
        seconds_each: how long a trial may take, roughly.
    """
    if not isinstance(workers, str):
        return min(workers, max(1, trials))
    if trials * seconds_each < _WORTH_SECONDS:
        return 1
    gpus = 0 if device == "cpu" else len(_gpus())
    if gpus:
        return max(1, min(gpus, trials))
    return max(1, min(_cores(), trials, _free_memory() // _MEMORY_EACH))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_memory() -> int:
    """Returns how many bytes of memory are free; where the system does not tell, that there are enough."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 2**50


def _gpus() -> list[str]:
    """Returns the GPUs as CUDA_VISIBLE_DEVICES names them; none where PyTorch can use none."""
    import torch

    if not torch.cuda.is_available():
        return []
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = listed.split(",") if listed else map(str, range(torch.cuda.device_count()))
    return list(names)[: torch.cuda.device_count()]


# --- in this process --------------------------------------------------------------------------------------


def train_here(agenda: Agenda, told: Told) -> None:
    """Trains what is left, one after the other.

    Args:
        told: called with each trial and "started" or "ended".

    Raises:
        Interrupted: a signal stopped a trial.
    """
    workshop = Workshop(agenda.folder)
    while (number := agenda.next()) is not None:
        told(number, "started")
        try:
            ended = workshop.train(number)
        except KeyboardInterrupt:  # while a trial was being built, and nothing of it was there to be saved
            raise Interrupted("stopped by SIGINT", signal.SIGINT) from None
        told(number, "ended")
        if ended.stopped_by is not None:
            raise Interrupted(f"stopped by {signal.Signals(ended.stopped_by).name}", ended.stopped_by)


# --- in processes of their own ----------------------------------------------------------------------------


def train_beside(agenda: Agenda, number: int, device: str, told: Told) -> None:
    """Trains what is left, so many at once.

    Raises:
        Interrupted: a signal came; the trials under way have saved their states.
    """
    gpus = [] if device == "cpu" else _gpus()
    crew = [_Worker(agenda.folder, place, _share(place, number, gpus)) for place in range(number)]
    with _stopping(crew) as came, contextlib.ExitStack() as stack:
        for worker in crew:
            stack.callback(worker.close)
        while True:
            for worker in crew if came() is None else []:
                following = agenda.next() if worker.future is None else None
                if following is not None:
                    told(following, "started")
                    worker.train(following)
            busy: dict[Future[Ended], _Worker] = {w.future: w for w in crew if w.future is not None}
            if not busy:
                break
            for future in wait(busy, _LOOK_SECONDS, FIRST_COMPLETED).done:
                _take(busy[future], agenda, came, told)
        stopped_by = came()
    if stopped_by is not None:
        raise Interrupted(f"stopped by {signal.Signals(stopped_by).name}", stopped_by)


def _take(worker: _Worker, agenda: Agenda, came: Callable[[], int | None], told: Told) -> None:
    """Takes what became of a worker's trial.

    Raises:
        MachineError: no worker stays alive, whatever it is to train.
    """
    number, how = worker.take()
    has_ended = agenda.ledger.trial(number).status not in ("running", "waiting")
    if how is None or came() is not None or has_ended:  # killed after all was done, it has lost nothing
        agenda.deaths_in_a_row = 0
        told(number, "ended")
        return
    agenda.ledger.die(number, how)  # its process ended, or was stopped by somebody else than us
    deaths = agenda.ledger.trial(number).deaths
    if len(deaths) >= _DEATHS:
        reason = f"given up after {len(deaths)} tries: {'; '.join(dict.fromkeys(deaths))}"
        give_up(agenda.folder, agenda.ledger, number, reason, f"{reason}. What it printed: {worker.output}")
        told(number, "ended")
    else:
        agenda.again(number)
        told(number, how)
    agenda.deaths_in_a_row += 1
    if agenda.deaths_in_a_row >= _MOST_DEATHS_IN_A_ROW:
        raise MachineError(
            f"{_MOST_DEATHS_IN_A_ROW} processes in a row ended before they had trained a trial. The last one: {how}. "
            f"What it printed stands in {worker.output}. sweep.workers=1 trains in this process; then go on with: "
            f"dltrain resume {agenda.folder.path}"
        )


def _share(place: int, number: int, gpus: list[str]) -> dict[str, str]:
    """Returns the environment of a worker: its GPU, or its threads of the CPU."""
    if gpus:
        return {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]}
    threads = str(max(1, _cores() // number))
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


class _Worker:
    """A process that trains one trial after the other; it is started anew where it has ended.

    Attributes:
        future: of the trial that it trains; None while it is idle.
        output: the file that holds what it prints.
    """

    def __init__(self, sweep: SweepFolder, place: int, environment: dict[str, str]) -> None:
        self._sweep, self._environment = sweep, environment
        self._pool: Any = None
        self._trial: int | None = None
        self.future: Future[Ended] | None = None
        self.output = sweep.outputs / f"worker-{place}.txt"

    def train(self, number: int) -> None:
        from joblib.externals.loky.process_executor import ProcessPoolExecutor

        if self._pool is None:
            _quiet_tracker()
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                initializer=_begin,
                initargs=(os.getpid(), str(self.output.absolute())),
                env=self._environment,
            )
        self._trial = number
        self.future = self._pool.submit(train, str(self._sweep.path), number)

    def take(self) -> tuple[int, str | None]:
        """Returns the trial that has ended, and how its process ended if it did."""
        assert self.future is not None and self._trial is not None
        future, self.future = self.future, None
        error = future.exception()
        if error is not None:  # the process is gone, and the pool with it
            self.close()
            code = re.search(r"\{(.+)\}", str(error))
            return self._trial, f"its process ended with {code[1]}" if code else f"{type(error).__name__}: {error}"
        stopped_by = future.result().stopped_by
        return self._trial, None if stopped_by is None else f"stopped by {signal.Signals(stopped_by).name}"

    def signal(self, number: int) -> None:
        """Sends a signal to the process."""
        for process in list((self._pool._processes if self._pool is not None else {}).values()):
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(process.pid, number)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, kill_workers=True)
            self._pool = None


@functools.cache
def _quiet_tracker() -> None:
    """Starts joblib's tracker of resources: after a kill of the driver it warns at length of what it cleans up."""
    from joblib.externals.loky.backend import resource_tracker

    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    resource_tracker.ensure_running()
    if before is None:
        del os.environ["PYTHONWARNINGS"]
    else:
        os.environ["PYTHONWARNINGS"] = before


@contextlib.contextmanager
def _stopping(crew: list[_Worker]) -> Iterator[Callable[[], int | None]]:
    """Passes the first signal on to the workers, which save and stop; the second one ends all at once.

    Yields:
        A function that returns the signal that has come, or None.
    """
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for worker in crew:
            worker.signal(number if len(came) == 1 else signal.SIGKILL)
        if len(came) > 1:
            os.write(2, b"stopped at once; what was saved before is kept\n")
            os._exit(128 + number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in map(int, _STOPPING):
            if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):
                before[number] = signal.signal(number, handle)
    try:
        yield lambda: came[0] if came else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _begin(driver: int, output: str) -> None:
    """Prepares a worker's process.

    What the driver's terminal sends goes to the driver alone, which passes it on; what is printed goes to a file; and
    the process ends with the driver, also where that is killed.
    """
    os.setsid()
    Path(output).parent.mkdir(exist_ok=True)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(_LOOK_SECONDS)
        os._exit(128 + signal.SIGKILL)

    threading.Thread(target=watch, name="driver-watch", daemon=True).start()


def train(sweep: str, number: int) -> Ended:
    """Trains a trial in a process that is there for that."""
    try:
        return _workshop(sweep).train(number)
    except KeyboardInterrupt:
        return Ended(number, signal.SIGINT)


@functools.lru_cache(maxsize=1)
def _workshop(path: str) -> Workshop:
    sweep = SweepFolder(Path(path))
    os.environ["DLTRAIN_CONFIG_PATH"] = os.pathsep.join(map(str, sweep.frozen_folders()))
    return Workshop(sweep)
