"""Curves as plain values."""

from __future__ import annotations

import math

import pytest

from dltrain.report import figures
from dltrain.report.figures import apart, layout, line, rounded, scales, shown, thinned


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((0.1234567, 0.123457), (12, 12.0), (1.5e-12, 1.5e-12), (float("nan"), None), (math.inf, None)),
        *((None, None), ("1", None), (True, None)),
    ],
)
def test_a_number_is_rounded_and_what_is_none_is_a_gap(value, expected):
    assert rounded(value) == expected


def test_few_points_are_marked_and_a_gap_stays_one():
    trace = line("val", [1, 2, 3], [1.0, None, float("nan")], "#000")
    assert (trace["x"], trace["y"], trace["mode"]) == ([1, 2, 3], [1.0, None, None], "lines+markers")
    assert line("val", range(100), range(100), "#000")["mode"] == "lines"


def test_of_very_many_points_the_ends_the_extremes_and_the_gaps_are_kept():
    ys = [math.sin(place / 50) for place in range(20_000)]
    ys[7_777], ys[12_345] = 100.0, -100.0
    gaps = [*ys[:15_000], None, *ys[15_001:]]
    points = thinned(list(range(20_000)), gaps)
    assert len(points) <= figures._MOST_POINTS
    assert points[0] == (0, ys[0]) and points[-1] == (19_999, ys[-1])
    assert (7_777, 100.0) in points and (12_345, -100.0) in points and (15_000, None) in points
    assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_texts_are_escaped_cut_and_told_apart():
    assert shown("a <b> & 'c'") == "a &lt;b&gt; &amp; 'c'"
    assert shown("x" * 100, 10) == "x" * 9 + "…"
    assert apart(["a", "b", "a"]) == ["a", "b", "a (2)"]


def test_the_layout_of_an_axis_can_be_completed():
    made = layout(300, x="<epoch>", y="loss", xaxis={"dtick": 1}, hovermode="x", **scales("log"))
    assert made["height"] == 300 and made["hovermode"] == "x"
    assert made["xaxis"]["title"]["text"] == "&lt;epoch&gt;" and made["xaxis"]["dtick"] == 1
    (menu,) = made["updatemenus"]
    assert [button["label"] for button in menu["buttons"]] == ["linear", "log"] and menu["active"] == 1
