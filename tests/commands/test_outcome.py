"""What is printed when training has ended."""

from __future__ import annotations

import re

from commandline import QUICK

LONG = ("data=iris", "model.hidden=[4]", "~callbacks.tensorboard", "report=false")


def test_the_test_column_says_which_weights_were_evaluated(dltrain):
    assert "test, best weights" in dltrain(*QUICK, "report=false").out
    shown = dltrain(*QUICK, "report=false", "callbacks.checkpoint.keep_best=0").out
    assert " test " in shown and "best weights" not in shown


def test_training_longer_names_what_stopped_the_run(dltrain):
    stop = ["callbacks.early_stopping.patience=1", "optimizer=sgd", "optimizer.lr=100"]
    longer = {
        "trainer.max_epochs=2": ["trainer.max_epochs=1"],
        "trainer.max_steps=4": ["trainer.max_steps=2", "trainer.max_epochs=null"],
        "trainer.max_epochs=2 trainer.max_steps=6": ["trainer.max_steps=3", "trainer.max_epochs=1"],
        "callbacks.early_stopping.patience=2": ["trainer.max_epochs=50", *stop],
    }
    for number, (overrides, limits) in enumerate(longer.items()):
        answer = dltrain(*LONG, *limits, f"run_dir=run{number}")
        assert answer.code == 0, answer.err
        assert f"dltrain resume run{number} {overrides} " in answer.out, answer.out
        told = dltrain("resume", f"run{number}").out.splitlines()[-1]
        assert told == f"Train longer with: dltrain resume run{number} {overrides}"


def test_several_runs_end_with_a_table_of_them(of_two):
    shown = of_two.out.splitlines()
    rows = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in shown if line[:1] in "│┃"]
    titles, *lines = [row for row in rows if row]
    assert titles == ["trial", "lr", "best val/loss", "test/loss", "test/accuracy", "epochs", "time"]
    assert sorted(line[:2] for line in lines) == [["0", "0.1"], ["1", "0.2"]]
    assert float(lines[0][2]) <= float(lines[1][2])
    assert all(float(accuracy) <= 1 and epochs == "1" and time for *_, accuracy, epochs, time in lines)
    assert "2 trials in runs/sweeps/" in of_two.out


def test_a_multirun_of_one_run_has_no_table_of_runs(dltrain):
    answer = dltrain(*QUICK, "-m", "optimizer.lr=0.1", "sweep.report=false")
    assert answer.code == 0, answer.err
    assert "┏" not in answer.out and "\n1 trial in runs/sweeps/" in answer.out
