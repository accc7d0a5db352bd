"""Sweeps through the command line: what fails, what goes on, and the leaderboard."""

from __future__ import annotations

import csv
import json
import textwrap

import pytest
import yaml

from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger

HERE = ["sweep.workers=1", "sweep.report=false"]  # in this process, and without the plots
QUICK = [*HERE, "data=iris", "model.hidden=[4]", "trainer.max_epochs=2", "~callbacks.tensorboard"]


def the_sweep(work) -> SweepFolder:
    (path,) = work.glob("runs/sweeps/*")
    return SweepFolder(path)


def leaderboard(sweep: SweepFolder) -> list[dict[str, str]]:
    with sweep.leaderboard.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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
    assert f"3 trials (1 failed) in {sweep.path.relative_to(work)}; the best one is" in answer.out


def test_the_metric_of_the_sweep_decides(dltrain, work):
    answer = dltrain(*QUICK, "-m", "optimizer.lr=0.001,0.1", "sweep.metric=val/accuracy")
    assert answer.code == 0, answer.err
    rows = leaderboard(the_sweep(work))
    assert float(rows[0]["val/accuracy"]) >= float(rows[1]["val/accuracy"])
    answer = dltrain(*QUICK, "-m", "optimizer.lr=0.1", "sweep.metric=val/acuracy")
    assert answer.code == 2 and answer.err == (
        "error: sweep.metric = 'val/acuracy': this run logs no such metric. Did you mean 'val/accuracy'?\n"
    )
    assert len(list(work.glob("runs/sweeps/*"))) == 1


def test_mistakes_of_the_space_are_told_before_the_first_trial(dltrain, work):
    (work / "mine" / "sweep").mkdir(parents=True)
    for words, code, text in (
        (["optimizer.lr=interval(2,1)"], 2, "optimizer.lr=interval(2,1): interval(2, 1) is empty: the first number"),
        (["optimizer.lr=tag(log,interval(0,1))"], 2, "tag(log, interval(0, 1)): a logarithm needs numbers above 0"),
        (["optimizer.lr=tag(lg,interval(1,2))"], 2, "optimizer.lr=tag(lg,interval(1,2)): no tag 'lg'. There is: log"),
        (["optimizer.lr=interval(-1,0.1)"], 2, "optimizer.lr = -1: must be a number above 0."),
        (["optimizr.lr=0.1,0.2"], 2, "no setting 'optimizr.lr'. Did you mean 'optimizer.lr'?"),
        (["model=mlp,lsmt"], 2, "no model named 'lsmt'. Did you mean 'lstm'?"),
        (
            ["sweep=grid", "optimizer.lr=interval(1,2)"],
            2,
            "sweep=grid: optimizer.lr=interval(1,2) has no end of values",
        ),
        (["sweep=grid", "optimizer.lr=1,2", "sweep.trials=1"], 2, "sweep.trials = 1: a grid has 2 points"),
        (["sweep=tpe"], 2, "sweep=tpe: there is nothing to search. Give a setting several values, or an interval"),
        (["sweep.trials=2,3", "seed=1,2"], 2, "sweep.trials=2,3: settings of the sweep itself cannot be searched"),
        (["optimizer.lr=1,2", "optimizer.lr=3"], 2, "optimizer.lr is given twice, of which once with several values"),
        (["optimizer.lr=range(1,10,0)"], 2, "optimizer.lr=range(1,10,0): cannot be searched: "),
        (["model.dropout=interval(0,inf)"], 2, "interval(0, inf): both ends must be numbers, and finite"),
        (["seed=1,2", "sweep.seeds=2"], 2, "sweep.seeds = 2: the seed is searched already. Leave out one of the two"),
        (["trainer.batch_size=interval(1,8)"], 2, "trainer.batch_size = 4.521: must be a whole number at least 1."),
        (["sweep.space={optimizer.lr: []}"], 2, "optimizer.lr=[]: there is no value in it"),
        (
            ["run_dir=x", "seed=1,2"],
            2,
            "run_dir = 'x': the runs of a sweep have folders in the sweep's. Name that with",
        ),
        (["sweep=rndom", "optimizer.lr=1,2"], 2, "no sweep named 'rndom'. Did you mean 'random'?"),
        (["sweep.space={model.hiden: [1]}"], 2, "no setting 'model.hiden'. Did you mean 'model.hidden'?"),
        (
            ['sweep.space={model.hidden: {length: "interval(0.0,2)", each: "range(1,3)"}}'],
            2,
            "length needs whole numbers",
        ),
        (['sweep.space={model.hidden: {long: "range(1,3)"}}'], 2, "give length, and each or all"),
        (['sweep.space={model.hidden: {values: 1, when: "a=b"}}'], 2, "when needs key=value, with a key of the space"),
    ):
        answer = dltrain("data=iris", "-m", *words)
        assert answer.code == code and text in answer.err, (words, answer.err)
        assert not (work / "runs").exists()


def test_random_search_draws_the_same_points_again(dltrain, work):
    words = [*QUICK, "-m", "optimizer.lr=tag(log,interval(3e-4,3e-2))", "model.dropout=interval(0,0.5)", "model=mlp"]
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        answer = dltrain(*words, "sweep.trials=2", f"sweep.seed={seed}", f"hydra.sweep.dir={name}")
        assert answer.code == 0, answer.err
    drawn = {name: [t.values for t in Ledger(work / name / "journal.log").trials()] for name in ("one", "two", "three")}
    assert drawn["one"] == drawn["two"] != drawn["three"]
    for values in drawn["one"]:
        assert 3e-4 <= float(values["optimizer.lr"]) <= 3e-2 and 0 <= float(values["model.dropout"]) <= 0.5
    assert len({values["optimizer.lr"] for values in drawn["one"]}) == 2
    answer = dltrain("resume", "one", "sweep.trials=3")
    assert answer.code == 0, answer.err
    more = [trial.values for trial in Ledger(work / "one" / "journal.log").trials()]
    assert len(more) == 3 and more[:2] == drawn["one"]
    answer = dltrain("resume", "one", "sweep.trials=2")
    assert answer.code == 2 and "sweep.trials=2: the sweep is to have 3 trials already" in answer.err


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_a_space_with_conditions_from_a_yaml_file(sampler, dltrain, work):
    path = work / "mine" / "sweep" / "depth.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        textwrap.dedent(f"""
            # A depth, a width for each layer, and momentum for SGD alone
            name: {sampler}
            trials: 6
            space:
              model.hidden: {{length: "int(interval(0, 3))", each: "tag(log, int(interval(2, 20)))"}}
              optimizer: [adam, sgd]
              optimizer.momentum: {{values: "interval(0, 0.9)", when: optimizer=sgd}}
              model.norm: [null, batch]
        """).lstrip()
    )
    quick = [*HERE, "data=iris", "trainer.max_epochs=1", "callbacks=none"]
    answer = dltrain("--config-dir", "mine", *quick, "-m", "sweep=depth")
    assert answer.code == 0, answer.err
    trials = Ledger(the_sweep(work).journal).trials()
    assert len(trials) == 6
    lengths = set()
    for trial in trials:
        hidden = yaml.safe_load(trial.values["model.hidden"])
        lengths.add(len(hidden))
        assert all(2 <= width <= 20 for width in hidden)
        assert ("optimizer.momentum" in trial.values) == (trial.values["optimizer"] == "sgd")
        saved = yaml.safe_load((the_sweep(work).trials / str(trial.number) / "config.yaml").read_text())
        assert saved["model"]["hidden"] == hidden and saved["optimizer"]["name"] == trial.values["optimizer"]
    assert len(lengths) > 1


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
    without_hidden = [word for word in QUICK if not word.startswith("model.hidden")]
    answer = dltrain("--config-dir", "mine", *without_hidden, "-m", "model=small", "optimizer.lr=0.1,1e25")
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
    for words, text in (
        (["optimizer.lr=3"], "optimizer.lr=3: the sweep searches optimizer.lr: 0.1,0.2. Start another sweep with -m"),
        (["optimizer.lr=0.1,0.3"], "optimizer.lr: the sweep searches 0.1,0.2, and not 0.1,0.3"),
        (["model.dropout=0,0.5"], "model.dropout=0,0.5: the sweep does not search model.dropout"),
        (["model.hidden=[8]"], "model.hidden=[8]: the trials of the sweep have model.hidden=[4]"),
        (["sweep.trials=9"], "sweep.trials=9: the sweep is a grid, which has 2 points"),
        (["sweep.wrokers=2"], "no setting 'sweep.wrokers'. Did you mean 'sweep.workers'?"),
        (["sweep.max_failures=0"], "sweep.max_failures = 0: must be a whole number at least 1 or null"),
        (["seed=3"], "seed=3: of a sweep that goes on only these can change: sweep.trials, sweep.workers"),
    ):
        answer = dltrain("resume", the_sweep(work).path, *words)
        assert answer.code == 2 and text in answer.err, answer.err
    answer = dltrain("resume", the_sweep(work).path, "optimizer.lr=choice(0.1,0.2)", "model.hidden=[4]")
    assert answer.code == 0, answer.err
    answer = dltrain("resume", the_sweep(work).path / "trials" / "0", "--retry-failed")
    assert answer.code == 2 and "is no sweep" in answer.err


@pytest.mark.parametrize("listed", ["가.txt,나 다.txt", "choice(가.txt,'나 다.txt')", "'가.txt','나 다.txt'"])
def test_korean_values_can_be_swept(listed, dltrain, work):
    (work / "가.txt").write_text("경마장에 있는 말이\n" * 9, encoding="utf-8")
    (work / "나 다.txt").write_text("가는 말이 곱다\n" * 9, encoding="utf-8")
    paths = f"data.path={listed}"
    answer = dltrain(*HERE, "model=rnn", "data=korean_text", "trainer.max_epochs=1", "-m", paths)
    assert answer.code == 0, answer.err
    swept = [trial.values["data.path"] for trial in Ledger(the_sweep(work).journal).trials()]
    assert swept == ["'가.txt'", "'나 다.txt'"]


def test_no_point_of_a_list_is_drawn_twice(dltrain, work):
    answer = dltrain(*QUICK, "-m", "sweep.trials=9", "optimizer.lr=0.1,0.2,0.3")
    assert answer.code == 0, answer.err
    values = [trial.values["optimizer.lr"] for trial in Ledger(the_sweep(work).journal).trials()]
    assert sorted(values) == ["0.1", "0.2", "0.3"] != values
    answer = dltrain("resume", the_sweep(work).path, "sweep.trials=4")
    assert answer.code == 2 and "sweep.trials=4: there are no more than 3 points" in answer.err


def test_the_weights_that_are_kept_are_those_that_rank_a_trial(dltrain, work):
    assert dltrain(*QUICK, "-m", "optimizer.lr=0.1,0.01", "sweep.metric=val/accuracy").code == 0
    sweep = the_sweep(work)
    saved = yaml.safe_load((sweep.best / "config.yaml").read_text())
    assert saved["callbacks"]["checkpoint"]["monitor"] == "val/accuracy"
    result = json.loads((sweep.best / "result.json").read_text())
    assert float(leaderboard(sweep)[0]["val/accuracy"]) == result["best"]["value"]


def test_a_folder_that_holds_something_else_is_not_taken(dltrain, work):
    (work / "mine").mkdir()
    (work / "mine" / "notes.txt").write_text("mine")
    answer = dltrain(*QUICK, "-m", "optimizer.lr=0.1,0.2", "hydra.sweep.dir=mine")
    assert (answer.code, answer.err) == (2, "error: mine is not empty. Name a new folder for the sweep\n")
    assert [path.name for path in (work / "mine").iterdir()] == ["notes.txt"]
