"""R9: a sweep whose driver is killed again and again ends with the trials of one that never was."""

from __future__ import annotations

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

# 37 trials that end well, and three that do not: one raises, one calls sys.exit, one gets weights of NaN.
CRASHING = """
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
]


def _run(folder: str, arguments: list[str]) -> None:
    os.chdir(folder)
    descriptor = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["DLTRAIN_CONFIG_PATH"] = "mine"
    from dltrain import cli

    os._exit(cli.run(arguments))


def drive(folder: Path, overrides: list[str], kill_after: float | None = None) -> int:
    """Starts the sweep, or goes on with it, in a process of its own; returns the exit code."""
    begun = (folder / "sweep" / "multirun.yaml").exists()
    process = _CONTEXT.Process(target=_run, args=(str(folder), ["resume", "sweep"] if begun else overrides))
    process.start()
    process.join(kill_after)
    if process.is_alive():
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
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


def test_a_killed_sweep_ends_with_the_same_results(folders: tuple[Path, Path], tally) -> None:
    line = tally("R9", "trials of a sweep whose driver is killed 5 times")
    whole, killed = folders
    overrides = [*SWEEP, "optimizer.lr=0.01", "seed=range(0,40)"]
    started = time.monotonic()
    assert drive(whole, overrides) == 8
    seconds = time.monotonic() - started
    generator, ended = random.Random(9), {}
    kills = 0
    while kills < 5:
        code = drive(killed, overrides, kill_after=generator.uniform(0.15, 0.4) * seconds)
        assert code in (-signal.SIGKILL, 8)
        kills += 1
        for result in killed.glob("sweep/trials/*/result.json"):
            trial = Ledger(killed / "sweep" / "journal.log").trials()[int(result.parent.name)]
            if trial.status == "done":  # whatever has ended must stay as it is
                stamp = result.stat().st_mtime_ns
                assert ended.setdefault(result.parent.name, stamp) == stamp
    assert drive(killed, overrides) == 8
    trials, rows = outcome(whole)
    again, rows_again = outcome(killed)
    line.tried = len(trials)
    assert rows == rows_again
    assert (whole / "sweep" / "best").readlink() == (killed / "sweep" / "best").readlink()
    for one, other in zip(trials, again, strict=True):
        assert one == other
        if one[2] == "done":
            folder = Path("sweep") / "trials" / str(one[0])
            first, second = what_counts(whole / folder), what_counts(killed / folder)
            assert_same(first, second)
        line.survived += 1
    statuses = [trial[2] for trial in trials]
    assert statuses.count("failed") == 3, statuses
