"""R9: a sweep whose driver is killed again and again ends with the trials of one that never was."""

from __future__ import annotations

import contextlib
import csv
import os
import random
import signal
import textwrap
import time
from pathlib import Path

import pytest
from killing import _CONTEXT, assert_same, what_counts

from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger

pytestmark = pytest.mark.faults

# Trials that do not end well: one raises, one calls sys.exit, one gets weights of NaN; and where a worker can be lost,
# one kills its process.
CRASHING = """
import os
import signal
import sys
from dataclasses import dataclass
from dltrain import registry
from dltrain.callbacks.base import Callback
from dltrain.config import setting

@dataclass(frozen=True)
class CrashSettings:
    name: str = setting("Name.")

@registry.register("callbacks", "crash", CrashSettings)
class Crash(Callback):
    def on_epoch_end(self, trainer):
        if trainer.state.epoch == 3 and self.context.config.seed == 7:
            raise KeyError("mine")
        if trainer.state.epoch == 3 and self.context.config.seed == 11:
            sys.exit(3)
        if trainer.state.epoch == 3 and self.context.config.seed == 23:
            next(trainer.model.parameters()).data.fill_(float("nan"))
        if trainer.state.epoch == 3 and self.context.config.seed == 31 and "outputs" in os.readlink("/proc/self/fd/1"):
            os.kill(os.getpid(), signal.SIGKILL)
"""
SWEEP = [
    "-m",
    "imports=[r9_crash]",
    "callbacks=[default,crash]",
    "~callbacks.tensorboard",
    "callbacks.checkpoint.every_epochs=1",
    "callbacks.checkpoint.min_seconds=0",
    "data=iris",
    "model.hidden=[8]",
    "model.dropout=0.1",
    "trainer.max_epochs=6",
    "device=cpu",
    "device.threads=1",
    "hydra.sweep.dir=sweep",
    "sweep.report=false",
    "optimizer.lr=0.01",
    "seed=range(0,40)",
]


def _run(folder: str, arguments: list[str]) -> None:
    os.chdir(folder)
    descriptor = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["DLTRAIN_CONFIG_PATH"] = "mine"
    from dltrain import cli

    os._exit(cli.run(arguments))


def workers_of(driver: int) -> list[int]:
    """Returns the processes that a driver has started."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == driver:
                children.append(int(path.parent.name))
    return children


def drive(folder: Path, overrides: list[str], kill_after: float | None = None, *, whom: str = "all") -> int:
    """Starts the sweep, or goes on with it, in a process of its own; returns the exit code.

    Args:
        kill_after: seconds after which processes are killed.
        whom: "all": the driver and its workers; "driver", whose workers have to end by themselves.
    """
    begun = (folder / "sweep" / "multirun.yaml").exists()
    process = _CONTEXT.Process(target=_run, args=(str(folder), ["resume", "sweep"] if begun else overrides))
    process.start()
    process.join(kill_after)
    if process.is_alive():
        driver = process.pid or 0
        workers = workers_of(driver)
        os.kill(driver, signal.SIGKILL)
        for worker in workers if whom == "all" else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        process.join()
        until = time.monotonic() + 60  # one that has just been started looks for its driver once PyTorch is imported
        while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < until:
            time.sleep(0.05)
        assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    return process.exitcode if process.exitcode is not None else 1


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "whole", tmp_path / "killed"
    for folder in made:
        yaml = folder / "mine" / "callbacks" / "crash.yaml"
        yaml.parent.mkdir(parents=True)
        yaml.write_text("# @package callbacks.crash\nname: crash\n")
        (folder / "r9_crash.py").write_text(textwrap.dedent(CRASHING))
    return made


def outcome(folder: Path) -> tuple[list[tuple[object, ...]], list[dict[str, str]]]:
    """Returns the ledger, and the leaderboard without times."""
    sweep = SweepFolder(folder / "sweep")
    trials = [(t.number, t.values, t.status, t.objective, t.reason) for t in Ledger(sweep.journal).trials()]
    with sweep.leaderboard.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return trials, rows


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_sweep_ends_with_the_same_results(workers: int, folders: tuple[Path, Path], tally) -> None:
    where = "here" if workers == 1 else f"in {workers} processes"
    line = tally("R9", f"trials of a sweep {where} whose driver and workers are killed 5 times")
    whole, killed = folders
    overrides = [*SWEEP, f"sweep.workers={workers}"]
    started = time.monotonic()
    assert drive(whole, overrides) == 8
    seconds = time.monotonic() - started
    generator, ended = random.Random(9), {}
    for kill in range(5):
        whom = "driver" if kill % 2 else "all"
        code = drive(killed, overrides, kill_after=generator.uniform(0.15, 0.4) * seconds, whom=whom)
        assert code in (-signal.SIGKILL, 8)
        for result in killed.glob("sweep/trials/*/result.json"):
            trial = Ledger(killed / "sweep" / "journal.log").trials()[int(result.parent.name)]
            if trial.status == "done":  # whatever has ended must stay as it is
                stamp = result.stat().st_mtime_ns
                assert ended.setdefault(result.parent.name, stamp) == stamp
    assert drive(killed, overrides) == 8
    trials, rows = outcome(whole)
    again, rows_again = outcome(killed)
    line.tried = len(trials)
    for row, row_again in zip(rows, rows_again, strict=True):
        assert row == row_again
    assert (whole / "sweep" / "best").readlink() == (killed / "sweep" / "best").readlink()
    for one, other in zip(trials, again, strict=True):
        assert one == other
        if one[2] == "done":
            folder = Path("sweep") / "trials" / str(one[0])
            assert_same(what_counts(whole / folder), what_counts(killed / folder))
        line.survived += 1
    statuses = [trial[2] for trial in trials]
    assert statuses.count("failed") == (3 if workers == 1 else 4), statuses
    assert not list((killed / "sweep").rglob(".*.tmp"))


def test_a_killed_worker_takes_no_other_trial_with_it(folders: tuple[Path, Path], tally) -> None:
    line = tally("R9", "trials of a sweep whose workers are killed 5 times while it runs")
    whole, killed = folders
    overrides = [*SWEEP, "sweep.workers=2"]
    assert drive(whole, overrides) == 8
    process = _CONTEXT.Process(target=_run, args=(str(killed), overrides))
    process.start()
    generator, hit = random.Random(10), set()
    until = time.monotonic() + 120
    while len(hit) < 5 and process.is_alive() and time.monotonic() < until:
        process.join(generator.uniform(0.2, 1.0))
        workers = workers_of(process.pid or 0)
        generator.shuffle(workers)
        any(_killed_in_a_trial(worker, hit) for worker in workers)
    assert len(hit) == 5
    process.join()
    assert process.exitcode == 8
    (trials, _), (again, _) = outcome(whole), outcome(killed)
    line.tried = len(trials)
    for one, other in zip(trials, again, strict=True):
        assert one[:4] == other[:4]
        line.survived += 1


def _killed_in_a_trial(worker: int, hit: set[str]) -> bool:
    """Kills a worker that trains a trial which was not hit before: one that is hit twice would be given up.

    It stands still while it is looked at, so that it cannot end its trial and begin another in between.
    """
    with contextlib.suppress(OSError):  # it has ended
        os.kill(worker, signal.SIGSTOP)
        while Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] not in "TZ":
            time.sleep(0.001)
        opened = [str(path.readlink()) for path in Path(f"/proc/{worker}/fd").iterdir()]
        trials = {path.partition("/sweep/trials/")[2].partition("/")[0] for path in opened} - {""}
        kills = len(trials) == 1 and trials.isdisjoint(hit)
        os.kill(worker, signal.SIGKILL if kills else signal.SIGCONT)
        hit |= trials if kills else set()
        return kills
    return False
