"""The table of a sweep's trials as a file."""

from __future__ import annotations

from sweeping import QUICK, leaderboard, planned, points_of

from dltrain.sweeps import leaderboard as leaderboard_of


def test_only_folders_that_are_there_are_named(work):
    sweep = planned("mine", *QUICK, "optimizer.lr=0.1,0.2,0.3")
    points_of(sweep)  # as they are once 'runs prune' has removed them
    (sweep.trials / "1").mkdir(parents=True)
    leaderboard_of.write(sweep, leaderboard_of.ranked(sweep), report=False)
    rows = [(row["trial"], row["status"], row["val/loss"], row["folder"]) for row in leaderboard(sweep)]
    assert rows == [("0", "done", "1.0", ""), ("1", "done", "2.0", "trials/1"), ("2", "done", "3.0", "")]
