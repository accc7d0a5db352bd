"""Sweeps through the command line: what fails, what goes on, and the leaderboard."""

from __future__ import annotations

import csv
import json
import textwrap

import pytest
import yaml

from dltrain.sweeps.driver import grid
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger

QUICK = ["data=iris", "model.hidden=[4]", "trainer.max_epochs=2", "~callbacks.tensorboard"]


def the_sweep(work) -> SweepFolder:
    (path,) = work.glob("runs/sweeps/*")
    return SweepFolder(path)


def leaderboard(sweep: SweepFolder) -> list[dict[str, str]]:
    with sweep.leaderboard.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_is_every_combination_the_last_list_fastest():
    assert grid(["a=1,2", "b=3", "c=[4],[5]", "d=range(0,2)", "e=choice(가,'나 다')"])[:3] == [
        {"a": "1", "c": "[4]", "d": "0", "e": "'가'"},
        {"a": "1", "c": "[4]", "d": "0", "e": "'나 다'"},
        {"a": "1", "c": "[4]", "d": "1", "e": "'가'"},
    ]
    assert grid(["a=1"]) == [{}]
    assert {"optimizer": "adamw"} in grid(["optimizer=glob(adam*)"])


def test_the_leaderboard_ranks_the_trials_and_links_the_best(dltrain, work):
    answer = dltrain(*QUICK, "-m", "optimizer.lr=0.001,0.1,1e25")
    assert answer.code == 8 and "1 of the trials failed" in answer.err
    sweep = the_sweep(work)
    rows = leaderboard(sweep)
    assert [(row["rank"], row["trial"], row["status"], row["optimizer.lr"]) for row in rows] == [
        ("1", "1", "done", "0.1"),
        ("2", "0", "done", "0.001"),
        ("", "2", "failed", "1e+25"),
    ]
    result = json.loads((sweep.best / "result.json").read_text())
    assert float(rows[0]["val/loss"]) == result["best"]["value"]
    assert float(rows[0]["test/accuracy"]) == result["test"]["test/accuracy"]
    assert rows[2]["reason"].startswith("the loss became NaN or infinite at step 2")
    assert (sweep.trials / "2" / "error.txt").read_text().startswith("the loss became NaN")
    assert f"trials in {sweep.path.relative_to(work)}; the best one is" in answer.out


def test_the_metric_of_the_sweep_decides(dltrain, work):
    answer = dltrain(*QUICK, "-m", "optimizer.lr=0.001,0.1", "sweep.metric=val/accuracy")
    assert answer.code == 0, answer.err
    rows = leaderboard(the_sweep(work))
    assert float(rows[0]["val/accuracy"]) >= float(rows[1]["val/accuracy"])
    answer = dltrain(*QUICK, "-m", "optimizer.lr=0.1", "sweep.metric=val/acuracy")
    assert answer.code == 8 and "sweep.metric = 'val/acuracy'" in answer.err


def test_metrics_that_differ_between_the_trials_are_refused(dltrain, work):
    answer = dltrain(*QUICK, "-m", "callbacks.checkpoint.monitor=val/loss,val/accuracy")
    assert (answer.code, answer.err.strip()) == (
        2,
        "error: the trials would be ranked by different metrics: val/loss, val/accuracy. "
        "Set sweep.metric to one of them",
    )
    assert not (work / "runs").exists()


FAILING = """
import os, sys
from dltrain import registry
from dltrain.callbacks.base import Callback
from dataclasses import dataclass
from dltrain.config import setting

@dataclass(frozen=True)
class FailSettings:
    name: str = setting("Name.")
    how: str = setting("How.")

@registry.register("callbacks", "fail", FailSettings)
class Fail(Callback):
    def on_epoch_end(self, trainer):
        if self.settings.how == "raise":
            raise KeyError("mine")
        if self.settings.how == "exit":
            sys.exit(3)
"""


def test_a_trial_that_raises_or_exits_is_recorded_and_the_others_go_on(dltrain, work):
    (work / "sweep_fails.py").write_text(textwrap.dedent(FAILING))
    path = work / "mine" / "callbacks" / "fail.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package callbacks.fail\nname: fail\nhow: raise\n")
    own = ["--config-dir", "mine", "imports=[sweep_fails]", "callbacks=[default,fail]"]
    from dltrain import cli

    code = cli.run([*QUICK, *own, "-m", "callbacks.fail.how=raise,exit,none"])
    assert code == 8
    sweep = the_sweep(work)
    assert [trial.status for trial in Ledger(sweep.journal).trials()] == ["failed", "failed", "done"]
    reasons = {row["trial"]: row["reason"] for row in leaderboard(sweep)}
    assert "KeyError: 'mine'" in reasons["0"] and reasons["1"] == "SystemExit: 3"
    assert "Traceback" in (sweep.trials / "0" / "error.txt").read_text()


def test_an_edit_of_a_yaml_file_changes_nothing_in_a_sweep(dltrain, work):
    path = work / "mine" / "model" / "small.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# Small\ndefaults: [mlp]\nhidden: [3]\n")
    answer = dltrain("--config-dir", "mine", *QUICK[:1], *QUICK[2:], "-m", "model=small", "optimizer.lr=0.1,1e25")
    assert answer.code == 8
    sweep = the_sweep(work)
    path.write_text("# Small\ndefaults: [mlp]\nhidden: [999]\n")
    assert dltrain("resume", sweep.path, "--retry-failed").code == 8
    assert yaml.safe_load((sweep.trials / "1" / "config.yaml").read_text())["model"]["hidden"] == [3]


def test_resuming_a_finished_sweep_trains_nothing(dltrain, work, monkeypatch):
    assert dltrain(*QUICK, "-m", "optimizer.lr=0.1,0.2").code == 0
    sweep = the_sweep(work)
    before = {path: path.stat().st_mtime_ns for path in sweep.trials.rglob("*") if path.is_file()}
    elsewhere = work / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    answer = dltrain("resume", sweep.path)
    assert answer.code == 0 and "the best one is" in answer.out
    assert before == {path: path.stat().st_mtime_ns for path in sweep.trials.rglob("*") if path.is_file()}


def test_what_cannot_be_changed_is_said(dltrain, work):
    assert dltrain(*QUICK, "-m", "optimizer.lr=0.1,0.2").code == 0
    answer = dltrain("resume", the_sweep(work).path, "optimizer.lr=3")
    assert answer.code == 2 and "'optimizer.lr=3': of a sweep nothing can be changed" in answer.err
    answer = dltrain("resume", the_sweep(work).path / "trials" / "0", "--retry-failed")
    assert answer.code == 2 and "is no sweep" in answer.err


@pytest.mark.parametrize("listed", ["가.txt,나 다.txt", "choice(가.txt,'나 다.txt')", "'가.txt','나 다.txt'"])
def test_korean_values_can_be_swept(listed, dltrain, work):
    (work / "가.txt").write_text("경마장에 있는 말이\n" * 9, encoding="utf-8")
    (work / "나 다.txt").write_text("가는 말이 곱다\n" * 9, encoding="utf-8")
    paths = f"data.path={listed}"
    answer = dltrain("model=rnn", "data=korean_text", "trainer.max_epochs=1", "-m", paths)
    assert answer.code == 0, answer.err
    swept = [trial.values["data.path"] for trial in Ledger(the_sweep(work).journal).trials()]
    assert swept == ["'가.txt'", "'나 다.txt'"]
