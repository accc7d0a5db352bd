"""Losses: worked values, gradients, and which task each one fits."""

from __future__ import annotations

import math

import pytest
import torch

from dltrain import losses, registry
from dltrain.data import IGNORED, InputSpec, Task
from dltrain.errors import ConfigError

NAMES = [name for name in registry.names("loss") if name != "auto"]
TASKS = {
    "multiclass": Task("multiclass", InputSpec((4,)), 3),
    "next_token": Task("next_token", InputSpec((5,), "int64", 12), 12),
    "binary": Task("binary", InputSpec((2,)), 1),
    "multilabel": Task("multilabel", InputSpec((4,)), 3),
    "sequence_labels": Task("sequence_labels", InputSpec((4,), "int64", 12), 3, per_step=True),
    "seq2seq": Task("seq2seq", InputSpec((4,), "int64", 12), 5, per_step=True),
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
    steps = (4,) if TASKS[kind].per_step else ()
    shape = (batch_size, *steps, TASKS[kind].output_size)
    outputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind in ("multiclass", "next_token", "sequence_labels", "seq2seq"):
        return outputs, torch.randint(0, TASKS[kind].output_size, shape[:-1], generator=generator)
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
    if targets.dtype == torch.int64:
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


# --- weights, steps, heads --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in NAMES for k in losses.FITS[n]])
def test_a_sample_of_weight_2_counts_as_if_it_were_there_twice(build, name, kind):
    outputs, targets = example(kind)
    loss = build(name, kind)
    twice = torch.tensor([0, 1, 2, 3, 3, 5])  # the fourth stands for the fifth too
    weights = torch.tensor([1.0, 1, 1, 2, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(loss(outputs, targets, weights), loss(outputs[twice], targets[twice]))
    torch.testing.assert_close(loss(outputs, targets, torch.ones(6, dtype=torch.float64)), loss(outputs, targets))


def test_steps_without_a_target_do_not_count(build):
    outputs, targets = example("seq2seq")
    shorter = targets.clone()
    shorter[:, 2:] = IGNORED
    loss = build("cross_entropy", "seq2seq")
    torch.testing.assert_close(loss(outputs, shorter), loss(outputs[:, :2], targets[:, :2]))
    ones = torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(loss(outputs, shorter, ones), loss(outputs, shorter))


def test_a_batch_without_any_target_has_no_loss_and_no_gradient(build):
    outputs, targets = example("seq2seq")
    outputs.requires_grad_()
    loss = build("cross_entropy", "seq2seq")(outputs, torch.full_like(targets, IGNORED))
    loss.backward()
    assert loss.item() == 0 and not outputs.grad.any()


def test_cross_entropy_takes_shares_of_classes(build):
    outputs, targets = example("multiclass")
    loss = build("cross_entropy", "multiclass")
    one_hot = torch.nn.functional.one_hot(targets, 3).double()
    torch.testing.assert_close(loss(outputs, one_hot), loss(outputs, targets))


HEADS = Task("several", InputSpec((4,)), 3, heads={"price": TASKS["regression"], "sold": TASKS["binary"]})


def test_the_loss_of_several_targets_is_the_sum_by_shares(settings_of):
    outputs = {"price": torch.randn(5, 2), "sold": torch.randn(5, 1)}
    targets = {"price": torch.randn(5, 2), "sold": torch.ones(5, 1)}
    loss = registry.build("loss", settings_of("loss", "auto", shares={"sold": 0.25}), task=HEADS)
    expected = torch.nn.functional.mse_loss(outputs["price"], targets["price"])
    expected += 0.25 * torch.nn.functional.binary_cross_entropy_with_logits(outputs["sold"], targets["sold"])
    torch.testing.assert_close(loss(outputs, targets), expected)
    side_by_side = torch.cat([outputs["price"], outputs["sold"]], dim=1)
    torch.testing.assert_close(loss(side_by_side, targets), expected)


def test_a_loss_that_does_not_fit_one_of_several_targets_names_it(settings_of):
    with pytest.raises(ConfigError, match=r"^target sold: loss\.name = 'mse': it does not fit this binary data\."):
        registry.build("loss", settings_of("loss", "mse"), task=HEADS)


def test_a_share_of_no_target_is_refused(settings_of):
    settings = settings_of("loss", "auto", shares={"solt": 0.5})
    with pytest.raises(ConfigError, match=r"^loss\.shares\.solt: no target of that name\. Did you mean 'sold'\?$"):
        registry.build("loss", settings, task=HEADS)
