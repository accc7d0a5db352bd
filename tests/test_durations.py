"""Lengths of time as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dltrain.durations import check, seconds_of


@pytest.mark.parametrize(
    ("length", "seconds"),
    [
        ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1:30:00", 5400), ("5:00", 300), ("100:00", 6000), (90, 90),
        (1.5, 1.5), ("90", 90), ("2d", 172_800), ("1.5h", 5400), (" 1H ", 3600), ("1d2h3m4.5s", 93_784.5),
    ],
)  # fmt: skip
def test_a_length_is_read_as_a_person_writes_it(length, seconds):
    assert seconds_of(length) == seconds


@pytest.mark.parametrize("length", ["", "h", "soon", "1x", "90 s", "1:70", "1:99:00", "1m1h", "-5m", "nan", "1:2:3:4"])
def test_what_cannot_be_read_is_told_the_forms(length):
    with pytest.raises(ValueError) as caught:
        seconds_of(length)
    assert str(caught.value) == (
        f"'{length}' is no length of time. Write 90s, 30m, 1h30m, 7d, 1:30:00 or a number of seconds"
    )


@pytest.mark.parametrize("length", [0, -1, "0s", "0:00", float("inf"), float("nan")])
def test_no_time_is_refused(length):
    with pytest.raises(ValueError, match=r"is no time to work in\. Write more than 0: 90s"):
        check(length)


def test_null_is_no_limit():
    check(None)


@given(st.integers(1, 10**6))
def test_both_spellings_mean_the_same(seconds):
    hours, rest = divmod(seconds, 3600)
    minutes, last = divmod(rest, 60)
    assert seconds_of(f"{hours}:{minutes:02d}:{last:02d}") == seconds_of(f"{hours}h{minutes}m{last}s") == seconds


@given(st.text(max_size=12))
def test_no_text_breaks_it(text):
    try:
        assert seconds_of(text) > 0
    except ValueError as error:
        assert "Write " in str(error)
