"""Residuals, and medians of many weightings."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from dltrain.evaluation.regression import POINTS, Median, residuals


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_the_median_of_each_weighting_is_that_of_the_values_it_takes(size):
    generator = np.random.default_rng(0)
    values = generator.random(size).round(1)
    places = generator.integers(size, size=(20, size))
    weights = np.stack([np.bincount(row, minlength=size) for row in places]).astype(float)
    assert Median(values).of(weights) == pytest.approx(np.median(values[places], axis=1))


def test_the_median_of_absolute_errors():
    generator = np.random.default_rng(0)
    true, predicted = generator.random((2, 101))
    found = Median(np.abs(predicted - true)).of(np.ones((1, 101)))
    assert found[0] == pytest.approx(sk.median_absolute_error(true, predicted))


def test_what_is_known_of_the_errors():
    generator = np.random.default_rng(0)
    true, predicted = generator.random((2, 50, 2))
    found = residuals(true, predicted)
    assert found["mean"] == pytest.approx((predicted - true).mean())
    assert found["std"] == pytest.approx((predicted - true).std())
    assert list(found["quantiles"]) == ["0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99"]
    assert found["quantiles"]["0.25"] == pytest.approx(np.quantile(predicted - true, 0.25))
    assert found["true"] == true.ravel().tolist() and found["predicted"] == predicted.ravel().tolist()


def test_of_many_pairs_some_are_kept_from_beginning_to_end():
    true = np.arange(10_001.0)[:, None]
    found = residuals(true, true + 1)
    assert len(found["true"]) == len(found["predicted"]) <= POINTS
    assert found["true"][0] == 0 and found["true"][-1] > 9_990
    assert found["mean"] == 1 and found["std"] == 0 and found["values"] == 10_001


@pytest.mark.parametrize("outputs", [2, 3, 24])
def test_of_many_samples_with_several_outputs_all_outputs_are_kept(outputs):
    true = np.arange(5_000.0)[:, None] * outputs + np.arange(outputs)
    found = residuals(true, true + 1)
    assert len(found["true"]) <= POINTS + outputs
    assert (
        np.bincount(np.array(found["true"], dtype=int) % outputs).tolist() == [len(found["true"]) // outputs] * outputs
    )
