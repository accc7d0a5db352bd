"""Charts look alike, say Korean in letters, and leave Matplotlib as it was."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl

from dltrain import charts


def drawn(title):
    with charts.style():
        figure = charts.new(400, 300)
        axes = figure.subplots()
        axes.plot([1, 2, 3], [-1.5, 2, 1], label="$lr$")
        axes.set_title(title)
        axes.legend()
        return charts.svg(figure), charts.png(figure)


def test_a_chart_is_a_picture_of_the_size_that_was_asked_for():
    svg, png = drawn("loss")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and root.get("viewBox") == "0 0 288 216"  # in points
    assert png.startswith(b"\x89PNG")


def test_korean_is_drawn_as_shapes_of_the_font_that_comes_along():
    svg, _ = drawn("정확도")  # a letter that no font had would be a warning, and with it an error
    assert "<text" not in svg
    assert len(set(re.findall(r'id="(NanumSquareRoundR[^"]*)"', svg))) == 3


def test_the_same_chart_is_the_same_file_and_nothing_is_left_behind():
    before = dict(mpl.rcParams)
    assert drawn("loss") == drawn("loss")
    assert dict(mpl.rcParams) == before
