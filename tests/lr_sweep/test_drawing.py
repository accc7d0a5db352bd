"""The pictures show where the loss fell, at any scale and for any curve; the table has every point."""

from __future__ import annotations

import csv
import io
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from dltrain.lr_sweep import Curve, Suggestion, drawing, suggest

SVG = "{http://www.w3.org/2000/svg}"


def curve_of(loss, rates=None, smoothing=0.0) -> Curve:
    curve = Curve(smoothing)
    for rate in rates or [10 ** (-6 + 7 * number / 199) for number in range(200)]:
        curve.add(rate, loss(math.log10(rate)))
    return curve


def falling(place: float) -> float:
    return 2 / (1 + math.exp(3 * (place + 3))) + (1e6 * place if place > 0 else 0.0)


FALLING = curve_of(falling)
CURVES = {
    "falling": (FALLING, "exponential"),
    "flat": (curve_of(lambda _: 1.0), "exponential"),
    "zero": (curve_of(lambda _: 0.0), "exponential"),
    "rising": (curve_of(lambda place: place), "exponential"),
    "below zero": (curve_of(lambda place: -5 - place), "exponential"),
    "linear": (curve_of(falling, [0.001 + 0.01 * number for number in range(100)]), "linear"),
    "short range": (curve_of(falling, [0.001 * 1.01**number for number in range(60)]), "exponential"),
    "one point": (curve_of(falling, [0.001]), "exponential"),
    "huge": (curve_of(lambda place: 1e30 * (2 + place**2)), "exponential"),
    "tiny": (curve_of(lambda place: 1e-12 * (2 + place**2)), "exponential"),
}


@pytest.mark.parametrize(("curve", "scale"), CURVES.values(), ids=CURVES)
def test_any_curve_can_be_drawn(curve, scale):
    suggestions = suggest(curve)
    root = ElementTree.fromstring(drawing.svg(curve, suggestions, scale, "a < b & c"))
    assert root.find(f"{SVG}title").text == "a < b & c"
    width, height = (float(root.get(name)) for name in ("width", "height"))
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= width and 0 <= float(text.get("y")) <= height
    for line in root.iter(f"{SVG}polyline"):
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width and 0 <= y <= height
    assert drawing.picture(curve, suggestions, scale, "title").size == (width, height)
    lines = drawing.characters(curve, suggestions, scale, 80).splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) == 17
    assert all(line.isascii() and line == line.rstrip() for line in lines)


def test_the_marks_stand_at_their_rates():
    suggestions = suggest(FALLING)
    root = ElementTree.fromstring(drawing.svg(FALLING, suggestions, "exponential", "title"))
    texts = {text.text: float(text.get("x")) for text in root.iter(f"{SVG}text")}
    decade = texts["1e-4"] - texts["1e-5"]
    dashed = [line for line in root.iter(f"{SVG}polyline") if line.get("stroke-dasharray")]
    assert len(dashed) == 3
    for line, (rule, suggestion) in zip(dashed, suggestions.items(), strict=True):
        x = float(line.get("points").split(",")[0])
        expected = texts["1e-5"] + decade * math.log10(suggestion.rate / 1e-5)
        assert x == pytest.approx(expected, abs=0.6)
        assert f"{rule} {suggestion.rate:g}" in texts


def test_a_rule_without_a_rate_has_no_mark():
    suggestions = {"steepest": Suggestion(None, reason="flat"), "valley": Suggestion(1e-3, 1.0)}
    assert drawing.svg(FALLING, suggestions, "exponential", "t").count("stroke-dasharray") == 1
    foot = drawing.characters(FALLING, suggestions, "exponential", 80).splitlines()[-3]
    assert foot.count("V") == 1 and "S" not in foot


def test_an_explosion_does_not_flatten_the_fall():
    """The loss ends at 10^6; the picture shows from 0 to a little above 2."""
    root = ElementTree.fromstring(drawing.svg(FALLING, suggest(FALLING), "exponential", "t"))
    labels = [text.text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    numbers = [float(label) for label in labels if re.fullmatch(r"[\d.]+", label)]
    assert min(numbers) == 0 and 2 <= max(numbers) < 3


def test_characters_show_the_curve_and_the_marks():
    lines = drawing.characters(FALLING, suggest(FALLING), "exponential", 90).splitlines()
    plot, foot, rates, key = lines[:-3], lines[-3], lines[-2], lines[-1]
    high = next(number for number, line in enumerate(plot) if line.split("|")[1].startswith("**"))
    low = max(number for number, line in enumerate(plot) if "*" in line)
    assert low - high >= 8  # the fall takes most of the picture
    by_rate = sorted(suggest(FALLING).items(), key=lambda item: item[1].rate)
    assert [mark for mark in foot if mark.isupper()] == [rule[0].upper() for rule, _ in by_rate]
    assert rates.split() == ["1e-6", "1e-5", "1e-4", "1e-3", "0.01", "0.1", "1", "10"]
    assert key.strip() == "learning rate, S steepest, V valley, T tenth"


def test_marks_of_the_same_rate_stand_side_by_side():
    same = {rule: Suggestion(9.9, 1.0) for rule in ("steepest", "valley", "tenth")}
    foot = drawing.characters(FALLING, same, "exponential", 80).splitlines()[-3]
    assert "SVT" in foot


def test_the_table_gives_each_number_back():
    curve = curve_of(falling, smoothing=0.9)
    rows = list(csv.DictReader(io.StringIO(drawing.csv(curve))))
    assert list(rows[0]) == ["step", "learning_rate", "loss", "smoothed_loss"]
    assert [int(row["step"]) for row in rows] == list(range(1, 201))
    assert [float(row["learning_rate"]) for row in rows] == curve.rates
    assert [float(row["loss"]) for row in rows] == curve.losses
    assert [float(row["smoothed_loss"]) for row in rows] == curve.smoothed


def test_the_pixels_are_those_of_the_picture():
    image = np.asarray(drawing.picture(FALLING, suggest(FALLING), "exponential", "title"))
    blue = (image == (0x1F, 0x5F, 0xAE)).all(axis=2)
    columns = np.flatnonzero(blue.any(axis=0))
    assert columns.min() < 70 and columns.max() > 700
    assert blue[:, 80].argmax() < blue[:, 500].argmax()  # the loss falls
