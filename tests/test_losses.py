"""Losses: worked values, gradients, and which task each one fits."""

from __future__ import annotations

import math

import pytest
import torch

from dltrain import losses, registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError

NAMES = [name for name in registry.names("loss") if name != "auto"]
TASKS = {
    "multiclass": Task("multiclass", InputSpec((4,)), 3),
    "next_token": Task("next_token", InputSpec((5,), "int64", 12), 12),
    "binary": Task("binary", InputSpec((2,)), 1),
    "multilabel": Task("multilabel", InputSpec((4,)), 3),
    "regression": Task("regression", InputSpec((4,)), 2),
}


@pytest.fixture
def build(settings_of):
    def loss(name: str, kind: str, **changes) -> losses.Loss:
        return registry.build("loss", settings_of("loss", name, **changes), task=TASKS[kind])

    return loss


def example(kind: str, batch_size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns outputs (B, K) and targets of a task, in double precision."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(batch_size, TASKS[kind].output_size, generator=generator, dtype=torch.float64)
    if kind in ("multiclass", "next_token"):
        return outputs, torch.randint(0, TASKS[kind].output_size, (batch_size,), generator=generator)
    targets = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    return outputs, targets if kind == "regression" else (targets > 0).double()


# --- worked values ----------------------------------------------------------------------------------------


def test_binary_cross_entropy_worked_by_hand(build):
    chances = torch.tensor([0.8, 0.3, 0.5, 0.9], dtype=torch.float64)[:, None]
    targets = torch.tensor([1.0, 0, 0, 1], dtype=torch.float64)[:, None]
    value = build("binary_cross_entropy", "binary")(torch.logit(chances), targets)
    assert value.item() == pytest.approx(0.3445814, abs=2e-7)


def test_categorical_cross_entropy_worked_by_hand(build):
    chances = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2]], dtype=torch.float64)
    # The logarithms of chances that add up to 1 are logits of them.
    value = build("cross_entropy", "multiclass")(chances.log(), torch.tensor([1, 2, 0]))
    assert value.item() == pytest.approx(1.936381, abs=5e-7)


def test_cross_entropy_in_base_10_worked_by_hand(build):
    chances = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    value = build("cross_entropy", "multiclass")(chances.log(), torch.tensor([0]))
    assert value.item() / math.log(10) == pytest.approx(0.154901, abs=1.5e-6)


def test_label_smoothing_spreads_its_share_over_all_classes(build):
    outputs, targets = example("multiclass")
    smooth = torch.full((6, 3), 0.3 / 3, dtype=torch.float64)
    smooth[torch.arange(6), targets] += 0.7
    expected = -(smooth * outputs.log_softmax(dim=1)).sum(dim=1).mean()
    value = build("cross_entropy", "multiclass", label_smoothing=0.3)(outputs, targets)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ("name", "errors", "value"),
    [
        ("mse", [1.0, -2.0], 2.5),
        ("mae", [1.0, -2.0], 1.5),
        ("huber", [1.0, -2.0], (0.5 + 1.5) / 2),
        ("huber", [0.5, -0.5], 0.125),
    ],
)
def test_regression_losses_worked_by_hand(build, name, errors, value):
    outputs = torch.tensor([errors], dtype=torch.float64)
    assert build(name, "regression")(outputs, torch.zeros_like(outputs)).item() == value


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_huber_is_quadratic_up_to_delta_and_linear_beyond(build, delta):
    outputs, targets = example("regression")
    error = (outputs - targets).abs()
    expected = torch.where(error <= delta, error**2 / 2, delta * (error - delta / 2)).mean()
    torch.testing.assert_close(build("huber", "regression", delta=delta)(outputs, targets), expected)


# --- what holds of all ------------------------------------------------------------------------------------

FITTING = [(name, kind) for name in NAMES for kind in losses.FITS[name]]


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_the_gradient_is_the_slope(build, name, kind):
    outputs, targets = example(kind)
    loss = build(name, kind)
    assert torch.autograd.gradcheck(lambda value: loss(value, targets), outputs.requires_grad_())


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_the_loss_of_a_batch_is_the_mean_of_its_samples(build, name, kind):
    outputs, targets = example(kind)
    loss = build(name, kind)
    alone = torch.stack([loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(len(outputs))])
    torch.testing.assert_close(loss(outputs, targets), alone.mean())


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_the_loss_is_least_where_the_outputs_are_right(build, name, kind):
    outputs, targets = example(kind)
    right = targets
    if kind in ("multiclass", "next_token"):
        right = 50.0 * torch.nn.functional.one_hot(targets, TASKS[kind].output_size).double()
    elif kind != "regression":
        right = 100 * targets - 50
    loss = build(name, kind)
    assert loss(right, targets).item() == pytest.approx(0, abs=1e-9)
    assert loss(outputs, targets).item() > 0.1


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_extreme_logits_give_finite_losses_and_gradients(build, name):
    kind = losses.FITS[name][0]
    outputs, targets = example(kind)
    outputs = (1e4 * outputs).float().requires_grad_()
    targets = targets if targets.dtype == torch.int64 else targets.float()
    loss = build(name, kind)(outputs, targets)
    loss.backward()
    assert loss.isfinite() and outputs.grad.isfinite().all()


# --- which task each one fits -----------------------------------------------------------------------------


def test_every_loss_but_auto_says_which_tasks_it_fits():
    assert set(losses.FITS) == set(NAMES)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("multiclass", "cross_entropy"),
        ("next_token", "cross_entropy"),
        ("binary", "binary_cross_entropy"),
        ("multilabel", "binary_cross_entropy"),
        ("regression", "mse"),
    ],
)
def test_auto_takes_the_loss_that_fits(build, kind, name):
    assert losses.default_name(TASKS[kind]) == name
    outputs, targets = example(kind)
    assert torch.equal(build("auto", kind)(outputs, targets), build(name, kind)(outputs, targets))


@pytest.mark.parametrize(
    ("name", "kind", "fitting"),
    [
        ("cross_entropy", "regression", "There is: mse, mae, huber. loss=auto takes mse"),
        ("mse", "multiclass", "There is: cross_entropy. loss=auto takes cross_entropy"),
        ("huber", "binary", "There is: binary_cross_entropy. loss=auto takes binary_cross_entropy"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused_with_those_that_do(build, name, kind, fitting):
    with pytest.raises(ConfigError) as caught:
        build(name, kind)
    assert str(caught.value) == f"loss.name = '{name}': it does not fit this {kind} data. {fitting}"


@pytest.mark.parametrize("name", registry.names("loss"))
def test_every_loss_refuses_a_task_that_none_fits(settings_of, name):
    task = Task("seq2seq", InputSpec((5,), "int64", 12), 12)
    with pytest.raises(ConfigError, match=r"^no loss for a seq2seq task yet$"):
        registry.build("loss", settings_of("loss", name), task=task)
