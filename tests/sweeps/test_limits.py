"""How far a sweep goes: its limits, what ranks its trials, how many at once, and where it goes on."""

from __future__ import annotations

import itertools
import math
import textwrap
from pathlib import Path

import pytest
import yaml
from sweeping import QUICK, leaderboard, planned, points_of, rows_of, trained, trials_of

from dltrain.commands.sweep import print_leaderboard
from dltrain.sweeps import changing, driver, planning, refining, workers
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.leaderboard import ranked

FOLDER = "hydra.sweep.dir=mine"
SHORT = (*QUICK, "trainer.max_epochs=1")


@pytest.fixture
def sweep(work) -> SweepFolder:
    """Where the sweep of a test goes."""
    return SweepFolder(work / "mine")


def statuses(sweep: SweepFolder) -> list[str]:
    return [trial.status for trial in trials_of(sweep)]


# --- limits -----------------------------------------------------------------------------------------------


def test_no_trial_is_started_once_one_is_good_enough(dltrain, work, capsys):
    sweep = trained("mine", *SHORT, "optimizer.lr=1e-4,0.1,0.05", "sweep.stop_when=1.5")
    assert statuses(sweep) == ["done", "done", "waiting"] and not sweep.trial(2).path.exists()
    assert capsys.readouterr().err.endswith(
        "warning: val/loss is as good as sweep.stop_when=1.5 in trial 1: 1 trial is left. "
        "Go on with: dltrain resume mine\n"
    )
    answer = dltrain("resume", "mine", "sweep.stop_when=null")
    assert answer.code == 0 and "warning" not in answer.err, answer.err
    assert statuses(sweep) == ["done"] * 3 and [trial.starts for trial in trials_of(sweep)] == [(0,)] * 3


def test_of_a_metric_whose_large_values_are_better_it_is_a_large_one(work):
    words = ["optimizer.lr=1e-4,0.1,0.05", "sweep.metric=val/accuracy", "sweep.stop_when=0.4"]
    agenda = driver.Agenda(planned("mine", *SHORT, *words))
    for number, accuracy in enumerate((0.3, 0.5)):
        assert agenda.next() == number
        agenda.ledger.finish(number, accuracy)
    assert agenda.next() is None
    assert agenda.over == "val/accuracy is as good as sweep.stop_when=0.4 in trial 1"


def test_no_trial_is_started_once_too_many_have_failed(work, capsys):
    sweep = trained("mine", *SHORT, "optimizer.lr=1e25,0.1,1e26,0.05", "sweep.max_failures=2")
    assert statuses(sweep) == ["failed", "done", "failed", "waiting"]
    assert (
        "warning: 2 trials failed, and sweep.max_failures is 2: 1 trial is left. Go on with: dltrain resume mine\n"
        in capsys.readouterr().err
    )
    sweep.write_plan(changing.changed(sweep.read_plan(), ["sweep.max_failures=3"]))
    agenda = driver.Agenda(sweep)
    assert agenda.next() == 3
    agenda.ledger.fail(3, "too")
    assert agenda.next() is None and agenda.over is not None and agenda.over.startswith("3 trials failed")


@pytest.mark.parametrize("space", ["optimizer.lr=0.1,0.05", "optimizer.lr=interval(0.05,0.1)"])
def test_no_trial_is_started_once_the_time_is_up(space, dltrain, work, capsys):
    words = [space, "sweep.max_time=1e-9", *(["sweep.trials=2"] if "(" in space else [])]
    sweep = trained("mine", *SHORT, *words)
    assert not sweep.trials.exists()
    assert capsys.readouterr().err.endswith(
        "warning: sweep.max_time=1e-09 is used up: 2 trials are left. Go on with: dltrain resume mine\n"
    )
    print_leaderboard(sweep, ranked(sweep))
    told = "2 trials (2 not started)" if "(" not in space else "0 trials"
    assert capsys.readouterr().out.splitlines()[-1] == f"{told} in mine"
    if "(" in space:  # not even its points are drawn
        answer = dltrain("resume", "mine", "sweep.max_time=1h")
        assert answer.code == 0 and "warning" not in answer.err, answer.err
        assert statuses(sweep) == ["done", "done"] and "2 trials in mine; the best one is mine/best" in answer.out
    else:
        sweep.write_plan(changing.changed(sweep.read_plan(), ["sweep.max_time=1h"]))
        assert len(points_of(sweep)) == 2 and statuses(sweep) == ["done", "done"]


def test_limits_that_are_none_are_refused(dltrain, work):
    for words, *texts in (
        ("sweep.pruner=halfing sweep.direction=up",
         "sweep.direction = 'up': must be one of minimize, maximize or null.",
         "sweep.pruner = 'halfing': must be one of median, halving, hyperband or null."),
        ("sweep.max_time=soon sweep.workers=0",
         "sweep.workers: 0 must be auto, or a whole number at least 1\n",
         "sweep.max_time: 'soon' is no length of time. Write 90s, 30m, 1h30m, 7d, 1:30:00 or a "),
        ("sweep.workers=many", "sweep.workers: many must be auto, or a whole number at least 1\n"),
        ("run_dir=here",
         "run_dir = 'here': the runs of a sweep have folders in the sweep's. Name that with hydra.sweep.dir=here\n"),
    ):  # fmt: skip
        answer = dltrain("data=iris", "-m", "optimizer.lr=0.1,0.2", *words.split())
        assert answer.code == 2, (words, answer.err)
        for number, text in enumerate(texts, 1):
            told = f"error: {text}" if len(texts) == 1 else f"\n  {number}. {text}"
            assert told in answer.err + "\n", (words, answer.err)
        assert not any(work.iterdir())


# --- what ranks the trials --------------------------------------------------------------------------------

SCORE = """
from dataclasses import dataclass
from dltrain import registry
from dltrain.callbacks.base import Callback
from dltrain.config import setting

@dataclass(frozen=True)
class ScoreSettings:
    name: str = setting("Name.")

@registry.register("callbacks", "score", ScoreSettings)
class Score(Callback):
    @classmethod
    def figure_names(cls, settings):
        return ["val/score"]

    def figures(self, row):
        return {"val/score": -row["val/loss"]}
"""


NUMBERS = itertools.count()


@pytest.fixture
def with_score(work) -> list[str]:
    """A command line with a figure of which nobody knows which of its values are better."""
    name = f"limits_score_{next(NUMBERS)}"  # a module is imported once
    (work / f"{name}.py").write_text(textwrap.dedent(SCORE))
    return [*SHORT, f"imports=[{name}]", "callbacks.score={name: score}", "sweep.metric=val/score"]


def test_of_an_unknown_figure_the_direction_must_be_said(with_score, dltrain, sweep):
    answer = dltrain(*with_score, FOLDER, "-m", "optimizer.lr=1e-4,0.1")
    assert (answer.code, answer.err) == (
        2,
        "error: sweep.metric = 'val/score': it is not known which of its values are better. Set "
        "sweep.direction=minimize or sweep.direction=maximize\n",
    )
    assert not sweep.path.exists()


@pytest.mark.parametrize(("direction", "best"), [("minimize", 0), ("maximize", 1)])
def test_the_direction_that_is_said_holds(direction, best, with_score, work):
    sweep = trained("mine", *with_score, "optimizer.lr=1e-4,0.1", f"sweep.direction={direction}")
    rows = leaderboard(sweep)
    assert [row["trial"] for row in rows] == [str(best), str(1 - best)]
    assert sweep.best.readlink() == Path("trials") / str(best)
    assert float(rows[0]["val/score"]) == rows_of(sweep.trial(best))[0]["val/score"]
    assert yaml.safe_load(sweep.plan_file.read_text())["higher_is_better"] is (direction == "maximize")


def test_a_figure_of_a_callback_that_is_a_loss_is_to_be_small(work):
    words = ["callbacks=[checkpoint,loss_ratio]", "optimizer.lr=1e-4,0.1", "sweep.metric=val_to_train/loss"]
    ratios = [float(row["val_to_train/loss"]) for row in leaderboard(trained("mine", *SHORT, *words))]
    assert len(ratios) == 2 and ratios == sorted(ratios)


# --- how many at once -------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch):
    """Returns a function that lets this machine be another one."""

    def of(cores: int = 8, gigabytes: float = 64, gpus: int = 0) -> None:
        monkeypatch.setattr(workers, "_cores", lambda: cores)
        monkeypatch.setattr(workers, "_free_memory", lambda: int(gigabytes * 2**30))
        monkeypatch.setattr(workers, "_gpus", lambda: [str(number) for number in range(gpus)])

    of()
    return of


def test_as_many_are_trained_at_once_as_the_config_says(machine):
    assert [workers.count(number, 5, "auto", math.inf) for number in (1, 4, 5, 9)] == [1, 4, 5, 5]
    assert workers.count(3, 5, "auto", 0.0) == 3 and workers.count(3, 0, "auto", 0.0) == 1


def test_auto_takes_the_cores_as_far_as_there_are_trials_and_memory(machine):
    assert workers.count("auto", 100, "auto", math.inf) == 8
    assert workers.count("auto", 3, "auto", math.inf) == 3
    assert workers.count("auto", 0, "auto", math.inf) == 1
    machine(gigabytes=2.9)
    assert workers.count("auto", 100, "cpu", math.inf) == 2
    machine(gigabytes=0.5)
    assert workers.count("auto", 100, "cpu", math.inf) == 1
    machine(cores=1)
    assert workers.count("auto", 100, "cpu", math.inf) == 1


def test_auto_takes_a_process_for_each_gpu_where_they_are_used(machine):
    machine(gpus=2)
    assert workers.count("auto", 100, "auto", math.inf) == workers.count("auto", 100, "cuda", math.inf) == 2
    assert workers.count("auto", 1, "auto", math.inf) == 1
    assert workers.count("auto", 100, "cpu", math.inf) == 8


def test_auto_starts_no_process_for_what_is_over_in_seconds(machine):
    assert workers.count("auto", 100, "auto", 0.01) == 1
    assert workers.count("auto", 100, "auto", 1.0) == 8
    assert workers.count("auto", 9, "auto", 1.0) == 1  # fewer are left of it


def test_how_long_a_trial_may_take_is_estimated():
    quick = planning.plan([*QUICK, "optimizer.lr=0.1,0.2"], [])
    assert quick.seconds_each < 0.1
    long = planning.plan([*QUICK, "optimizer.lr=0.1", "trainer.max_epochs=5000", "sweep.seeds=3", "data.folds=4"], [])
    assert long.seconds_each > 10 and (long.seeds, long.each_fold) == (3, True)


# --- options of the group ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["median", "halving", "hyperband"])
def test_an_option_of_the_group_searches_at_random_and_prunes(name):
    plan = planning.plan(["data=iris", f"sweep={name}", "optimizer.lr=interval(0.1,0.2)"], [])
    assert (plan.sampler, plan.pruner, plan.trials, plan.points) == ("random", name, 20, [])


def test_lists_are_a_grid_with_a_pruner_too():
    plan = planning.plan(["data=iris", "sweep=halving", "sweep.prune_after=4", "optimizer.lr=0.1,0.2"], [])
    assert (plan.sampler, plan.pruner, plan.prune_after, plan.trials) == ("grid", "halving", 4, 2)
    assert plan.points == [{"optimizer.lr": "0.1"}, {"optimizer.lr": "0.2"}]


# --- around the best of a sweep ---------------------------------------------------------------------------


def test_a_sweep_is_refined(work):
    space = ["optimizer.lr=tag(log,interval(1e-3,0.3))", "model.dropout=0,0.2,0.4"]
    before = planned("mine", *SHORT, *space, "sweep.trials=6", "sweep.seed=5")
    assert len(points_of(before)) == 6
    sweep = trained("finer", "sweep.refine=mine", "sweep.trials=3", "seed=7")
    old, plan = before.read_plan(), sweep.read_plan()
    assert plan.overrides == [*old.overrides, "sweep.refine=mine", "sweep.trials=3", "seed=7"]
    assert plan.space == refining.narrowed(old.space, trials_of(before), higher_is_better=False) != old.space
    assert (plan.trials, plan.sampler, plan.metric) == (3, "random", "val/loss")
    low, high = map(float, plan.space["optimizer.lr"].removeprefix("tag(log,interval(").removesuffix("))").split(","))
    assert 1e-3 <= low < high <= 0.3
    for trial in trials_of(sweep):
        assert low <= float(trial.values["optimizer.lr"]) <= high
        saved = yaml.safe_load(sweep.trial(trial.number).config.read_text())
        assert (saved["seed"], saved["model"]["hidden"], saved["data"]["name"]) == (7, [4], "iris")
    assert statuses(sweep) == ["done"] * 3 and len(trials_of(before)) == 6
    # With the seed of the first it would draw the same places, in a smaller space.
    assert (old.seed, plan.seed) == (5, 6)
    assert planning.plan(["sweep.refine=mine", "sweep.seed=9"], []).seed == 9


def test_what_cannot_be_refined_is_told(finished, dltrain, work):
    answer = dltrain("-m", "sweep.refine=nothing")
    assert (answer.code, answer.err) == (
        2,
        "error: sweep.refine = 'nothing': no such sweep. Give its folder, or a unique part of its name\n",
    )
    answer = dltrain("-m", "sweep.refine=theirs")
    assert (answer.code, answer.err) == (
        2,
        "error: a space is narrowed to the best of at least 3 trials; 2 are done\n",
    )


# --- data that are gone -----------------------------------------------------------------------------------


def test_a_sweep_whose_data_are_gone_is_refused_at_once(dltrain, work):
    table = work / "꽃.csv"
    text = "길이,너비,가격\n" + "".join(f"{n},{n * n % 7},{3 * n % 11}\n" for n in range(40))
    table.write_text(text, encoding="utf-8")
    words = [word for word in SHORT if word != "data=iris"]
    words += ["data=csv", "data.path=꽃.csv", "data.target=가격", "optimizer.lr=0.1,0.2", "sweep.stop_when=1e9"]
    sweep = trained("mine", *words)
    assert statuses(sweep) == ["done", "waiting"]
    table.unlink()
    answer = dltrain("resume", "mine", "sweep.stop_when=null")
    assert (answer.code, answer.err) == (
        3,
        f"error: data.path=꽃.csv: there is no such file in {work}. There is: mine.\n",
    )
    assert statuses(sweep) == ["done", "waiting"] and trials_of(sweep)[1].starts == ()
    table.write_text(text, encoding="utf-8")
    answer = dltrain("resume", "mine")
    assert answer.code == 0 and statuses(sweep) == ["done", "done"], answer.err


@pytest.mark.parametrize("word", ["hydra/sweeper=basic", "+hydra/sweeper=optuna"])
def test_another_sweeper_is_refused(word, dltrain):
    answer = dltrain("-m", "data=iris", "optimizer.lr=0.1,0.2", word)
    assert (answer.code, answer.err) == (
        2,
        f"error: {word}: the sweeper is dltrain's own. How it searches is chosen by sweep, as sweep=random\n",
    )
