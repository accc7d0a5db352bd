"""Reliability against its definition, and the Brier score against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from dltrain.evaluation.calibration import BINS, Reliability


def decisions(size=1000):
    """Returns (M, 3) probabilities and (M,) classes that are drawn of something like them."""
    generator = np.random.default_rng(0)
    chances = generator.dirichlet([0.6, 0.6, 0.6], size)
    true = np.array([generator.choice(3, p=row) for row in 0.7 * chances + 0.1])
    return chances, true


def gathered(chances, true, step=300):
    reliability = Reliability()
    for first in range(0, len(true), step):
        part = slice(first, first + step)
        squared = ((chances[part] - np.eye(3)[true[part]]) ** 2).sum(axis=1)
        reliability.add(chances[part].max(axis=1), chances[part].argmax(axis=1) == true[part], squared)
    return reliability.plain()


def test_the_errors_are_those_of_the_definition():
    chances, true = decisions()
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == true
    expected, largest = 0.0, 0.0
    for place in range(BINS):
        inside = (confidence > place / BINS) & (confidence <= (place + 1) / BINS)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected, largest = expected + inside.mean() * gap, max(largest, gap)
    found = gathered(chances, true)
    assert found["expected_error"] == pytest.approx(expected)
    assert found["maximum_error"] == pytest.approx(largest)
    again = gathered(chances, true, step=7)  # however the decisions come
    assert [again[key] for key in ("expected_error", "maximum_error", "brier")] == pytest.approx(
        [found[key] for key in ("expected_error", "maximum_error", "brier")]
    )


def test_the_brier_score():
    chances, true = decisions()
    assert gathered(chances, true)["brier"] == pytest.approx(sk.brier_score_loss(true, chances, scale_by_half=False))
    yes = chances[:, 0]
    reliability = Reliability()
    reliability.add(np.maximum(yes, 1 - yes), (yes > 0.5) == (true == 0), (yes - (true == 0)) ** 2)
    assert reliability.plain()["brier"] == pytest.approx(sk.brier_score_loss(true == 0, yes))


def test_the_bins():
    reliability = Reliability()
    reliability.add(np.array([0.0, 1 / 15, 0.4, 1.0, np.nan]), np.array([0, 1, 1, 1, 1]), np.zeros(5))
    bins = reliability.plain()["bins"]
    assert [one["count"] for one in bins] == [2, 0, 0, 0, 0, 1, *[0] * 8, 1]
    assert bins[0] == {
        "from": 0.0,
        "to": pytest.approx(1 / 15),
        "confidence": pytest.approx(1 / 30),
        "accuracy": 0.5,
        "count": 2,
    }
    assert bins[1]["confidence"] is None and bins[1]["accuracy"] is None
    assert reliability.count == 4  # what is not a number is left out


def test_what_is_as_sure_as_it_is_right_has_no_error():
    reliability = Reliability()
    reliability.add(np.full(10, 0.7), np.arange(10) < 7, np.zeros(10))
    found = reliability.plain()
    assert found["expected_error"] == pytest.approx(0) and found["maximum_error"] == pytest.approx(0)
