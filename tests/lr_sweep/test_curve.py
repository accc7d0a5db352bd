"""Rates are read off curves whose answer is known."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from dltrain.lr_sweep import RULES, Curve, Suggestion, suggest
from dltrain.lr_sweep.curve import longest_falling


def curve_of(loss, smoothing=0.0, steps=201, low=-6.0, high=1.0, diverged_at=None) -> Curve:
    """Returns the curve of a function of log10(rate); from 1e-6 to 10 in steps of 0.035 unless told."""
    curve = Curve(smoothing)
    for number in range(steps):
        place = low + (high - low) * number / (steps - 1)
        curve.add(10.0**place, loss(place))
    curve.diverged_at = diverged_at
    return curve


def sigmoid(place: float) -> float:
    """Falls from 2 to 0, most steeply at 1e-3."""
    return 2 / (1 + math.exp(3 * (place + 3)))


def ramp(place: float) -> float:
    """Is 2 up to 1e-5, falls by 1 a decade to 0.5 at 10^-3.5, stays up to 0.1, and rises by 4 a decade."""
    fallen = 2 - min(max(place + 5, 0), 1.5)
    return fallen + 4 * max(0, place + 1)


def test_the_mean_is_corrected_for_its_start():
    curve = Curve(smoothing=0.9)
    for rate, loss in ((1.0, 4.0), (2.0, 2.0), (3.0, 8.0)):
        curve.add(rate, loss)
    weights = [0.81, 0.9, 1.0]  # of what came 2, 1 and 0 steps ago
    expected = [4.0, (0.9 * 4 + 2) / 1.9, sum(w * v for w, v in zip(weights, (4, 2, 8), strict=True)) / sum(weights)]
    assert curve.smoothed == pytest.approx(expected)
    assert curve.lowest == min(curve.smoothed)


def test_a_constant_loss_is_not_changed_by_smoothing():
    assert curve_of(lambda _: 3.0, smoothing=0.98).smoothed == pytest.approx([3.0] * 201)


def test_steepest_finds_the_middle_of_a_sigmoid():
    assert suggest(curve_of(sigmoid))["steepest"].rate == pytest.approx(1e-3, rel=0.05)


def test_steepest_is_not_misled_by_what_comes_after_the_bottom():
    def spiked(place: float) -> float:
        return sigmoid(place) + (50 if place > 0.5 else 0) + (1 if 0 < place < 0.1 else 0)

    assert suggest(curve_of(spiked))["steepest"].rate == pytest.approx(1e-3, rel=0.05)


def test_the_valley_is_two_thirds_along_the_fall():
    # The fall is from the last rate at which the loss is 2, 1e-5, to 10^-3.5, less the margin of a hundredth.
    assert suggest(curve_of(ramp))["valley"].rate == pytest.approx(1e-4, rel=0.1)


def test_tenth_is_a_tenth_of_the_last_rate_of_the_bottom():
    suggestion = suggest(curve_of(ramp))["tenth"]
    assert suggestion.rate == pytest.approx(1e-2, rel=0.1)
    assert suggestion.loss == pytest.approx(0.5)


def test_the_loss_there_is_that_of_the_curve():
    curve = curve_of(ramp)
    assert curve.loss_at(10**-4.25) == pytest.approx(1.25, abs=0.01)
    assert curve.loss_at(curve.rates[0]) == curve.smoothed[0]
    assert curve.loss_at(curve.rates[-1]) == curve.smoothed[-1]
    for suggestion in suggest(curve).values():
        assert suggestion.loss == pytest.approx(ramp(math.log10(suggestion.rate)), abs=0.01)


def test_a_rate_has_two_digits():
    for suggestion in suggest(curve_of(ramp)).values():
        assert suggestion.rate == float(f"{suggestion.rate:.2g}")


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_answers_little(seed):
    chance = random.Random(seed)
    quiet = suggest(curve_of(ramp, smoothing=0.9, steps=300))
    noisy = suggest(curve_of(lambda place: ramp(place) + chance.gauss(0, 0.1), smoothing=0.9, steps=300))
    for rule in RULES:
        assert quiet[rule].rate / 4 < noisy[rule].rate < quiet[rule].rate * 4


@pytest.mark.parametrize("smoothing", [0.0, 0.95])
def test_a_flat_curve_has_no_rate(smoothing):
    for suggestion in suggest(curve_of(lambda _: 1.5, smoothing)).values():
        assert suggestion == Suggestion(None, reason="the loss does not fall: 1.5 at first, 1.5 at best")


@pytest.mark.parametrize("seed", range(10))
def test_chance_alone_is_no_fall(seed):
    chance = random.Random(seed)
    for suggestion in suggest(curve_of(lambda _: chance.gauss(1.0, 0.3), smoothing=0.95, steps=300)).values():
        assert suggestion.rate is None and suggestion.reason.startswith("the loss does not fall")


def test_a_loss_that_only_rises_has_no_rate():
    assert suggest(curve_of(lambda place: 1 + max(0.0, place)))["valley"].rate is None


def test_without_a_climb_there_is_no_tenth():
    found = suggest(curve_of(sigmoid))
    assert found["tenth"] == Suggestion(None, reason="the loss does not climb again up to 10")
    assert found["steepest"].rate and found["valley"].rate


def test_a_divergence_at_once_is_a_climb():
    curve = curve_of(sigmoid, diverged_at=12.0)
    assert suggest(curve)["tenth"].rate == pytest.approx(1.0)


def test_a_tenth_below_the_sweep_is_not_guessed():
    curve = curve_of(lambda place: (place - 0.5) ** 2, low=0.0, high=1.0, steps=50, diverged_at=11.0)
    assert suggest(curve)["tenth"].reason == "a tenth of 3.9 is below the sweep. Start lower"


def test_too_few_points_say_so():
    curve = curve_of(sigmoid, steps=14)
    assert {suggestion.reason for suggestion in suggest(curve).values()} == {
        "too few points: 14. Start lower, or take more steps"
    }
    assert suggest(Curve(0.9))["valley"].rate is None


def test_a_loss_below_zero_is_a_loss_too():
    below = suggest(curve_of(lambda place: sigmoid(place) - 5, diverged_at=12.0))
    above = suggest(curve_of(sigmoid, diverged_at=12.0))
    assert [s.rate for s in below.values()] == [s.rate for s in above.values()]


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_falling_subsequence_is_that(seed):
    chance = random.Random(seed)
    values = [float(chance.randrange(8)) for _ in range(10)]
    found = longest_falling(values)
    assert found == sorted(set(found))
    assert all(values[later] < values[earlier] for earlier, later in itertools.pairwise(found))
    longest = max(
        len(chosen)
        for count in range(1, 11)
        for chosen in itertools.combinations(values, count)
        if all(later < earlier for earlier, later in itertools.pairwise(chosen))
    )
    assert len(found) == longest


def test_of_no_values_none_fall():
    assert longest_falling([]) == []
