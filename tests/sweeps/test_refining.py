"""Where a search goes on: around its best trials, never beyond what was searched, in texts that can be read again."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dltrain.errors import ConfigError
from dltrain.sweeps.ledger import Ledger, Status, Trial
from dltrain.sweeps.parsing import space_of
from dltrain.sweeps.refining import narrowed
from dltrain.sweeps.space import Choice, Interval, Steps


def ended(number: int, values: dict[str, str], objective: float | None, status: Status = "done") -> Trial:
    return Trial(number=number, values=values, status=status, objective=objective, reason=None)


def around(given: Any, *best: str) -> Any:
    """Returns what one dimension becomes where these are the values of the best trials."""
    trials = [ended(number, {"a": text}, float(number)) for number, text in enumerate(best)]
    return narrowed({"a": given}, trials, higher_is_better=False)["a"]


@pytest.mark.parametrize(
    ("given", "best", "expected"),
    [
        ("interval(0, 1)", ["0.4", "0.5", "0.6"], "interval(0.35,0.65)"),
        ("interval(0, 1)", ["0.01", "0.5", "0.97"], "interval(0, 1)"),
        ("interval(0, 1)", ["0.5", "0.5", "0.5"], "interval(0.375,0.625)"),
        ("interval(0, 1)", ["0", "0", "0"], "interval(0.0,0.125)"),
        ("interval(-2, -1)", ["-1.5", "-1.4", "-1.3"], "interval(-1.55,-1.25)"),
        ("interval(0, 1e6)", ["123400", "123500", "123600"], "interval(123400.0,123600.0)"),
        ("tag(log, interval(1e-5, 1))", ["1e-3", "1e-2", "1e-1"], "tag(log,interval(0.0003162,0.3162))"),
        ("tag(log, interval(1e-4, 1))", ["1e-2", "1e-2", "1e-2"], "tag(log,interval(0.003162,0.03162))"),
        ("tag(log,interval(3e-4,3e-2))", ["0.03", "0.002", "0.001"], "tag(log,interval(0.0004273,0.03))"),
        ("int(interval(1, 100))", ["20", "30", "37"], "int(interval(15,42))"),
        ("int(interval(1, 100))", ["5", "5", "5"], "int(interval(1,18))"),
        ("int(interval(1, 2))", ["2", "2", "2"], "int(interval(1, 2))"),
        ("tag(log, int(interval(1, 1000)))", ["10", "10", "100"], "tag(log,int(interval(5,178)))"),
        ("range(3, 30, 3)", ["9", "9", "15"], "range(6,19,3)"),
        ("range(3, 30, 3)", ["27", "27", "27"], "range(24,28,3)"),
        ("range(-3, 5, 2)", ["-1", "-1", "-1"], "range(-3,2,2)"),
        ("range(4)", ["1", "2", "0"], "range(4)"),
        ("a,b,c", ["c", "a", "c"], ["a", "c"]),
        ("a,b,c", ["c", "a", "b"], "a,b,c"),
        ("choice([30],[50,50])", ["[50,50]"] * 3, [[50, 50]]),
        (["가", "나 다", None, True, 1], ["'나 다'", "null", "true"], ["나 다", None, True]),
        ("range(0,1,0.25)", ["0.25", "0.5", "0.25"], [0.25, 0.5]),
        ("3", ["3", "3", "3"], "3"),
    ],
)
def test_a_dimension_goes_around_the_best_values(given, best, expected):
    assert around(given, *best) == expected
    assert around(expected, *best) is not None  # it can be read, and narrowed again


def test_lists_are_narrowed_in_length_and_values():
    each = {"length": "int(interval(0,8))", "each": "tag(log,int(interval(4,512)))"}
    assert around(each, "[32,64]", "[64]", "[128,32]") == {
        "length": "int(interval(0,3))",
        "each": "tag(log,int(interval(22,182)))",
    }
    shared = {"length": [1, 2, 3], "all": "interval(0,1)"}
    assert around(shared, "[0.2,0.2]", "[0.4]", "[0.2]") == {"length": [1, 2], "all": "interval(0.15,0.45)"}
    assert around(each, "[]", "[]", "[]") == {"length": "int(interval(0,1))", "each": each["each"]}


def test_values_of_lists_may_have_commas_and_quotes():
    given = {"length": "range(1,4)", "each": ["[1,2]", "[1]", "it's, so", "가, 나", "1"]}
    texts = space_of({"a": given}).dimensions[0].values.value.texts
    assert around(given, f"[{texts[0]},{texts[2]}]", f"[{texts[4]},{texts[3]}]", f"[{texts[0]}]") == {
        "length": "range(1,4)",
        "each": [given["each"][0], *given["each"][2:]],
    }


def test_conditions_stay_with_what_they_can_still_have():
    texts = {
        "momentum": {"values": "interval(0,1)", "when": "optimizer=sgd, nag"},
        "optimizer": ["sgd", "adam", "nag", "lion"],
        "beta": {"values": [0.9, 0.95], "when": "optimizer=lion"},
        "depth": "int(interval(1,9))",
        "deep": {"values": "a,b", "when": "depth=2,8"},
        "shape": {"length": [1, 2], "all": [8, 16]},
        "wide": {"values": "a,b", "when": "shape=[16]"},
    }
    best = [
        {"optimizer": "sgd", "momentum": "0.5", "depth": "1", "shape": "[8]"},
        {"optimizer": "adam", "depth": "3", "shape": "[8]"},
        {"optimizer": "sgd", "momentum": "0.7", "depth": "1", "shape": "[8,8]"},
    ]
    others = [{"optimizer": "lion", "depth": "9", "beta": "0.9", "shape": "[16]"}] * 4
    trials = [ended(number, values, float(number)) for number, values in enumerate([*best, *others])]
    new = narrowed(texts, trials, higher_is_better=False)
    assert new == {
        "momentum": {"values": "interval(0.45,0.75)", "when": "optimizer=sgd"},
        "optimizer": ["sgd", "adam"],
        "depth": "int(interval(1,4))",
        "deep": {"values": "a,b", "when": "depth=2"},  # which none of the best has tried
        "shape": {"length": [1, 2], "all": [8]},
        "wide": {"values": "a,b", "when": "shape=[16]"},
    }
    assert list(new) == [key for key in texts if key != "beta"]
    assert space_of(yaml.safe_load(yaml.safe_dump(new, sort_keys=False))) == space_of(new)


def test_the_best_are_a_fifth_of_those_that_are_done():
    trials = [ended(number, {"a": str(number)}, float(number)) for number in range(20)]
    trials += [ended(20, {"a": "99"}, None, "failed"), ended(21, {"a": "99"}, -1.0, "pruned")]
    trials += [ended(22, {"a": "99"}, -math.inf), ended(23, {"a": "99"}, None, "running")]
    space = {"a": "interval(0, 100)"}
    assert narrowed(space, trials, higher_is_better=False) == {"a": "interval(0.0,3.75)"}
    assert narrowed(space, trials, higher_is_better=True) == {"a": "interval(15.25,19.75)"}
    assert narrowed(space, trials[:10], higher_is_better=True) == {"a": "interval(6.5,9.5)"}


@pytest.mark.parametrize(
    ("given", "best", "problem"),
    [
        ("interval(0,1)", ["0.5", "0.5"], "a space is narrowed to the best of at least 3 trials; 2 are done"),
        ("interval(0,1)", ["0.5", "x", "0.5"], "a: x is no number"),
        ("range(9)", ["1", "nan", "2"], "a: nan is no number"),
        ("u,v", ["w", "w", "x"], "a: w, w, x are no values of it"),
    ],
)
def test_what_cannot_be_narrowed_is_told(given, best, problem):
    with pytest.raises(ConfigError) as caught:
        around(given, *best)
    assert str(caught.value) == problem


def test_trials_of_another_space_are_told():
    trials = [ended(number, {"b": "1"}, float(number)) for number in range(3)]
    with pytest.raises(ConfigError, match="a: none of the best trials has a value of it"):
        narrowed({"a": "1,2", "b": "1,2"}, trials, higher_is_better=False)


NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@hypothesis_settings(max_examples=40)
@given(
    ends=st.tuples(NUMBERS, NUMBERS).filter(lambda ends: ends[0] < ends[1]),
    places=st.lists(st.floats(0, 1), min_size=3),
)
@pytest.mark.parametrize("kind", ["interval", "log", "whole", "whole log", "range"])
def test_it_never_leaves_the_old_space_and_holds_the_best_values(kind, ends, places):
    low, high = ends
    if "log" in kind:
        low, high = abs(low) + 1e-6, abs(low) + 2e-6 + (high - low)
    if kind in ("interval", "log"):
        old = Interval(low, high, is_log=kind == "log")
        text = f"interval({old.low!r},{old.high!r})"
    elif kind == "range":
        old = Steps(int(low), int(low) + 7 * (1 + int((high - low) / 9)), 7)
        text = f"range({old.first},{old.last + 1},{old.step})"
    else:
        old = Interval(math.ceil(low), math.ceil(low) + 1 + int(high - low), is_whole=True, is_log="log" in kind)
        text = f"int(interval({old.low},{old.high}))"
    text = f"tag(log,{text})" if "log" in kind else text
    assert space_of({"a": text}).dimensions[0].values == old
    if isinstance(old, Steps):
        values = [old.first + 7 * round(place * (old.last - old.first) / 7) for place in places]
        texts = list(map(str, values))
    else:
        values = [old.low + place * (old.high - old.low) for place in places]
        texts = [str(int(value)) if old.is_whole else f"{value:.4g}" for value in values]
    trials = [ended(number, {"a": each}, float(number)) for number, each in enumerate(texts)]
    (dimension,) = space_of(narrowed({"a": text}, trials, higher_is_better=False)).dimensions
    new, best = dimension.values, list(map(float, texts[: max(3, len(texts) // 5)]))
    if isinstance(old, Steps):
        assert isinstance(new, Steps) and new.step == 7 and old.first <= new.first < new.last <= old.last
        assert (new.first - old.first) % 7 == 0 and new.first <= min(best) and max(best) <= new.last
    else:
        assert isinstance(new, Interval) and (new.is_whole, new.is_log) == (old.is_whole, old.is_log)
        assert old.low <= new.low < new.high <= old.high
        assert new.low <= max(min(best), old.low) and min(max(best), old.high) <= new.high


SEARCHED = {
    "optimizer.lr": "tag(log,interval(1e-5,1e-1))",
    "model.hidden": {"length": "int(interval(1,5))", "all": "tag(log,int(interval(4,512)))"},
    "model.dropout": "interval(0,0.8)",
    "data.batch_size": "range(16,272,16)",
    "data.column": "제목,본문,'제목 본문'",
    "optimizer": "sgd,adamw",
    "optimizer.momentum": {"values": "interval(0,0.99)", "when": "optimizer=sgd"},
}


def accuracy(values: dict[str, str]) -> float:
    """Is largest at a learning rate of 2e-3, with layers of 64 and the column '본문'; the rest matters little."""
    members = [int(text) for text in values["model.hidden"][1:-1].split(",")]
    away = [
        2 * math.log10(float(values["optimizer.lr"]) / 2e-3),
        math.log(members[0] / 64),
        2.0 * ("본문" not in values["data.column"]),
        0.1 * (len(members) - 3),
        0.1 * (float(values["model.dropout"]) - 0.2),
    ]
    return 1 / (1 + sum(place**2 for place in away))


def size(dimension: Any) -> float:
    if isinstance(dimension, Interval):
        return math.log(dimension.high / dimension.low) if dimension.is_log else dimension.high - dimension.low
    return len(dimension.listed())


def test_after_sixty_random_trials_the_space_is_smaller_and_holds_the_optimum(tmp_path):
    ledger = Ledger(tmp_path / "journal.log", higher_is_better=True)
    old = space_of(SEARCHED)
    for number in range(60):
        ledger.propose(old, "random", 0)
        ledger.finish(number, accuracy(ledger.trial(number).values))
    texts = narrowed(SEARCHED, ledger.trials(), higher_is_better=True)
    new = {dimension.key: dimension.values for dimension in space_of(texts).dimensions}
    before = {dimension.key: dimension.values for dimension in old.dimensions}
    lr, hidden = new["optimizer.lr"], new["model.hidden"]
    assert lr.low < 2e-3 < lr.high and size(lr) < 0.7 * size(before["optimizer.lr"])
    assert hidden.value.low < 64 < hidden.value.high
    assert size(hidden.value) < 0.9 * size(before["model.hidden"].value)
    assert hidden.length.low <= 3 <= hidden.length.high and new["model.dropout"].low <= 0.2 <= new["model.dropout"].high
    assert new["data.column"] == Choice(("'본문'", "'제목 본문'"))
    points = [ledger_values(tmp_path / f"{number}.log", texts, number) for number in range(20)]
    assert sum(map(accuracy, points)) / 20 > sum(trial.objective for trial in ledger.trials()) / 60


def ledger_values(path: Any, texts: dict[str, Any], seed: int) -> dict[str, str]:
    ledger = Ledger(path)
    ledger.propose(space_of(texts), "random", seed)
    return ledger.trials()[0].values
