"""What a sweep searches, from its text."""

from __future__ import annotations

import optuna
import pytest

from dltrain import overrides
from dltrain.errors import ConfigError
from dltrain.sweeps import parsing, samplers
from dltrain.sweeps.space import Space

SPACES: dict[str, Space] = {}  # by their texts, which take longer to read than a point to draw


def drawn(texts: dict[str, object], number: int, sampler: str = "random", seed: int = 0) -> dict[str, str]:
    study = optuna.create_study(sampler=samplers.build(sampler, seed, number))
    if repr(texts) not in SPACES:
        SPACES[repr(texts)] = parsing.space_of(texts)
    return SPACES[repr(texts)].suggest(study.ask())


def test_a_grid_is_every_combination_the_last_key_fastest():
    texts, others = parsing.swept(["a=1,2", "b=3", "c=[4],[5]", "d=range(0,2)", "e=choice(가,'나 다')"])
    assert others == ["b=3"]
    grid = parsing.space_of(texts).grid()
    assert grid is not None and len(grid) == 16
    assert grid[:3] == [
        {"a": "1", "c": "[4]", "d": "0", "e": "'가'"},
        {"a": "1", "c": "[4]", "d": "0", "e": "'나 다'"},
        {"a": "1", "c": "[4]", "d": "1", "e": "'가'"},
    ]
    assert parsing.space_of({}).grid() == [{}]
    assert {"optimizer": "adamw"} in (parsing.space_of({"optimizer": "glob(adam*)"}).grid() or [])


@pytest.mark.parametrize(
    ("text", "low", "high", "kind"),
    [
        ("interval(0.25, 0.5)", 0.25, 0.5, float),
        ("tag(log, interval(1e-5, 1e-1))", 1e-5, 1e-1, float),
        ("int(interval(1, 100))", 1, 100, int),
        ("tag(log, int(interval(1, 100)))", 1, 100, int),
        ("range(3, 30, 3)", 3, 27, int),
    ],
)
def test_numbers_lie_in_their_interval_and_are_a_function_of_seed_and_number(text, low, high, kind):
    values = [drawn({"a": text}, number)["a"] for number in range(40)]
    assert all(low <= kind(value) <= high for value in values) and len(set(values)) > 8
    assert values == [drawn({"a": text}, number)["a"] for number in range(40)]
    assert values != [drawn({"a": text}, number, seed=1)["a"] for number in range(40)]
    if text.startswith("range"):
        assert all(int(value) % 3 == 0 for value in values)


def test_the_logarithm_is_drawn_evenly():
    values = sorted(float(drawn({"a": "tag(log, interval(1e-4, 1))"}, number)["a"]) for number in range(200))
    assert 3e-3 < values[100] < 3e-2


def test_values_of_one_key_do_not_depend_on_the_others():
    one = drawn({"a": "interval(0, 1)", "b": "interval(0, 1)"}, 3)
    assert one["a"] == drawn({"a": "interval(0, 1)"}, 3)["a"] != one["b"]


def test_lists_have_a_searched_length():
    each = {"length": "int(interval(0, 3))", "each": "int(interval(1, 100))"}
    lists = [drawn({"h": each}, number)["h"] for number in range(30)]
    assert "[]" in lists and {text.count(",") for text in lists if text != "[]"} == {0, 1, 2}
    same = {"length": [2, 3], "all": [7, 8]}
    assert {drawn({"h": same}, number)["h"] for number in range(30)} == {"[7,7]", "[8,8]", "[7,7,7]", "[8,8,8]"}


def test_what_has_a_condition_is_there_only_then():
    texts = {"m": {"values": "interval(0, 1)", "when": "o=sgd, nag"}, "o": ["sgd", "adam", "nag"]}
    for number in range(20):
        values = drawn(texts, number)
        assert ("m" in values) == (values["o"] in ("sgd", "nag"))
    assert parsing.space_of(texts).grid() is None
    variants = list(parsing.space_of(texts).variants())
    assert variants[0] == {"o": "sgd"} and {"o": "sgd", "m": "0"} in variants and {"o": "sgd", "m": "1"} in variants


def test_a_condition_may_be_of_a_korean_value():
    texts = {"m": {"values": "interval(0, 1)", "when": "o=가, 나 다"}, "o": ["가", "나 다", "sgd"]}
    given = [drawn(texts, number) for number in range(20)]
    assert {("m" in values) for values in given} == {True, False}
    assert all(("m" in values) == (values["o"] != "sgd") for values in given)


@pytest.mark.parametrize(
    ("values", "when", "given"),
    [
        ("true,false", "true", ["true"]),
        ([True, False], "true", ["true"]),
        (["true", True], "true", ["true"]),
        ("1e-3,1e-2", "0.001", ["0.001"]),
        ([0.001, 0.01], "1e-3", ["0.001"]),
        ([[3, 4], [5]], "[3,4]", ["[3,4]"]),
        (["x,y", "z"], "'x,y'", ["'x,y'"]),
        ("range(1,7,2)", "3, 5", ["3", "5"]),
    ],
)
def test_a_condition_means_a_value_however_it_is_written(values, when, given):
    space = parsing.space_of({"o": values, "m": {"values": "interval(0, 1)", "when": f"o={when}"}})
    assert space.dimensions[1].when is not None and list(space.dimensions[1].when.texts) == given


def test_a_condition_that_can_never_hold_is_a_mistake():
    with pytest.raises(ConfigError) as caught:
        parsing.space_of({"o": ["가", "sgd"], "m": {"values": "1,2", "when": "o=라"}})
    assert caught.value.problems[0].endswith(": when: o is never 라. Its values are 가, sgd")


@pytest.mark.parametrize(
    "values",
    [
        ["a,b.txt", "it's", "가 나", " a", "interval(1,2)", "true", "null", "1", "1e-3", "", "[x]", "a=b", "x y"],
        [True, False, None, 1, 0.001, 1e-12, [1, "x,y"], ["가 나", None], {"x": 1, "y": ["a,b"]}],
    ],
)
def test_what_a_yaml_file_lists_is_read_as_it_is(values):
    texts = parsing.space_of({"a": values}).dimensions[0].values.listed()
    read = [overrides.value_of(text) for text in texts]
    assert read == values and list(map(type, read)) == list(map(type, values))


def test_a_value_that_stands_there_twice_is_tried_once():
    assert parsing.space_of({"a": "1,2,1", "b": [3, 3]}).grid() == [{"a": "1", "b": "3"}, {"a": "2", "b": "3"}]


def test_numbers_have_the_digits_that_they_need():
    narrow = [float(drawn({"a": "interval(100000000, 100000001)"}, number)["a"]) for number in range(20)]
    assert len(set(narrow)) > 17 and all(1e8 <= value <= 1e8 + 1 for value in narrow)
    assert all(len(drawn({"a": "interval(0, 1)"}, number)["a"]) <= 8 for number in range(20))


def test_a_large_grid_is_counted_and_not_made():
    space = parsing.space_of(dict.fromkeys("abcdef", "range(1000)"))
    assert space.size() == 10**18


def test_all_mistakes_are_told_together():
    with pytest.raises(ConfigError) as caught:
        parsing.space_of({"a": "interval(2, 1)", "b": {"each": 1}})
    assert caught.value.problems == [
        "a=interval(2, 1): interval(2, 1) is empty: the first number must be less than the second",
        "b={'each': 1}: give length, and each or all",
    ]
