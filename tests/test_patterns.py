"""Patterns of parameter names: what they fit, which of them holds, and the mistakes."""

from __future__ import annotations

import pytest

from dltrain import patterns
from dltrain.errors import ConfigError

NAMES = ["features.0.weight", "features.0.bias", "output.weight", "output.bias"]


def test_a_star_takes_dots_and_brackets_choose():
    assert patterns.fitting("k", ["*.bias", "features.*", "output.[wx]*", "*"], NAMES) == {
        "*.bias": ["features.0.bias", "output.bias"],
        "features.*": NAMES[:2],
        "output.[wx]*": ["output.weight"],
        "*": NAMES,
    }
    assert patterns.fitting("k", [], NAMES) == {}


def test_case_counts():
    with pytest.raises(ConfigError):
        patterns.fitting("k", ["OUTPUT.*"], NAMES)


def test_the_last_pattern_that_fits_holds_and_a_name_that_none_fits_is_left_out():
    assert patterns.last_fitting("k", ["*.weight", "output.*"], NAMES) == {
        "features.0.weight": "*.weight",
        "output.weight": "output.*",
        "output.bias": "output.*",
    }


def test_every_pattern_that_fits_nothing_is_told():
    with pytest.raises(ConfigError) as caught:
        patterns.last_fitting("model.freeze", ["output.wieght", "*", "nothing"], NAMES)
    assert caught.value.problems == [
        "model.freeze: no parameter fits 'output.wieght'. Did you mean 'output.weight'?",
        "model.freeze: no parameter fits 'nothing'. There is: features.0.bias, features.0.weight, output.bias, "
        "output.weight.",
    ]


def test_a_pattern_that_later_ones_leave_nothing_is_told():
    with pytest.raises(ConfigError) as caught:
        patterns.last_fitting("optimizer.groups", ["output.*", "*.weight", "*"], NAMES)
    last = ". The last that fits holds: put the narrower one last"
    assert caught.value.problems == [
        f"optimizer.groups: what 'output.*' fits belongs to patterns after it, as output.weight to '*'{last}",
        f"optimizer.groups: what '*.weight' fits belongs to patterns after it, as features.0.weight to '*'{last}",
    ]
