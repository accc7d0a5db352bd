"""Trials that fall behind end early: which ones, what they leave, and that watching them changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState
from sweeping import QUICK, forget_end, leaderboard, rows_of, swept, trained, trials_of
from training import configure

from dltrain.commands.sweep import print_leaderboard
from dltrain.run_folder import RunFolder
from dltrain.sweeps import pruning
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.leaderboard import ranked
from dltrain.sweeps.ledger import Ledger

NAMES = ("median", "halving", "hyperband")


def ends_of(
    name: str, values: Sequence[float], evaluations: int, first: int | None = None, direction: str = "minimize"
) -> list[int | None]:
    """Returns after which evaluation each trial was pruned, None where it never was.

    Args:
        values: of the metric, the same at each evaluation of a trial.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = pruning.build(name, evaluations, first)
    study = optuna.create_study(study_name="sweep", direction=direction, pruner=pruner)
    ends: list[int | None] = []
    for value in values:
        trial, end = study.ask(), None
        for evaluation in range(1, evaluations + 1):
            trial.report(value, evaluation)
            if trial.should_prune():
                end = evaluation
                break
        ends.append(end)
        study.tell(trial, value if end is None else None, state=TrialState.PRUNED if end else TrialState.COMPLETE)
    return ends


# --- which trials -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_halving_keeps_the_best_third_at_a_ninth_and_at_a_third(sign):
    direction = "minimize" if sign == 1 else "maximize"
    values = [sign * value for value in (3, 1, 2, 4, 1.5, 1.2, 0.5)]
    assert ends_of("halving", values, 8, direction=direction) == [None, None, 1, 1, 1, 3, None]
    assert ends_of("halving", values, 18, direction=direction) == [None, None, 2, 2, 2, 6, None]
    assert ends_of("halving", values, 26, first=4, direction=direction) == [None, None, 4, 4, 4, 12, None]


@pytest.mark.parametrize("sign", [1, -1])
def test_median_ends_what_is_worse_than_half_of_those_that_are_done(sign):
    direction = "minimize" if sign == 1 else "maximize"
    values = [sign * value for value in (5, 4, 3, 2, 1, 3.5, 2.5, 3, 2.6)]
    assert ends_of("median", values, 20, direction=direction) == [None] * 5 + [2, None, 2, None]
    assert ends_of("median", values, 9, direction=direction) == [None] * 5 + [1, None, 1, None]
    assert ends_of("median", values, 20, first=4, direction=direction) == [None] * 5 + [4, None, 4, None]


def test_hyperband_begins_at_several_evaluations():
    ends = ends_of("hyperband", [1.0, *(2.0 + number for number in range(24))], 26)
    assert ends[0] is None and set(ends) == {None, 2, 6, 18}
    assert set(ends_of("hyperband", [1.0] * 25, 26)) == {None}  # equals
    assert set(ends_of("hyperband", [1.0, *(2.0 + number for number in range(24))], 26, first=5)) == {None, 5, 15}


@pytest.mark.parametrize("name", NAMES)
@hypothesis_settings(max_examples=20)
@given(others=st.lists(st.floats(-10, 10), max_size=12), first=st.none() | st.integers(1, 9))
def test_what_is_better_than_all_others_is_never_pruned(name, others, first):
    best = min(others, default=0.0) - 1.0
    assert ends_of(name, [*others, best], 9, first)[-1] is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("evaluations", "first"), [(1, None), (1, 5), (3, 9), (2, 2)])
def test_a_training_of_few_evaluations_has_a_pruner_all_the_same(name, evaluations, first):
    assert None in ends_of(name, [float(number) for number in range(9)], evaluations, first)


NO_EPOCHS = "trainer.evaluate_every_epochs=null"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), 30),
        (("trainer.max_epochs=10", "trainer.evaluate_every_epochs=3"), 3),
        (("trainer.max_epochs=2", "trainer.evaluate_every_epochs=3"), 1),
        (("trainer.max_epochs=4", "trainer.evaluate_every_steps=10", NO_EPOCHS), 16),
        (("trainer.max_epochs=4", "trainer.max_steps=100", "trainer.evaluate_every_steps=20", NO_EPOCHS), 5),
        (("trainer.max_epochs=null", "trainer.max_steps=100", "trainer.evaluate_every_steps=20", NO_EPOCHS), 5),
        (("trainer.max_epochs=null", "trainer.max_steps=130"), 3),
        (("trainer.max_epochs=2", "trainer.evaluate_every_steps=16"), 6),  # at 16, 32, 40, 48, 64 and 80
    ],
)
def test_how_many_evaluations_a_training_has(overrides, expected, tmp_path):
    config, _ = configure(tmp_path, "data=digits", *overrides)
    assert pruning.evaluations_of(config.trainer, updates=40) == expected


# --- the ledger -------------------------------------------------------------------------------------------


class After(BasePruner):
    """Prunes after an evaluation, and counts how often it was asked."""

    def __init__(self, evaluation: int) -> None:
        self.evaluation, self.asked = evaluation, 0

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        self.asked += 1
        return trial.last_step is not None and trial.last_step >= self.evaluation


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    ledger = Ledger(tmp_path / "journal.log")
    ledger.plan([{"x": "1"}, {"x": "2"}])
    ledger.start(0, 0)
    return ledger


def noted(ledger: Ledger, trial: int) -> dict[int, float]:
    return ledger.study.trials[trial].intermediate_values


def test_an_evaluation_is_noted_and_decided_on_once(ledger, tmp_path):
    pruner = After(2)
    assert [ledger.report(0, evaluation, value, pruner) for evaluation, value in ((1, 0.5), (1, 9.0))] == [False, False]
    assert pruner.asked == 1 and noted(ledger, 0) == {1: 0.5}
    assert not Ledger(tmp_path / "journal.log").report(0, 1, 7.0, After(1))  # as a process does that goes on
    assert (tmp_path / "journal.log").read_text().count('"intermediate_value":') == 1
    assert noted(ledger, 1) == {}


def test_what_was_decided_holds_for_whoever_goes_on(ledger, tmp_path):
    assert [ledger.report(0, evaluation, 1.0, After(3)) for evaluation in (1, 2, 3)] == [False, False, True]
    assert ledger.study.trials[0].user_attrs["pruned_at"] == 3
    again = Ledger(tmp_path / "journal.log")
    assert [again.report(0, evaluation, 1.0, After(99)) for evaluation in (1, 2, 3)] == [False, False, True]
    assert [again.report(0, evaluation, 1.0, None) for evaluation in (2, 3)] == [False, True]
    assert again.trial(0).status == "running"
    again.prune(0, "pruned after 3 evaluations: it falls behind")
    trial = Ledger(tmp_path / "journal.log").trial(0)
    assert (trial.status, trial.reason, trial.objective, trial.spread) == (
        "pruned", "pruned after 3 evaluations: it falls behind", None, None,
    )  # fmt: skip


def test_without_a_pruner_values_are_noted_and_none_is_pruned(ledger):
    assert not ledger.report(1, 1, 0.25, None)
    assert noted(ledger, 1) == {1: 0.25} and "pruned_at" not in ledger.study.trials[1].user_attrs


# --- through the command line -----------------------------------------------------------------------------

SEARCH = (*QUICK, "trainer.max_epochs=4", "optimizer.lr=0.03,1e-4,0.01,2e-4,3e-4,0.02")


@pytest.fixture(scope="module")
def pruned(tmp_path_factory) -> SweepFolder:
    """A sweep of which several trials were pruned."""
    return swept(tmp_path_factory.mktemp("pruned"), *SEARCH, "sweep.pruner=halving")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> SweepFolder:
    """The same sweep, of which no trial was pruned."""
    return swept(tmp_path_factory.mktemp("whole"), *SEARCH)


def test_the_leaderboard_says_which_were_pruned_and_why(pruned):
    rows, trials = leaderboard(pruned), trials_of(pruned)
    done, ended = ([row for row in rows if row["status"] == status] for status in ("done", "pruned"))
    assert len(done) + len(ended) == 6 and rows == [*done, *ended]
    assert {row["epochs"] for row in ended} == {"1", "3"} and {row["epochs"] for row in done} == {"4"}
    for row in ended:
        run = RunFolder(pruned.path / row["folder"])
        figures, result = rows_of(run), run.read_result()
        count = f"{len(figures)} evaluation{'s' if len(figures) > 1 else ''}"
        reason = f"pruned after {count}: val/loss {figures[-1]['val/loss']:.6g} falls behind"
        assert row["reason"] == trials[int(row["trial"])].reason == result["pruned"] == result["stop_reason"] == reason
        assert (row["rank"], row["val/loss"], row["epochs"]) == ("", "", str(len(figures)))
        assert result["status"] == "done" and float(row["test/loss"]) == result["test"]["test/loss"]
    for row in done:
        assert "pruned" not in RunFolder(pruned.path / row["folder"]).read_result() and row["reason"] == ""


def test_what_has_come_to_its_last_evaluation_is_not_pruned(work):
    """Nothing would be saved any more, and a complete training has a place among the others."""
    words = ["trainer.max_epochs=1", "optimizer.lr=0.1,0.01,0.001", "sweep.pruner=halving"]
    sweep = trained("mine", *QUICK, *words)
    assert [trial.status for trial in trials_of(sweep)] == ["done"] * 3


def test_evaluations_of_steps_count_as_those_of_epochs(work):
    """Of 18 evaluations a trial has two before it can be pruned; here an epoch has 3 steps."""
    steps = ["trainer.max_epochs=18", "trainer.evaluate_every_epochs=null", "trainer.evaluate_every_steps=3"]
    sweep = trained("mine", *QUICK, *steps, "optimizer.lr=0.1,1e-4", "sweep.pruner=halving")
    assert [len(rows_of(sweep.trial(number))) for number in (0, 1)] == [18, 2]


def test_a_pruner_changes_no_bit_of_what_it_leaves(pruned, whole):
    trials = trials_of(pruned)
    assert [trial.values for trial in trials] == [trial.values for trial in trials_of(whole)]
    for trial in trials:
        some, all_of_them = (rows_of(sweep.trial(trial.number)) for sweep in (pruned, whole))
        assert some == all_of_them[: len(some)] and len(all_of_them) == 4
        assert (len(some) == 4) == (trial.status == "done")


def first_pruned(sweep: SweepFolder) -> int:
    return next(trial.number for trial in trials_of(sweep) if trial.status == "pruned")


def test_the_config_of_a_pruned_trial_gives_the_whole_run(pruned, whole, dltrain, work):
    number = first_pruned(pruned)
    saved = pruned.trial(number).config
    assert yaml.safe_load(saved.read_text())["sweep"]["pruner"] == "halving"
    answer = dltrain("--config", saved, "run_dir=alone")
    assert answer.code == 0, answer.err
    alone = RunFolder(work / "alone")
    assert rows_of(alone) == rows_of(whole.trial(number))
    assert alone.read_result()["stop_reason"] == "reached max_epochs=4" and "pruned" not in alone.read_result()


@pytest.mark.parametrize("saved", [True, False])
def test_a_kill_between_the_decision_and_the_end_changes_nothing(saved, pruned, dltrain, work):
    sweep = SweepFolder(shutil.copytree(pruned.path, work / "copy", symlinks=True))
    before, number = trials_of(sweep), first_pruned(sweep)
    figures, decided = rows_of(sweep.trial(number)), noted(Ledger(sweep.journal), number)
    forget_end(sweep, number)
    if not saved:  # as where the first checkpoint was still to come
        shutil.rmtree(sweep.trial(number).checkpoints)
    assert trials_of(sweep)[number].status == "running"
    answer = dltrain("resume", sweep.path)
    assert answer.code == 0, answer.err
    after = trials_of(sweep)[number]
    assert (after.status, after.reason) == ("pruned", before[number].reason)
    assert rows_of(sweep.trial(number)) == figures
    assert noted(Ledger(sweep.journal), number) == decided
    assert sweep.trial(number).read_result()["pruned"] == after.reason
    assert len(after.starts) == 2 and [trial.starts for trial in trials_of(sweep)].count((0,)) == 5


def test_of_several_seeds_the_first_decides(work):
    values = "optimizer.lr=0.1,1e-4,2e-4"
    sweep = trained("mine", *QUICK, "trainer.max_epochs=2", values, "sweep.pruner=halving", "sweep.seeds=2")
    assert [trial.status for trial in trials_of(sweep)] == ["done", "pruned", "pruned"]
    names = [[run.path.name for run in sweep.runs_of(number)] for number in range(3)]
    assert names == [["seed-0", "seed-1"], ["seed-0"], ["seed-0"]]
    assert noted(Ledger(sweep.journal), 0).keys() == {1, 2}
    assert {row["trial"]: row["epochs"] for row in leaderboard(sweep)} == {"0": "4", "1": "1", "2": "1"}


def test_the_terminal_tells_of_pruned_trials(work, capsys):
    sweep = trained("mine", *QUICK, "trainer.max_epochs=2", "optimizer.lr=0.1,1e-4", "sweep.pruner=halving")
    print_leaderboard(sweep, ranked(sweep))
    told = capsys.readouterr()
    assert "trial 1: optimizer.lr=0.0001: pruned after 1 evaluation; best " in told.err
    assert "2 trials (1 pruned) in mine; the best one is mine/best" in told.out
    assert json.loads((work / "mine" / "best" / "result.json").read_text())["epochs"] == 2
