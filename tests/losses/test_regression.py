"""Losses of values, worked by hand or by their definitions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from losses.conftest import TASKS, example

from dltrain.data import Data, InputSpec, Samples, Task
from dltrain.errors import ConfigError
from dltrain.losses import Loss
from dltrain.metrics import Metrics

SCALED = Task("regression", InputSpec((4,)), 2, target_shift=(10.0, 3.0), target_scale=(2.0, 0.5))


def in_unit(values: torch.Tensor) -> torch.Tensor:
    return values * torch.tensor([2.0, 0.5], dtype=torch.float64) + torch.tensor([10.0, 3.0], dtype=torch.float64)


def values(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "errors", "value"),
    [
        ("mse", [1.0, -2.0], 2.5),
        ("mae", [1.0, -2.0], 1.5),
        ("huber", [1.0, -2.0], (0.5 + 1.5) / 2),
        ("huber", [0.5, -0.5], 0.125),
        ("smooth_l1", [1.0, -2.0], (0.5 + 1.5) / 2),
    ],
)
def test_errors_worked_by_hand(build, name, errors, value):
    outputs = values(errors)
    assert build(name, "regression")(outputs, torch.zeros_like(outputs)).item() == value


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_huber_is_quadratic_up_to_delta_and_linear_beyond(build, delta):
    outputs, targets = example("huber", "regression")
    error = (outputs - targets).abs()
    expected = torch.where(error <= delta, error**2 / 2, delta * (error - delta / 2)).mean()
    torch.testing.assert_close(build("huber", "regression", delta=delta)(outputs, targets), expected)
    smooth = build("smooth_l1", "regression", beta=delta)
    torch.testing.assert_close(smooth(outputs, targets), expected / delta)


@pytest.mark.parametrize(("name", "power"), [("mse", 2), ("mae", 1)])
def test_of_classes_the_errors_are_those_of_probabilities(build, name, power):
    outputs, targets = example(name, "multiclass")
    chances = outputs.exp() / outputs.exp().sum(dim=1, keepdim=True)
    expected = (chances - torch.eye(3, dtype=torch.float64)[targets]).abs().pow(power).mean()
    torch.testing.assert_close(build(name, "multiclass")(outputs, targets), expected)
    outputs, targets = example(name, "binary")
    expected = (1 / (1 + (-outputs).exp()) - targets).abs().pow(power).mean()
    torch.testing.assert_close(build(name, "binary")(outputs, targets), expected)


def test_percentage_error_worked_by_hand(build):
    loss = build("mape", "regression")
    assert loss(values([110, 1]), values([100, -4])).item() == pytest.approx((10 + 125) / 2)


def test_squared_log_error_worked_by_hand(build):
    loss = build("msle", "regression")
    value = loss(values([math.e - 1, 0]), values([0, math.e**2 - 1])).item()
    assert value == pytest.approx((1 + 4) / 2)


def test_squared_log_error_goes_on_below_zero_as_its_tangent(build):
    outputs = values([-3.0, -1e-9]).requires_grad_()
    loss = build("msle", "regression")(outputs, values([0.0, 0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(4.5) and outputs.grad[0, 0].item() == pytest.approx(-3.0)


def test_poisson_is_the_likelihood_of_counts(build):
    outputs, counts = example("poisson", "regression")[0], values([0, 1], [4, 2], [0, 0], [7, 1], [2, 2], [3, 1])
    log_factorials = torch.lgamma(counts + 1).mean()
    expected = -torch.distributions.Poisson(outputs.exp()).log_prob(counts).mean()
    torch.testing.assert_close(build("poisson", "regression")(outputs, counts) + log_factorials, expected)


@pytest.mark.parametrize("name", ["mape", "msle", "cosine_distance"])
def test_losses_in_the_targets_own_unit_go_back_to_it(build, name):
    outputs, targets = example(name, "regression")
    expected = build(name, "regression")(in_unit(outputs), in_unit(targets))
    torch.testing.assert_close(build(name, SCALED)(outputs, targets), expected)


def test_the_rate_of_poisson_is_in_the_targets_own_unit(build):
    outputs, targets = example("poisson", "regression")
    loss = build("poisson", SCALED)
    torch.testing.assert_close(loss(outputs, targets), build("poisson", "regression")(outputs, in_unit(targets)))
    assert loss.link is not None
    torch.testing.assert_close(in_unit(loss.link(outputs)), outputs.exp())


@pytest.mark.parametrize("task", [TASKS["regression"], SCALED], ids=["plain", "scaled"])
def test_metrics_are_of_the_prediction_and_not_of_its_logarithm(build, task):
    counts = values([2, 1], [4, 2], [1, 5])
    unit = in_unit if task is SCALED else lambda tensor: tensor
    targets = (counts - unit(torch.zeros(3, 2, dtype=torch.float64))) / (unit(values([1, 1])) - unit(values([0, 0])))
    loss = build("poisson", task)
    metrics = Metrics(task, loss)
    outputs = (counts + 1).log()  # each rate is 1 too large
    metrics.update(loss(outputs, targets), outputs, targets)
    figures = metrics.compute()
    assert figures["mae"] == pytest.approx(1) and figures["rmse"] == pytest.approx(1)
    of_heads = Task("several", InputSpec((4,)), 2, heads={"rides": task})
    loss = build("poisson", of_heads)
    metrics = Metrics(of_heads, loss)
    metrics.update(loss({"rides": outputs}, {"rides": targets}), {"rides": outputs}, {"rides": targets})
    assert metrics.compute()["rides/mae"] == pytest.approx(1)


# --- targets that a loss cannot take ----------------------------------------------------------------------


def data_of(task: Task, targets: torch.Tensor) -> Data:
    part = Samples(torch.zeros(len(targets), 4), targets)
    good = Samples(torch.zeros(1, 4), torch.ones(1, 2))
    return Data(task, train=good, validation=good, test=part)


@pytest.mark.parametrize("name", ["poisson", "msle"])
@pytest.mark.parametrize(("task", "target"), [(TASKS["regression"], -2.0), (SCALED, -6.0)], ids=["plain", "scaled"])
def test_targets_below_zero_are_refused(build, name, task, target):
    loss: Loss = build(name, task)
    loss.check_data(data_of(task, torch.ones(3, 2)))
    with pytest.raises(ConfigError) as caught:
        loss.check_data(data_of(task, torch.tensor([[1.0, 1.0], [target, 1.0]])))
    assert str(caught.value) == (
        f"loss.name = '{name}': a target is -2, and this loss takes none below 0. "
        "Choose loss=mse, loss=mae or loss=huber"
    )


def test_a_zero_that_is_rounded_is_a_zero(build):
    task = Task("regression", InputSpec((4,)), 1, target_shift=(189.3,), target_scale=(181.4,))
    zero = torch.tensor([[-189.3 / 181.4]])
    build("poisson", task).check_data(data_of(task, zero))
    with pytest.raises(ConfigError, match=r"^loss\.name = 'mape': a target is 0, "):
        build("mape", task).check_data(data_of(task, zero))
    loss = build("mape", task, epsilon=0.5)
    loss.check_data(data_of(task, zero))
    assert loss(zero + 1 / 181.4, zero).item() == pytest.approx(200, rel=1e-4)


def test_a_target_of_several_that_a_loss_cannot_take_is_named(build):
    task = Task("several", InputSpec((4,)), 2, heads={"rides": TASKS["regression"]})
    part = Samples(torch.zeros(3, 4), {"rides": torch.full((3, 2), -1.0)})
    with pytest.raises(ConfigError, match=r"^target rides: loss\.name = 'msle': a target is -1, "):
        build("msle", task).check_data(Data(task, train=part, validation=part, test=None))


# --- of a sample's values together ------------------------------------------------------------------------


def test_cosine_distance_worked_by_hand(build):
    loss = build("cosine_distance", "regression")
    outputs, targets = values([2, 0], [0, 5], [-3, -3], [1, 1]), values([1, 0], [1, 0], [1, 1], [1, 0])
    assert loss(outputs, targets).item() == pytest.approx((0 + 1 + 2 + (1 - 0.5**0.5)) / 4)


def test_pairwise_squared_error_is_the_mean_over_all_pairs(build):
    task = Task("regression", InputSpec((4,)), 5)
    outputs, targets = torch.randn(2, 3, 5, dtype=torch.float64)
    errors = outputs - targets
    pairs = [(errors[:, i] - errors[:, j]) ** 2 for i, j in itertools.combinations(range(5), 2)]
    loss = build("mean_pairwise_squared_error", task)
    torch.testing.assert_close(loss(outputs, targets), torch.stack(pairs).mean())
    torch.testing.assert_close(loss(outputs + 7, targets), loss(outputs, targets))


@pytest.mark.parametrize("name", ["cosine_distance", "mean_pairwise_squared_error"])
def test_losses_of_several_values_refuse_a_single_one(build, name):
    why = {
        "cosine_distance": "it compares directions, which takes several values for a sample",
        "mean_pairwise_squared_error": "it compares the values of a sample in pairs, which takes several",
    }[name]
    with pytest.raises(ConfigError) as caught:
        build(name, Task("regression", InputSpec((4,)), 1))
    assert str(caught.value) == (
        f"loss.name = '{name}': {why}, and this data has one. Choose another loss, such as loss=mse"
    )
