"""CMA-ES: it finds what is to be found, and is a function of the trials that have ended."""

from __future__ import annotations

import math
import pickle
import statistics
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from dltrain.sweeps import parsing, samplers
from dltrain.sweeps.evolution import _Axis
from dltrain.sweeps.ledger import Ledger
from dltrain.sweeps.space import Space

SPACE = parsing.space_of(
    {"lr": "tag(log,interval(1e-5,1e-1))", "hidden": "int(interval(1,100))", "x": "interval(-2,3)"}
)


def loss_of(values: dict[str, str]) -> float:
    """Is least at lr = 5e-4, hidden = 71, x = 1.2."""
    lr, hidden, x = math.log10(float(values["lr"])), int(values["hidden"]), float(values["x"])
    return (lr - math.log10(5e-4)) ** 2 + ((hidden - 71) / 40) ** 2 + (x - 1.2) ** 2


def search(
    sampler: str,
    seed: int,
    number: int,
    space: Space = SPACE,
    loss_of: Callable[[dict[str, str]], float] = loss_of,
    at_once: int = 1,
    sign: int = 1,
) -> list[dict[str, str]]:
    """Returns the values of each trial, where ``at_once`` are trained at the same time."""
    study, points, running = optuna.create_study(direction="minimize" if sign == 1 else "maximize"), [], []
    for trial_number in range(number):
        study.sampler = samplers.build(sampler, seed, trial_number)
        trial = study.ask()
        points.append(space.suggest(trial))
        running.append((trial, sign * loss_of(points[-1])))
        if len(running) == at_once:
            study.tell(*running.pop(0))
    return points


def best_of(points: list[dict[str, str]]) -> float:
    return min(map(loss_of, points))


def proposed(path: Path, number: int, sampler: str = "cmaes", seed: int = 0) -> list[dict[str, str]]:
    """Proposes and ends trials in a ledger, each as another process would; returns the values of all that it has."""
    for _ in range(number):
        ledger = Ledger(path)
        ledger.propose(SPACE, sampler, seed)
        trial = ledger.trials()[-1]
        ledger.finish(trial.number, loss_of(trial.values))
    return [trial.values for trial in Ledger(path).trials()]


@pytest.mark.slow
def test_it_beats_random_search():
    at_random = [best_of(search("random", seed, 80)) for seed in range(3)]
    for at_once in (1, 8):
        found = [best_of(search("cmaes", seed, 80, at_once=at_once)) for seed in range(3)]
        assert statistics.median(found) < statistics.median(at_random) / 4, at_once


def test_what_is_to_be_large_is_found_by_the_same_points():
    assert search("cmaes", 3, 30, sign=-1) == search("cmaes", 3, 30)


def test_the_same_history_gives_the_same_point_in_another_process_too(tmp_path):
    points = proposed(tmp_path / "one.log", 20)
    assert proposed(tmp_path / "other.log", 20) == points == search("cmaes", 0, 20)
    assert proposed(tmp_path / "another.log", 20, seed=1)[1:] != points[1:]


def test_a_proposal_that_a_kill_cut_off_is_made_again(tmp_path):
    expected = proposed(tmp_path / "one.log", 13)[-1]
    path = tmp_path / "other.log"
    proposed(path, 12)
    trial = Ledger(path)._study.ask()  # without values
    Ledger(path).complete(SPACE, "cmaes", 0)
    assert Ledger(path).trials()[trial.number].values == expected


def test_points_that_are_asked_for_at_once_differ():
    points = search("cmaes", 0, 40, at_once=20)
    assert len({tuple(point.items()) for point in points}) == 40


def test_whole_numbers_are_not_tried_twice_while_there_are_others():
    space = parsing.space_of({"a": "range(0,60,10)", "b": "int(interval(1,6))"})
    points = search("cmaes", 0, 25, space, lambda values: int(values["a"]) + int(values["b"]))
    assert len({tuple(point.items()) for point in points}) > 20


def test_a_single_number_and_what_is_no_number():
    def loss_of(values):
        return abs(float(values["x"]) - 0.83) + 0.1 * (values["kind"] == "b")

    space = parsing.space_of(
        {"x": "interval(0,1)", "kind": ["a", "b"], "m": {"values": "interval(0,1)", "when": "kind=b"}}
    )
    points = search("cmaes", 0, 60, space, loss_of)
    assert statistics.median(abs(float(point["x"]) - 0.83) for point in points[-20:]) < 0.05
    at_random = search("random", 0, 60, space, loss_of)
    assert [point.get("m") for point in points] == [point.get("m") for point in at_random]
    assert [point["kind"] for point in points] == [point["kind"] for point in at_random]
    assert search("cmaes", 0, 9, parsing.space_of({"kind": ["a", "b"]}), lambda _: 0.0)


@pytest.mark.parametrize(("same", "population"), [(0.0, 14), (math.inf, 7)])
def test_where_all_are_alike_it_begins_anew(same, population):
    """Infinite ones have no difference that could be called small."""
    study = told([(TrialState.COMPLETE, same)] * 175)
    sampler = samplers.build("cmaes", 0, 175)
    axes = [_Axis(name, distribution) for name, distribution in study.trials[0].distributions.items()]
    assert sampler._optimizer(study, axes).population_size == population
    assert SPACE.suggest(study.ask())


def told(states: list[tuple[TrialState, float | None]]) -> optuna.Study:
    """Returns a study whose trials have these ends; of one that was pruned, the value is what it reported last."""
    study = optuna.create_study()
    for number, (state, value) in enumerate(states):
        study.sampler = samplers.build("random", 0, number)
        trial = study.ask()
        SPACE.suggest(trial)
        if state == TrialState.PRUNED and value is not None:
            trial.report(0.0, 1)
            trial.report(value, 2)
        study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    study.sampler = samplers.build("cmaes", 0, len(states))
    return study


def test_pruned_trials_count_with_what_they_reported_last():
    complete = [(TrialState.COMPLETE, float(number)) for number in range(7)]
    pruned = [*complete[:6], (TrialState.PRUNED, 6.0)]
    expected = SPACE.suggest(told(complete).ask())
    assert SPACE.suggest(told(pruned).ask()) == expected
    for silent in ((TrialState.FAIL, None), (TrialState.PRUNED, None), (TrialState.PRUNED, math.nan)):
        assert SPACE.suggest(told([*complete[:6], silent]).ask()) != expected


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(-2, 3),
        FloatDistribution(1e-5, 0.3, log=True),
        FloatDistribution(0, 1, step=0.25),
        IntDistribution(1, 3),
        IntDistribution(1, 1000, log=True),
        IntDistribution(3, 27, step=3),
    ],
)
def test_an_axis_leads_there_and_back(distribution):
    axis = _Axis("x", distribution)
    values = [axis.value(place / 200) for place in range(201)]
    assert values == sorted(values) and values[0] == distribution.low and values[-1] == distribution.high
    for value in values:
        assert distribution._contains(distribution.to_internal_repr(value))
        assert axis.value(axis.unit(value)) == pytest.approx(value, rel=1e-12)
    assert 0 <= axis.unit(0) <= 1 and 0 <= axis.unit(math.nan) <= 1


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_journal_is_unpickled(tmp_path):
    path, canary = tmp_path / "journal.log", tmp_path / "canary"
    for number in range(12):
        ledger = Ledger(path)
        ledger.propose(SPACE, "cmaes", 0)
        evil = pickle.dumps(Evil(canary)).hex()
        ledger._study._storage.set_trial_system_attr(number, "cma:optimizer:0", evil)
        ledger._study._storage.set_trial_system_attr(number, "cma:generation", 0)
        ledger.finish(number, loss_of(ledger.trials()[-1].values))
    Ledger(path).propose(SPACE, "cmaes", 0)
    assert not canary.exists()
    study = Ledger(path)._study
    study.sampler = optuna.samplers.CmaEsSampler(seed=0)
    SPACE.suggest(study.ask())
    assert canary.exists()  # Optuna's own does it


def test_no_state_is_kept_in_the_journal(tmp_path):
    path = tmp_path / "journal.log"
    proposed(path, 20)
    assert "system_attr" not in path.read_text() and "cma" not in path.read_text()
