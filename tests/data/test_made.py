"""The data sets that are made: lines and a sine."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dltrain import registry
from dltrain.data import InputSpec


def load(settings_of, name, **changes):
    return registry.build("data", settings_of("data", name, **changes))


def numbers(tensor):
    return tensor[:, 0].double().numpy()


def test_line_8_is_the_eight_points_with_their_least_squares_line(settings_of):
    data = load(settings_of, "line_8", scaling="none")
    assert data.train.inputs.tolist() == [[32], [64], [96], [118], [126], [144], [152.5], [158]]
    slope, intercept = np.polyfit(numbers(data.train.inputs), numbers(data.train.targets), 1)
    assert slope == pytest.approx(0.8749312626, abs=1e-7)  # 130.3 is rounded to float32
    assert intercept == pytest.approx(-26.7907861680, abs=1e-5)
    assert data.evaluates_training_data and data.test is None
    assert data.notes == ("there is no validation split: what is evaluated is the training data itself",)
    assert (data.task.kind, data.task.inputs, data.task.target_scale) == ("regression", InputSpec((1,)), ())


def test_a_scaled_line_comes_back_by_the_tasks_own_numbers(settings_of):
    plain, scaled = load(settings_of, "line_8", scaling="none"), load(settings_of, "line_8", scaling="standard")
    inputs, targets = scaled.train.inputs, scaled.train.targets
    assert inputs.mean().abs() < 1e-6 and inputs.std(unbiased=False) == pytest.approx(1)
    (shift,), (scale,) = scaled.task.target_shift, scaled.task.target_scale
    torch.testing.assert_close(targets * scale + shift, plain.train.targets)
    (shift,), (scale,) = scaled.preprocessing["shift"], scaled.preprocessing["scale"]
    torch.testing.assert_close(inputs * scale + shift, plain.train.inputs)


@pytest.mark.parametrize("name", ["line_noise", "sine"])
def test_the_same_seed_makes_the_same_points_and_another_makes_others(settings_of, name):
    once, again = load(settings_of, name), load(settings_of, name)
    other = load(settings_of, name, points_seed=1)
    assert torch.equal(once.train.inputs, again.train.inputs) and torch.equal(once.train.targets, again.train.targets)
    assert not torch.equal(once.train.inputs, other.train.inputs)
    assert (len(once.train), len(once.validation), once.test) == (800, 200, None)


def test_line_noise_is_the_line_that_it_says(settings_of):
    data = load(settings_of, "line_noise", points=20_000, validation_fraction=0)
    x, y = numbers(data.train.inputs), numbers(data.train.targets)
    assert x.mean() == pytest.approx(0, abs=0.02) and x.std() == pytest.approx(0.55, abs=0.01)
    slope, intercept = np.polyfit(x, y, 1)
    assert slope == pytest.approx(0.1, abs=0.002) and intercept == pytest.approx(0.3, abs=0.002)
    assert (y - 0.1 * x - 0.3).std() == pytest.approx(0.03, abs=0.001)


def test_sine_is_one_period_with_noise(settings_of):
    data = load(settings_of, "sine", points=20_000, validation_fraction=0)
    x, y = numbers(data.train.inputs), numbers(data.train.targets)
    assert -math.pi <= x.min() < -3.13 and 3.13 < x.max() <= math.pi
    assert (y - np.sin(x)).std() == pytest.approx(0.1, abs=0.003)
    assert abs((y - np.sin(x)).mean()) < 0.003


def test_scaling_is_learned_from_the_training_points_alone(settings_of):
    data = load(settings_of, "sine", scaling="minmax")
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 1)
    assert (data.train.targets.min(), data.train.targets.max()) == (0, 1)
    assert data.validation.targets.max() > 1 or data.validation.targets.min() < 0 or data.validation.inputs.max() > 1
