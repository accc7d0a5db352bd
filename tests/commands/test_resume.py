"""What a run that goes on may change, and what it says."""

from __future__ import annotations

import json

import pytest
import yaml
from commandline import tree


def last_row(run):
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])


def test_a_finished_run_says_how_to_train_longer(runs, dltrain, work):
    before = tree(work)
    answer = dltrain("resume", "last")
    assert answer.code == 0
    assert f"{runs[1]} is finished (reached max_epochs=60)" in answer.out
    assert "dltrain resume last trainer.max_epochs=120" in answer.out
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
        (["model.hidden=[3]"], ["'model.hidden=[3]': a run that goes on can change only", "trainer.max_epochs"]),
        (["model=lstm"], ["'model=lstm': a run that goes on can change only"]),
        (["seed=3"], ["'seed=3': a run that goes on can change only"]),
        (["trainer.max_epoch=9"], ["no setting 'trainer.max_epoch'. Did you mean 'trainer.max_epochs'?"]),
        (["+trainer.max_epochs=9"], ["here only key=value can be used"]),
        (["trainer.max_epochs=9,10"], ["here only key=value can be used"]),
        (["trainer.max_epochs=[9"], ["cannot be read"]),
        (["trainer.max_epochs=-9"], ["trainer.max_epochs = -9: must be a whole number at least 1"]),
        (["seed=3", "modle=3", "+a=1"], ["3 mistakes", "'seed=3'", "no setting 'modle'", "'+a=1'"]),
    ],
)
def test_what_may_not_change_is_refused(overrides, words, runs, dltrain, work):
    before = tree(work)
    answer = dltrain("resume", "iris", *overrides)
    assert answer.code == 2
    for word in words:
        assert word in answer.err
    assert tree(work) == before
