"""Opens TensorBoard on runs, on this machine only (127.0.0.1); Ctrl-C ends it.

Of a sweep it shows the curves of all trials, and their hyper-parameters side by side in the tab HParams.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

from dltrain import run_folder
from dltrain.commands import one_run
from dltrain.errors import ConfigError, MachineError
from dltrain.sweeps.folder import find_sweep

_FIRST_PORT = 6006


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="runs or sweeps to show (default: all under runs/)")
    parser.add_argument("--port", type=int, help=f"default: the first free one from {_FIRST_PORT} on")


def run(arguments: argparse.Namespace) -> int:
    port = _port(arguments.port)
    command = [sys.executable, "-m", "tensorboard.main", "--host", "127.0.0.1", "--port", str(port)]
    if arguments.runs:
        named = dict(map(_curves, arguments.runs))
        if len(named) == 1:
            command += ["--logdir", *map(str, named.values())]
        else:
            command += ["--logdir_spec", ",".join(f"{name}:{folder}" for name, folder in named.items())]
    else:
        if not run_folder.all_runs():
            raise ConfigError(f"there are no runs in {run_folder.RUNS.absolute()}. Train one first")
        command += ["--logdir", str(run_folder.RUNS)]
    print(f"TensorBoard: http://127.0.0.1:{port}/   (Ctrl-C ends it)", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or TensorBoard would stay
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        process.wait()


def _curves(name: str) -> tuple[str, Path]:
    """Returns what to call a run or a sweep, and the folder of its curves; those of a sweep are a run for each trial.

    Raises:
        ConfigError: there is none of that name, or it has no curves.
    """
    sweep = find_sweep(name)
    path, curves = (sweep.path, sweep.trials) if sweep is not None else _of_run(name)
    if not any(curves.rglob("events.out.tfevents.*")):
        raise ConfigError(f"{path} has no curves: it was trained without callbacks.tensorboard")
    return path.name, curves


def _of_run(name: str) -> tuple[Path, Path]:
    run = one_run.find(name)
    return run.path, run.tensorboard


def _port(asked: int | None) -> int:
    """Returns the port that is asked for, or the first free one.

    Raises:
        MachineError: the port is in use or not to be had.
    """
    candidates = [asked] if asked is not None else [*range(_FIRST_PORT, _FIRST_PORT + 100), 0]
    reason = ""
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                continue
            return int(probe.getsockname()[1])
    raise MachineError(f"port {asked} cannot be used: {reason}. Leave out --port to take a free one")
