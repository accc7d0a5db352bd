"""Small sweeps for tests: in this process, and as a kill leaves them."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dltrain import multirun
from dltrain.history import History, Row
from dltrain.run_folder import RunFolder
from dltrain.sweeps import crew, driver
from dltrain.sweeps import leaderboard as leaderboard_of
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger, Trial

# In this process, and without the plots.
HERE = ("sweep.workers=1", "sweep.report=false")
QUICK = (*HERE, "data=iris", "model.hidden=[4]", "callbacks=[checkpoint]")

_ENDS = (1, 2, 3)  # complete, pruned, failed, as Optuna numbers them
_STATE = 6  # the line of its journal that says such a one


def planned(folder: Path | str, *words: str, config_dirs: list[Path] | None = None) -> SweepFolder:
    """Makes the folder of a sweep, of which no trial is trained yet."""
    return multirun.start([*words, f"hydra.sweep.dir={folder}"], config_dirs or [])


def trained(folder: Path | str, *words: str) -> SweepFolder:
    """Trains a sweep as the command line does, but for Hydra's own, which composes the same config three times more."""
    sweep = planned(folder, *words)
    crew.train(sweep, "cpu", None)
    leaderboard_of.write(sweep, leaderboard_of.ranked(sweep))
    return sweep


def swept(folder: Path, *words: str) -> SweepFolder:
    """Trains a sweep in a folder, outside of any test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return trained(folder / "sweep", *words)


def points_of(sweep: SweepFolder, objectives: Iterator[float] | None = None) -> list[dict[str, str]]:
    """Ends each trial of a sweep without training it, and returns the values of all.

    Args:
        objectives: of the trials; without them the first is the best.
    """
    agenda, objectives = driver.Agenda(sweep), objectives or itertools.count(1.0)
    while (number := agenda.next()) is not None:
        agenda.ledger.finish(number, next(objectives))
    return [trial.values for trial in agenda.ledger.trials()]


def trials_of(sweep: SweepFolder) -> list[Trial]:
    return Ledger(sweep.journal).trials()


def leaderboard(sweep: SweepFolder) -> list[dict[str, str]]:
    with sweep.leaderboard.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows_of(run: RunFolder) -> list[Row]:
    """Returns the rows of figures of a run, without their times."""
    return [{name: row[name] for name in row if name != "epoch_seconds"} for row in History(run.metrics).rows()]


def forget_end(sweep: SweepFolder, trial: int) -> None:
    """Leaves a trial as a kill does that came after its last step and before its end was written anywhere."""
    for run in sweep.runs_of(trial):
        run.result.unlink()
    lines = [json.loads(line) for line in sweep.journal.read_text(encoding="utf-8").splitlines()]
    ends = [line for line in lines if line["op_code"] == _STATE and line.get("state") in _ENDS]
    own = [line for line in ends if line["trial_id"] == trial]
    assert len(own) == 1
    kept = [line for line in lines if line not in own]
    sweep.journal.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")
