"""Sweeps through the command line: what fails, what goes on, and the leaderboard."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from sweeping import HERE, leaderboard, planned, points_of, trained, trials_of
from sweeping import QUICK as FASTER

from dltrain import cli, compose, hydra_config
from dltrain.sweeps import parsing, planning
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger

QUICK = [*HERE, "data=iris", "model.hidden=[4]", "trainer.max_epochs=2", "~callbacks.tensorboard"]
SHORT = [*FASTER, "trainer.max_epochs=1"]


def the_sweep(work) -> SweepFolder:
    (path,) = work.glob("runs/sweeps/*")
    return SweepFolder(path)


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


def test_the_metric_of_the_sweep_decides_which_is_the_best_and_which_weights_are_kept(work):
    sweep = trained("mine", *SHORT, "optimizer.lr=0.001,0.1", "sweep.metric=val/accuracy")
    rows = leaderboard(sweep)
    assert float(rows[0]["val/accuracy"]) > float(rows[1]["val/accuracy"])
    saved = yaml.safe_load((sweep.best / "config.yaml").read_text())
    assert saved["callbacks"]["checkpoint"]["monitor"] == "val/accuracy"
    result = json.loads((sweep.best / "result.json").read_text())
    assert float(rows[0]["val/accuracy"]) == result["best"]["value"]


def test_mistakes_of_the_space_are_told_before_the_first_trial(dltrain, work):
    (work / "mine" / "sweep").mkdir(parents=True)
    for words, code, text in (
        (["optimizer.lr=interval(2,1)"], 2, "optimizer.lr=interval(2,1): interval(2, 1) is empty: the first number"),
        (["optimizer.lr=tag(log,interval(0,1))"], 2, "tag(log, interval(0, 1)): a logarithm needs numbers above 0"),
        (["optimizer.lr=tag(lg,interval(1,2))"], 2, "optimizer.lr=tag(lg,interval(1,2)): no tag 'lg'. There is: log"),
        (["optimizer.lr=interval(-1,0.1)"], 2, "optimizer.lr = -1: must be a number above 0."),
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
            ["optimizer.lr=0.1", "sweep.metric=val/acuracy"],
            2,
            "error: sweep.metric = 'val/acuracy': this run logs no such metric. Did you mean 'val/accuracy'?\n",
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
    space = ["optimizer.lr=tag(log,interval(3e-4,3e-2))", "model.dropout=interval(0,0.5)", "model=mlp"]
    one = trained("one", *SHORT, *space, "sweep.trials=2", "sweep.seed=5")
    drawn = [trial.values for trial in trials_of(one)]
    for values in drawn:
        assert 3e-4 <= float(values["optimizer.lr"]) <= 3e-2 and 0 <= float(values["model.dropout"]) <= 0.5
    assert len({values["optimizer.lr"] for values in drawn}) == 2
    plan = one.read_plan()
    assert plan.seed == 5
    for seed in (5, 6):
        another = SweepFolder.create(work / str(seed), plan.sampler)
        another.write_plan(replace(plan, seed=seed))
        assert (points_of(another) == drawn) == (seed == 5)
    answer = dltrain("resume", "one", "sweep.trials=3")
    assert answer.code == 0, answer.err
    more = [trial.values for trial in trials_of(one)]
    assert len(more) == 3 and more[:2] == drawn
    answer = dltrain("resume", "one", "sweep.trials=2")
    assert answer.code == 2 and "sweep.trials=2: the sweep is to have 3 trials already" in answer.err


def written(path: Path, text: str) -> Path:
    """Writes a YAML file of the user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip())
    return path


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_a_space_with_conditions_from_a_yaml_file(sampler, dltrain, work):
    written(
        work / "mine" / "sweep" / "depth.yaml",
        f"""
            # A depth, a width for each layer, and momentum for SGD alone
            name: {sampler}
            trials: 6
            space:
              model.hidden: {{length: "int(interval(0, 3))", each: "tag(log, int(interval(2, 20)))"}}
              optimizer: [adam, sgd]
              optimizer.momentum: {{values: "interval(0, 0.9)", when: optimizer=sgd}}
              model.norm: [null, batch]
        """,
    )
    words = [*HERE, "data=iris", "trainer.max_epochs=1", "callbacks=none", "sweep=depth"]
    if sampler == "tpe":  # for one of them, through to the end
        answer = dltrain("--config-dir", "mine", *words, "-m")
        assert answer.code == 0, answer.err
        sweep = the_sweep(work)
        saved = [yaml.safe_load(sweep.trial(trial).config.read_text()) for trial in range(6)]
    else:
        sweep = planned("swept", *words, config_dirs=[work / "mine"])
        with hydra_config.searching([work / "mine"]):
            saved = [compose.with_values(sweep.read_plan().overrides, values) for values in points_of(sweep)]
    assert sweep.read_plan().sampler == sampler
    trials = trials_of(sweep)
    assert len(trials) == 6
    lengths = set()
    for trial in trials:
        hidden = yaml.safe_load(trial.values["model.hidden"])
        lengths.add(len(hidden))
        assert all(2 <= width <= 20 for width in hidden)
        assert ("optimizer.momentum" in trial.values) == (trial.values["optimizer"] == "sgd")
        config = saved[trial.number]
        assert config["model"]["hidden"] == hidden and config["optimizer"]["name"] == trial.values["optimizer"]
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


@dataclass(frozen=True)
class OfUsers:
    """A sweep with YAML files and a module of the user's, and the exit codes with which it was trained."""

    sweep: SweepFolder
    codes: list[int]


@pytest.fixture(scope="module")
def of_users(tmp_path_factory) -> OfUsers:
    """A sweep whose YAML files were edited before its first trial was trained, and what failed trained once more."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "sweep_fails.py").write_text(textwrap.dedent(FAILING))
    written(folder / "mine" / "callbacks" / "fail.yaml", "# @package callbacks.fail\nname: fail\nhow: raise\n")
    small = written(folder / "mine" / "model" / "small.yaml", "# Small\ndefaults: [mlp]\nhidden: [3]\n")
    words = [*HERE, "data=iris", "model=small", "trainer.max_epochs=1", "imports=[sweep_fails]"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fails = ["callbacks=[checkpoint,fail]", "callbacks.fail.how=raise,exit,none"]
        sweep = planned(folder / "sweep", *words, *fails, config_dirs=[folder / "mine"])
        small.write_text("# Small\ndefaults: [mlp]\nhidden: [999]\n")
        return OfUsers(sweep, [cli.run(["resume", str(sweep.path), *flags]) for flags in ([], ["--retry-failed"])])


def test_a_trial_that_raises_or_exits_is_recorded_and_the_others_go_on(of_users):
    sweep = of_users.sweep
    assert of_users.codes == [8, 8]
    assert [trial.status for trial in trials_of(sweep)] == ["failed", "failed", "done"]
    reasons = {row["trial"]: row["reason"] for row in leaderboard(sweep)}
    assert "KeyError: 'mine'" in reasons["0"] and reasons["1"] == "SystemExit: 3"
    assert "Traceback" in (sweep.trials / "0" / "error.txt").read_text()


def test_those_that_failed_are_trained_again_where_that_is_asked_for(of_users):
    attempts = [attempt.state.name for attempt in Ledger(of_users.sweep.journal).study.trials]
    assert attempts == ["FAIL", "FAIL", "COMPLETE", "FAIL", "FAIL"]


def test_an_edit_of_a_yaml_file_changes_nothing_in_a_sweep(of_users):
    for trial in range(3):
        assert yaml.safe_load(of_users.sweep.trial(trial).config.read_text())["model"]["hidden"] == [3]


def test_resuming_a_finished_sweep_trains_nothing(finished, dltrain, work, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.trials.rglob("*") if path.is_file()}
    assert before
    elsewhere = work / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    answer = dltrain("resume", finished.path)
    assert answer.code == 0 and "the best one is" in answer.out
    assert before == {path: path.stat().st_mtime_ns for path in finished.trials.rglob("*") if path.is_file()}


def test_what_cannot_be_changed_is_said(finished, dltrain):
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
        answer = dltrain("resume", finished.path, *words)
        assert answer.code == 2 and text in answer.err, answer.err
    answer = dltrain("resume", finished.path, "optimizer.lr=choice(0.1,0.2)", "model.hidden=[4]")
    assert answer.code == 0, answer.err
    answer = dltrain("resume", finished.path / "trials" / "0", "--retry-failed")
    assert answer.code == 2 and "is no sweep" in answer.err


def test_korean_values_can_be_swept(dltrain, work):
    (work / "가.txt").write_text("경마장에 있는 말이\n" * 9, encoding="utf-8")
    (work / "나 다.txt").write_text("가는 말이 곱다\n" * 9, encoding="utf-8")
    words = [*HERE, "model=rnn", "data=korean_text", "trainer.max_epochs=1", "callbacks=none"]
    listed = ["data.path=가.txt,나 다.txt", "data.path=choice(가.txt,'나 다.txt')", "data.path='가.txt','나 다.txt'"]
    plans = [planning.plan([*words, paths], []) for paths in listed]
    answer = dltrain(*words, "-m", listed[0])
    assert answer.code == 0, answer.err
    swept = [trial.values["data.path"] for trial in trials_of(the_sweep(work))]
    assert swept == ["'가.txt'", "'나 다.txt'"]
    for plan in plans:
        assert plan.points == [{"data.path": text} for text in swept]
        assert parsing.space_of(plan.space).grid() == plan.points


def test_no_point_of_a_list_is_drawn_twice(dltrain, work):
    sweep = planned("mine", *SHORT, "sweep.trials=9", "optimizer.lr=0.1,0.2,0.3")
    values = [point["optimizer.lr"] for point in points_of(sweep)]
    assert sorted(values) == ["0.1", "0.2", "0.3"] != values
    answer = dltrain("resume", "mine", "sweep.trials=4")
    assert answer.code == 2 and "sweep.trials=4: there are no more than 3 points" in answer.err


def test_a_folder_that_holds_something_else_is_not_taken(dltrain, work):
    (work / "mine").mkdir()
    (work / "mine" / "notes.txt").write_text("mine")
    answer = dltrain(*QUICK, "-m", "optimizer.lr=0.1,0.2", "hydra.sweep.dir=mine")
    assert (answer.code, answer.err) == (2, "error: mine is not empty. Name a new folder for the sweep\n")
    assert [path.name for path in (work / "mine").iterdir()] == ["notes.txt"]
