"""Optimizers by their equations: first updates by hand, loops in plain NumPy, and values that TensorFlow gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from convex import GRADIENTS, START, trained

from dltrain.optimizers.proximal import soft_threshold


@pytest.mark.parametrize(
    ("name", "changes", "values"),
    [
        ("gradient_descent", {"lr": 0.1}, [1 - 0.1 * 2, 0.8 - 0.1 * 1]),
        ("sgd", {"lr": 0.1}, [1 - 0.1 * 2, 0.8 - 0.1 * 1]),
        ("sgd", {"lr": 0.1, "weight_decay": 0.5}, [1 - 0.1 * 2.5, 0.75 - 0.1 * (1 + 0.5 * 0.75)]),
        # The velocity is 2, then 0.5 x 2 + 1.
        ("sgd", {"lr": 0.1, "momentum": 0.5}, [0.8, 0.8 - 0.1 * 2]),
        ("sgd", {"lr": 0.1, "momentum": 0.5, "nesterov": True}, [1 - 0.1 * 3, 0.7 - 0.1 * (1 + 0.5 * 2)]),
        ("momentum", {"lr": 0.1, "momentum": 0.5}, [0.8, 0.8 - 0.1 * 2]),
        ("nesterov", {"lr": 0.1, "momentum": 0.5}, [1 - 0.1 * 3, 0.7 - 0.1 * (1 + 0.5 * 2)]),
        # With its bias corrected, the first update of Adam is lr x the gradient's sign.
        ("adam", {"lr": 0.1}, [0.9]),
        # The weight decay stands apart from the gradient.
        ("adamw", {"lr": 0.1, "weight_decay": 0.5}, [1 - 0.1 * 0.5 * 1 - 0.1]),
        ("rmsprop", {"lr": 0.1, "alpha": 0.75}, [1 - 0.1 * 2 / (0.25 * 4) ** 0.5]),
        ("adagrad", {"lr": 0.1, "initial_accumulator": 0}, [0.9, 0.9 - 0.1 / 5**0.5]),
        # sqrt(0 + eps) / sqrt(0.05 x 4 + eps) x the gradient.
        ("adadelta", {"rho": 0.95, "eps": 0.8}, [1 - (0.8 / 1.0) ** 0.5 * 2]),
        # The largest gradient so far: 2, then 0.999 x 2; the mean is 0.2 / 0.1, then 0.28 / 0.19.
        ("adamax", {"lr": 0.1}, [0.9, 0.9 - 0.1 * (0.28 / 0.19) / 1.998]),
        # The sign stays, so that the step grows to 0.012.
        ("rprop", {}, [0.99, 0.978]),
        # Interpolated with 0.9, the momentum 0.02 and the gradient point the same way.
        ("lion", {"lr": 0.1, "weight_decay": 0.5}, [0.95 - 0.1, 0.85 * 0.95 - 0.1]),
    ],
)
def test_the_first_updates_are_those_of_the_equations(settings_of, name, changes, values):
    gradients = np.array([[2.0], [1.0]])[: len(values)]
    assert trained(settings_of, name, np.ones(1), gradients, **changes)[:, 0] == pytest.approx(values, abs=1e-8)


# --- loops in NumPy ---------------------------------------------------------------------------------------


def threshold(value: float, by: float) -> float:
    return max(value - by, 0.0) if value > 0 else min(value + by, 0.0)


def proximal_gradient_descent(w, g, state, lr, l1, l2):
    return threshold(w - lr * g, lr * l1) / (1 + lr * l2)


def proximal_adagrad(w, g, state, lr, l1, l2):
    state["G"] = state.get("G", 0.1) + g * g
    rate = lr / state["G"] ** 0.5
    return threshold(w - rate * g, rate * l1) / (1 + rate * l2)


def adagrad_dual_averaging(w, g, state, lr, l1, l2):
    """Duchi et al. 2011, eq. 19 to 22, of the mean gradient S / t, with the mean penalties."""
    state["t"], state["S"] = state.get("t", 0) + 1, state.get("S", 0.0) + g
    state["G"] = state.get("G", 0.1) + g * g
    mean = state["S"] / state["t"]
    return -lr * state["t"] * threshold(mean, l1) / (state["G"] ** 0.5 + lr * state["t"] * l2)


def ftrl(w, g, state, lr, l1, l2):
    """McMahan et al. 2013, algorithm 1, with beta = 0."""
    z, n = state.get("z", 0.0), state.get("n", 0.0)
    sigma = ((n + g * g) ** 0.5 - n**0.5) / lr
    state["z"], state["n"] = z + g - sigma * w, n + g * g
    if abs(state["z"]) <= l1:
        return 0.0
    return -(state["z"] - np.sign(state["z"]) * l1) / (state["n"] ** 0.5 / lr + l2)


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (0.3, 0), (0, 0.5), (0.3, 0.5)])
@pytest.mark.parametrize("rule", [proximal_gradient_descent, proximal_adagrad, adagrad_dual_averaging, ftrl])
def test_rules_with_an_l1_penalty_follow_their_equations(settings_of, rule, l1, l2):
    expected = np.empty_like(GRADIENTS)
    for column, w in enumerate(START):
        state: dict[str, float] = {}
        for row, g in enumerate(GRADIENTS[:, column]):
            w = expected[row, column] = rule(w, g, state, 0.2, l1, l2)
    values = trained(settings_of, rule.__name__, START, GRADIENTS, lr=0.2, l1=l1, l2=l2)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-14)
    assert (values == 0).any() == (l1 > 0)


def test_the_soft_threshold_is_the_least_of_distance_and_penalty():
    values = torch.linspace(-2, 2, 41, dtype=torch.float64)
    candidates = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    cost = (candidates[None] - values[:, None]) ** 2 / 2 + 0.7 * candidates[None].abs()
    torch.testing.assert_close(soft_threshold(values, 0.7), candidates[cost.argmin(dim=1)], atol=1e-3, rtol=0)


# --- values of TensorFlow's optimizers --------------------------------------------------------------------

FIRST, FIRST_GRADIENT = np.array([1.0, 2.0]), np.array([0.1, 0.2])
SECOND, SECOND_GRADIENT = np.array([4.0, 3.0]), np.array([0.01, 0.02])


@pytest.mark.parametrize(
    ("name", "start", "gradient", "steps", "penalties", "expected"),
    [
        ("proximal_adagrad", 0 * FIRST, FIRST_GRADIENT, 3, (0, 0), [-2.60260963, -4.29698515]),
        ("proximal_adagrad", 0 * SECOND, SECOND_GRADIENT, 3, (0, 0), [-0.28432083, -0.56694895]),
        ("proximal_adagrad", FIRST, FIRST_GRADIENT, 10, (0.001, 0), [-6.663634, -9.190331]),
        ("proximal_adagrad", SECOND, SECOND_GRADIENT, 10, (0.001, 0), [2.959304, 1.029232]),
        ("proximal_adagrad", FIRST, FIRST_GRADIENT, 10, (0.001, 2), [-0.0495, -0.0995]),
        ("proximal_adagrad", SECOND, SECOND_GRADIENT, 10, (0.001, 2), [-0.0045, -0.0095]),
        ("adagrad_dual_averaging", 0 * FIRST, FIRST_GRADIENT, 1, (0, 0), [-0.904534, -1.603567]),
        ("adagrad_dual_averaging", 0 * SECOND, SECOND_GRADIENT, 1, (0, 0), [-0.094821, -0.189358]),
        ("adagrad_dual_averaging", FIRST, FIRST_GRADIENT, 1, (0.001, 0), [-0.895489, -1.59555]),
        ("adagrad_dual_averaging", SECOND, SECOND_GRADIENT, 1, (0.001, 0), [-0.085339, -0.17989]),
        ("adagrad_dual_averaging", FIRST, FIRST_GRADIENT, 1, (0.001, 2), [-0.046907, -0.093659]),
        ("adagrad_dual_averaging", SECOND, SECOND_GRADIENT, 1, (0.001, 2), [-0.004275, -0.009023]),
    ],
)
def test_the_proximal_rules_give_the_values_of_tensorflow(
    settings_of, name, start, gradient, steps, penalties, expected
):
    l1, l2 = penalties
    values = trained(settings_of, name, start, np.tile(gradient, (steps, 1)), lr=3, l1=l1, l2=l2)
    np.testing.assert_allclose(values[-1], expected, atol=2e-6)


def test_ftrl_gives_the_values_of_tensorflow_where_its_sums_start_at_a_tenth(settings_of):
    start = {"z": 0.0, "n": 0.1}
    values = trained(settings_of, "ftrl", np.zeros(2), np.tile(FIRST_GRADIENT, (3, 1)), start, lr=3, l1=0)
    np.testing.assert_allclose(values[-1], [-2.60260963, -4.29698515], rtol=1e-7)
