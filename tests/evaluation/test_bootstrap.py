"""Draws of samples, and the intervals that come of them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dltrain import figures
from dltrain.evaluation import bootstrap
from dltrain.evaluation.bootstrap import Resample


def test_a_draw_takes_as_many_samples_as_there_are():
    for resample in bootstrap.draws(7, 20, seed=0):
        assert resample.places.shape[1] == 7
        assert (resample.weights.sum(axis=1) == 7).all()


def test_sums_and_counts_are_those_of_the_samples_drawn():
    generator = np.random.default_rng(0)
    resample = Resample(generator.integers(6, size=(5, 6)))
    values, codes = generator.random((6, 3)), generator.integers(4, size=6)
    for row, places in enumerate(resample.places):
        assert resample.sums(values)[row] == pytest.approx(values[places].sum(axis=0))
        assert resample.sums(values[:, 0])[row] == pytest.approx(values[places, 0].sum())
        assert resample.counts(codes, 4)[row].tolist() == np.bincount(codes[places], minlength=4).tolist()


def test_once_is_the_samples_as_they_are():
    assert bootstrap.once(4).weights.tolist() == [[1, 1, 1, 1]]


def test_the_same_seed_gives_the_same_draws_and_another_one_others():
    first, again, other = (np.concatenate([r.places for r in bootstrap.draws(9, 30, seed)]) for seed in (1, 1, 2))
    assert len(first) == 30
    assert (first == again).all() and (first != other).any()


def test_the_draws_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch):
    whole = np.concatenate([resample.places for resample in bootstrap.draws(50, 40, seed=3)])
    monkeypatch.setattr(bootstrap, "_NUMBERS", 120)
    parts = [resample.places for resample in bootstrap.draws(50, 40, seed=3)]
    assert len(parts) == 20
    assert (np.concatenate(parts) == whole).all()


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3, 2, 2000)
    drawn = bootstrap.distributions({"it": lambda r: {"mean": r.sums(values) / 2000}}, 2000, 4000, seed=0)
    low, high = bootstrap.intervals(drawn["it"], 0.9)["mean"]
    half = 1.6449 * values.std() / 2000**0.5
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_two_models_see_the_same_draws():
    values = np.random.default_rng(0).random(100)
    tellers = {
        name: lambda r, more=more: {"mean": r.sums(values + more)} for name, more in (("one", 0.0), ("two", 1.0))
    }
    drawn = bootstrap.distributions(tellers, 100, 50, seed=0)
    assert drawn["two"]["mean"] - drawn["one"]["mean"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(101.0), [5.0, 95.0]),
        (np.array([*np.arange(101.0), *[np.nan] * 100]), [5.0, 95.0]),  # what a draw cannot tell does not count
        (np.array([*np.arange(99.0), *[np.nan] * 100]), None),  # of most it cannot
        (np.full(10, np.nan), None),
        (np.array([1.0, 2.0, np.inf]), [1.0, np.inf]),
    ],
)
def test_the_middle_of_what_comes_out(values, expected):
    assert bootstrap.interval(values, 0.9) == expected


def test_ten_thousand_samples_take_about_a_second():
    generator = np.random.default_rng(0)
    true, said = generator.integers(10, size=(2, 10_000))
    pairs, losses = true * 10 + said, generator.random(10_000)

    def tell(resample):
        matrix = resample.counts(pairs, 100).reshape(-1, 10, 10)
        means = {"loss": resample.sums(losses)}
        return means | figures.over_classes(
            np.diagonal(matrix, axis1=1, axis2=2), matrix.sum(axis=1), matrix.sum(axis=2)
        )

    begin = time.process_time()
    drawn = bootstrap.distributions({"it": tell}, 10_000, 1000, seed=0)
    assert len(drawn["it"]["f1"]) == 1000
    assert time.process_time() - begin < 3
