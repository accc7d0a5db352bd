"""Runs that are really killed: each in a process of its own, forked from a server that has PyTorch imported."""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import yaml

import dltrain
from dltrain.run_folder import RunFolder

_OURS = [name for _, name, _ in pkgutil.walk_packages(dltrain.__path__, "dltrain.") if not name.endswith("__main__")]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*_OURS, "torch.utils.tensorboard", "torch._dynamo", "sklearn.datasets"])

# Saves after each step and shows nothing: what a kill can hit is then nearly always a save or a step.
EVERY_STEP = [
    "~callbacks.progress",
    "~callbacks.summary",
    "callbacks.tensorboard.graph=false",
    "callbacks.checkpoint.every_steps=1",
    "callbacks.checkpoint.min_seconds=0",
    "device=cpu",
    "device.threads=1",
]


def _train(
    folder: str,
    overrides: list[str],
    resume_with: list[str],
    says: str,
    prepare: Callable[[], None] | None,
) -> None:
    """Starts the run, or goes on with it where it has begun, as 'dltrain' and 'dltrain resume' do."""
    os.dup2(os.open(says, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.chdir(Path(folder).parent)
    os.dup2(2, 1)
    from dltrain import cli

    if prepare is not None:
        prepare()
    begun = (Path(folder) / "config.yaml").exists()
    code = cli.run(["resume", folder, *resume_with]) if begun else cli.run([*overrides, f"run_dir={folder}"])
    os._exit(code)


def start(
    folder: Path,
    overrides: list[str],
    *,
    resume_with: tuple[str, ...] | list[str] = (),
    says: Path | str = os.devnull,
    prepare: Callable[[], None] | None = None,
) -> multiprocessing.context.ForkServerProcess:
    """Starts to train in ``folder``, or to go on there; the arguments are those of ``train``."""
    process = _CONTEXT.Process(target=_train, args=(str(folder), overrides, list(resume_with), str(says), prepare))
    process.start()
    return process


def train(
    folder: Path,
    overrides: list[str],
    *,
    resume_with: tuple[str, ...] | list[str] = (),
    kill_after: float | None = None,
    number: int = signal.SIGKILL,
    says: Path | str = os.devnull,
    prepare: Callable[[], None] | None = None,
) -> int:
    """Trains in ``folder`` until the end, or until the signal; returns the exit code, negative for a signal.

    Args:
        resume_with: overrides for a run that has begun.
        kill_after: seconds from when the process holds the folder, which is when its training begins.
        says: a file for what the process prints.
        prepare: called in the process before anything else.
    """
    process = start(folder, overrides, resume_with=resume_with, says=says, prepare=prepare)
    if kill_after is not None:
        while process.is_alive() and not is_running(folder):
            time.sleep(0.001)
        process.join(kill_after)
        if process.is_alive():
            os.kill(process.pid or 0, number)
    process.join()
    return process.exitcode if process.exitcode is not None else 1


def is_running(folder: Path) -> bool:
    """Tells whether a process holds the folder at this moment.

    The kernel is asked: to try the lock would keep out a process that takes it at the same instant.
    """
    try:
        file = RunFolder(folder).lock_file.stat()
    except OSError:
        return False
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    return device in Path("/proc/locks").read_text(encoding="ascii").split()


def train_with_kills(folder: Path, overrides: list[str], instants: list[float]) -> int:
    """Trains to the end through kills, the first after so many seconds of training, and so on.

    Returns:
        How many of the kills hit a process that was still at work.
    """
    hits = 0
    for instant in instants:
        if train(folder, overrides, kill_after=instant) == -signal.SIGKILL:
            hits += 1
    assert train(folder, overrides) == 0, (folder / "train.log").read_text(encoding="utf-8")
    return hits


def duration(folder: Path, overrides: list[str]) -> float:
    """Trains once, uninterrupted, and returns the seconds that the training took."""
    assert train(folder, overrides) == 0, (folder / "train.log").read_text(encoding="utf-8")
    return float(RunFolder(folder).read_result()["seconds"])


def what_counts(folder: Path) -> dict[str, object]:
    """Returns all of a run that must not depend on interruptions: state, figures, and which files there are."""
    import json

    from dltrain.checkpoint import CheckpointStore

    store = CheckpointStore(folder / "checkpoints")
    state = store.load(store.pointed("last") or "")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in [*rows, state["row"]]:
        row.pop("epoch_seconds", None)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return {
        "state": state,
        "best": store.load(store.pointed("best") or ""),
        "rows": rows,
        "test": result.get("test"),
        "stop_reason": result["stop_reason"],
        "files": sorted(path.name for part in (folder, folder / "checkpoints") for path in part.iterdir()),
        "config": yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) | {"run_dir": None},
    }


def stray_files(folder: Path) -> list[str]:
    """Returns the temporary files that an interrupted run left."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith(".tmp")]


def assert_same(one: object, other: object, where: str = "") -> None:
    """Compares nested values; tensors bit for bit.

    Raises:
        AssertionError: names the first place that differs.
    """
    import torch

    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.shape == other.shape, where
        assert one.numpy().tobytes() == other.numpy().tobytes(), where
    elif isinstance(one, dict):
        assert isinstance(other, dict) and one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list):
        assert isinstance(other, list) and len(one) == len(other), where
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}/{place}")
    else:
        assert repr(one) == repr(other), f"{where}: {one!r} is not {other!r}"
