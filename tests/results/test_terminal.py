"""Curves in characters stand where their numbers say."""

from __future__ import annotations

import math

import pytest

from dltrain.results.terminal import Curve, chart, frame, ticks


def drawn(*curves, width=60, height=12, fine=False):
    return [line.plain for line in chart(curves, frame(curves), width, height, "epoch", fine)]


def test_letters_rise_from_the_left_below_to_the_right_above():
    lines = drawn(Curve("A", 0, [(1, 0.0), (10, 1.0)]))
    assert lines[0].rstrip().endswith("A") and lines[9].split("|")[1].startswith("A")
    assert [line.index("A") for line in lines[:10]] == sorted((line.index("A") for line in lines[:10]), reverse=True)
    assert lines[0].split("|")[0].strip() == "1" and lines[9].split("|")[0].strip() == "0"
    assert lines[-1].split() == ["epoch", "5", "10"]


def test_fine_lines_are_of_braille_dots_and_end_in_their_letter():
    lines = drawn(Curve("A", 0, [(0, 0), (5, 1)]), Curve("B", 1, [(0, 1), (5, 1)]), fine=True)
    assert lines[0].endswith("AB")
    dots = [letter for line in lines[:10] for letter in line if "⠀" <= letter <= "⣿"]
    assert len(dots) > 40


@pytest.mark.parametrize("fine", [False, True])
def test_no_line_is_wider_than_it_may_be(fine):
    curves = [Curve(chr(65 + n), n, [(x, math.sin(x + n)) for x in range(50)]) for n in range(20)]
    for width in (40, 80, 120):
        lines = drawn(*curves, width=width, height=18, fine=fine)
        assert len(lines) == 18 and max(map(len, lines)) <= width


def test_a_gap_stands_where_a_value_is_missing():
    lines = drawn(Curve("A", 0, [(0, 1.0), (1, 1.0), (2, None), (3, 1.0)]), width=51)
    (line,) = [line.split("|")[1] for line in lines if "A" in line]
    assert line.startswith("A") and line.endswith("A") and " " * 10 in line


@pytest.mark.parametrize("points", [[(1, 0.5)], [(1, 0.5), (2, 0.5)], [(1, 0.0)], [(1, -3.0), (1, 4.0)]])
def test_a_single_point_and_a_level_line(points):
    for fine in (False, True):
        assert len(drawn(Curve("A", 0, points), fine=fine)) == 12


def test_nothing_to_draw():
    assert frame([Curve("A", 0, [(1, None)])]) is None and frame([]) is None


def test_a_value_far_away_does_not_flatten_the_rest():
    points = [(float(x), 1 - x / 100) for x in range(50)]
    shown = frame([Curve("A", 0, points), Curve("B", 0, [(0, 1.0), (1, 1e12)])])
    assert shown.is_cut and shown.top == 1.0
    assert not frame([Curve("A", 0, points)]).is_cut
    drawn(Curve("A", 0, points), Curve("B", 0, [(0, 1.0), (1, 1e12)]))


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [(0, 1, 4, [0, 0.5, 1]), (1, 60, 6, [10, 20, 30, 40, 50, 60]), (-1, 1, 4, [-1, -0.5, 0, 0.5, 1]), (3, 3, 5, [3])],
)
def test_ticks_are_round(low, high, count, expected):
    assert ticks(low, high, count) == pytest.approx(expected)
