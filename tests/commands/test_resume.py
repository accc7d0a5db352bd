"""What a run that goes on may change, and what it says."""

from __future__ import annotations

import json

import pytest
import yaml
from commandline import QUICK, tree


def last_row(run):
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])


def test_a_finished_run_says_how_to_train_longer(runs, dltrain, work):
    before = tree(work)
    answer = dltrain("resume", "last")
    assert answer.code == 0
    assert f"{runs[1]} is finished (reached max_epochs=60)" in answer.out
    assert "dltrain resume last trainer.max_epochs=120" in answer.out
    assert tree(work) == before


def test_a_report_that_a_kill_came_before_is_written(dltrain, work):
    assert dltrain(*QUICK, "run_dir=run").code == 0
    report = work / "run" / "report.html"
    report.unlink()
    answer = dltrain("resume", "run", "report=false")
    assert answer.code == 0 and not report.exists()
    answer = dltrain("resume", "run")
    assert answer.code == 0 and answer.out.endswith("Its report was missing, and is written: run/report.html\n")
    assert "val/loss" in report.read_text(encoding="utf-8")
    before = tree(work)
    answer = dltrain(*QUICK, "run_dir=run", "resume=true")
    assert answer.code == 0 and "report" not in answer.out
    assert tree(work) == before


def test_a_run_is_trained_longer_in_its_own_folder(runs, dltrain):
    iris = runs[0]
    steps = last_row(iris)["step"]
    answer = dltrain("resume", "iris", "trainer.max_epochs=6", "optimizer.lr=0.01")
    assert answer.code == 0, answer.err
    assert last_row(iris)["epoch"] == 6 and last_row(iris)["step"] == steps // 4 * 6
    assert last_row(iris)["lr"] == 0.01
    assert yaml.safe_load((iris / "config.yaml").read_text())["trainer"]["max_epochs"] == 6
    assert yaml.safe_load((iris / "overrides.yaml").read_text())[-2:] == ["trainer.max_epochs=6", "optimizer.lr=0.01"]
    assert f"run {iris}\n" in answer.out


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["model.hidden=[3]", "optimizer.lr=0.1"],
            [
                "error: model.hidden: [6] -> [3]. A run that goes on cannot change it: the saved weights and what the",
                "Train a new run from these weights instead: dltrain --config runs/",
                "/config.yaml model.init_from=runs/",
                " 'model.hidden=[3]'\n",
            ],
        ),
        (["model=lstm"], ["error: model: mlp -> lstm. ", "Train a new run instead; model.init_from=runs/"]),
        (["seed=3"], ["seed: 0 -> 3. A run that goes on cannot change it: the order of the samples would be another"]),
        (["optimizer.groups={layers.0.*: {lr: 0.1}}"], ["optimizer.groups: {} -> {layers.0.*: {lr: 0.1}}. "]),
        (["model.init_from=last"], ["model.init_from: null -> last. ", "it has weights of its own by now"]),
        (["experiment=sine"], ["'experiment=sine': cannot be chosen for a config that is composed already"]),
        (
            ["seed=3", "model.dropout=0.1", "trainer.batch_size=9"],
            ["3 mistakes", "seed: 0 -> 3", "model.dropout: 0.0 -> 0.1", "trainer.batch_size: 32 -> 9"],
        ),
        (["trainer.max_epoch=9"], ["no setting 'trainer.max_epoch'. Did you mean 'trainer.max_epochs'?"]),
        (["+trainer.max_epochs=9"], ["here only key=value can be used"]),
        (["trainer.max_epochs=9,10"], ["here only key=value can be used"]),
        (["trainer.max_epochs=[9"], ["cannot be read"]),
        (["trainer.max_epochs=-9"], ["trainer.max_epochs = -9: must be a whole number at least 1"]),
        (["seed=3", "modle=3", "+a=1"], ["2 mistakes", "no setting 'modle'", "'+a=1'"]),
    ],
)
def test_what_may_not_change_is_refused(overrides, words, runs, dltrain, work):
    before = tree(work)
    answer = dltrain("resume", "iris", *overrides)
    assert answer.code == 2
    for word in words:
        assert word in answer.err
    assert tree(work) == before


def test_a_change_that_would_train_nothing_changes_nothing(runs, dltrain, work):
    before = tree(work)
    answer = dltrain("resume", "iris", "optimizer.lr=0.5")
    assert answer.code == 0
    assert (
        "nothing is left to do.\nNothing was changed: optimizer.lr: 0.001 -> 0.5 would train nothing.\n" in answer.out
    )
    assert "Train longer with: dltrain resume iris trainer.max_epochs=8" in answer.out
    assert dltrain("resume", "iris", "trainer.max_epochs=4").code == 0  # which it has already
    assert dltrain("resume", "iris", "trainer.max_epochs=3").code == 2  # it is beyond that
    assert tree(work) == before


def test_callbacks_come_and_go_and_the_log_says_so(runs, dltrain):
    iris = runs[0]
    longer = "trainer.max_epochs=5"
    assert dltrain("resume", "iris", longer, "callbacks=[default,ema]", "~callbacks.early_stopping").code == 0
    log = (iris / "train.log").read_text()
    assert "INFO changed: callbacks.ema: null -> {name: ema, " in log
    assert "WARNING callbacks.ema is new in this run: it starts with what comes from here on" in log
    assert "WARNING callbacks.early_stopping is gone, and what it had gathered is dropped" in log
    config = yaml.safe_load((iris / "config.yaml").read_text())
    assert config["callbacks"]["checkpoint"]["min_seconds"] == 0  # as it was, and not as its YAML file has it
    assert "ema" in config["callbacks"] and "early_stopping" not in config["callbacks"]


def test_a_moved_run_goes_on(runs, dltrain, work):
    runs[0].rename(work / "moved")
    answer = dltrain("resume", "moved", "trainer.max_epochs=5")
    assert answer.code == 0, answer.err
    assert last_row(work / "moved")["epoch"] == 5
    assert not runs[0].exists()
