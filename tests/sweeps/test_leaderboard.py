"""The table of a sweep's trials as a file."""

from __future__ import annotations

import re
import shutil

from sweeping import QUICK, leaderboard, planned, points_of

from dltrain.run_folder import write_json
from dltrain.sweeps import driver
from dltrain.sweeps import leaderboard as leaderboard_of


def test_only_folders_that_are_there_are_named(work):
    sweep = planned("mine", *QUICK, "optimizer.lr=0.1,0.2,0.3", "sweep.report=true")
    points_of(sweep)  # as they are once 'runs prune' has removed them
    (sweep.trials / "1").mkdir(parents=True)
    leaderboard_of.write(sweep, leaderboard_of.ranked(sweep))
    assert re.findall(r'href="(trials/[^"]*)"', sweep.report.read_text(encoding="utf-8")) == ["trials/1"]
    rows = [(row["trial"], row["status"], row["val/loss"], row["folder"]) for row in leaderboard(sweep)]
    assert rows == [("0", "done", "1.0", ""), ("1", "done", "2.0", "trials/1"), ("2", "done", "3.0", "")]


def test_what_was_told_of_runs_that_are_removed_stays(work):
    """With two seeds each: of trial 0 both runs are gone, of trial 1 one is, of trial 2 none."""
    sweep = planned("mine", *QUICK, "optimizer.lr=0.1,0.2,0.3", "sweep.seeds=2")
    agenda = driver.Agenda(sweep)
    while (number := agenda.next()) is not None:
        agenda.ledger.finish(number, 1.0 + number, {"seed-0": 0.5 + number, "seed-1": 1.5 + number})
        for part in ("seed-0", "seed-1"):
            run = sweep.run(number, part)
            run.path.mkdir(parents=True)
            result = {"status": "done", "epochs": 2, "seconds": 0.5, "test": {"test/accuracy": 0.25 * number}}
            write_json(run.result, result)
            run.config.write_text("{}")
    leaderboard_of.write(sweep, leaderboard_of.ranked(sweep), report=False)
    before = leaderboard(sweep)
    assert [(row["test/accuracy"], row["epochs"], row["seconds"]) for row in before] == [
        ("0.0", "4", "1.0"), ("0.25", "4", "1.0"), ("0.5", "4", "1.0"),
    ]  # fmt: skip
    shutil.rmtree(sweep.trials / "0")
    shutil.rmtree(sweep.run(1, "seed-1").path)
    leaderboard_of.write(sweep, leaderboard_of.ranked(sweep), report=False)
    assert leaderboard(sweep) == [before[0] | {"folder": ""}, *before[1:]]
    sweep.leaderboard.write_text("trial,epochs,seconds\n0,many,1\n")
    leaderboard_of.write(sweep, leaderboard_of.ranked(sweep), report=False)
    assert [row["epochs"] for row in leaderboard(sweep)] == ["", "2", "4"]
