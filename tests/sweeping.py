"""Small sweeps for tests: in this process, and as a kill leaves them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from dltrain import cli
from dltrain.history import History, Row
from dltrain.run_folder import RunFolder
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger, Trial

# In this process, and without the plots.
HERE = ("sweep.workers=1", "sweep.report=false")
QUICK = (*HERE, "data=iris", "model.hidden=[4]", "callbacks=[checkpoint]")

_ENDS = (1, 2, 3)  # complete, pruned, failed, as Optuna numbers them
_STATE = 6  # the line of its journal that says such a one


def swept(folder: Path, *arguments: str) -> SweepFolder:
    """Trains a sweep in a folder, outside of any test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.path", [*sys.path])  # the command line adds the working directory
        patch.chdir(folder)
        assert cli.run(["-m", *arguments, f"hydra.sweep.dir={folder / 'sweep'}"]) == 0
    return SweepFolder(folder / "sweep")


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
