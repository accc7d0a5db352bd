"""Exit codes, and the nearest name."""

from __future__ import annotations

import pytest

from dltrain import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("DltrainError", 1),
        ("ConfigError", 2),
        ("DataError", 3),
        ("CheckpointError", 4),
        ("MachineError", 5),
        ("DivergedError", 6),
        ("OutOfMemoryError", 7),
        ("TimeUp", 124),
    ],
)
def test_each_kind_of_error_has_its_exit_code(kind, code):
    error = getattr(errors, kind)("what is wrong")
    assert error.exit_code == code
    assert isinstance(error, errors.DltrainError)
    assert str(error) == "what is wrong"


def test_a_config_error_is_its_one_mistake_or_a_numbered_list():
    one, two = errors.ConfigError("first"), errors.ConfigError("first", "second")
    assert (str(one), one.problems) == ("first", ["first"])
    assert str(two) == "2 mistakes in the config:\n  1. first\n  2. second"
    assert two.problems == ["first", "second"]


@pytest.mark.parametrize(("signal_number", "code"), [(2, 130), (15, 143)])
def test_an_interruption_ends_with_128_and_the_signal(signal_number, code):
    assert errors.Interrupted("stopped", signal_number).exit_code == code
    assert errors.Interrupted.exit_code == 1  # the class's own code stays


@pytest.mark.parametrize(
    ("name", "allowed", "near"),
    [
        ("optimizr", ["optimizer", "model"], "optimizer"),
        ("lsmt", ["lstm", "gru", "rnn"], "lstm"),
        ("xyz", ["lstm", "gru"], None),
        ("", ["lstm"], None),
        ("말의", ["말이", "법이다"], None),
        ("경마장이", ["경마장에", "있는"], "경마장에"),
        ("anything", [], None),
    ],
)
def test_the_nearest_name_is_found_where_there_is_one(name, allowed, near):
    assert errors.nearest(name, allowed) == near


@pytest.mark.parametrize(
    ("name", "allowed", "text"),
    [
        ("adm", ["sgd", "adam"], " Did you mean 'adam'?"),
        ("xyz", ["sgd", "adam"], " There is: adam, sgd."),
        ("xyz", [], ""),
    ],
)
def test_a_hint_names_the_nearest_or_all(name, allowed, text):
    assert errors.did_you_mean(name, iter(allowed)) == text


def test_a_hint_gives_a_few_of_very_many_names():
    names = [f"layer{number:03}" for number in range(61)]
    assert errors.did_you_mean("xyz", names[1:]).count("layer") == 60
    assert errors.did_you_mean("xyz", names) == f" There is: {', '.join(names[:10])} and 51 more."
