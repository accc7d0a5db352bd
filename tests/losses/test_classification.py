"""Losses of probabilities, worked by hand or by their definitions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from losses.conftest import example

from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError

SHARES = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]] * 2, dtype=torch.float64)


@pytest.mark.parametrize(("name", "changes"), [("binary_cross_entropy", {}), ("nll", {}), ("focal", {"gamma": 0})])
def test_binary_cross_entropy_worked_by_hand(build, name, changes):
    chances = torch.tensor([0.8, 0.3, 0.5, 0.9], dtype=torch.float64)[:, None]
    targets = torch.tensor([1.0, 0, 0, 1], dtype=torch.float64)[:, None]
    value = build(name, "binary", **changes)(torch.logit(chances), targets)
    assert value.item() == pytest.approx(0.3445814, abs=2e-7)


@pytest.mark.parametrize("name", ["cross_entropy", "nll", "kl_divergence"])
def test_categorical_cross_entropy_worked_by_hand(build, name):
    chances = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2]], dtype=torch.float64)
    # The logarithms of chances that add up to 1 are logits of them.
    value = build(name, "multiclass")(chances.log(), torch.tensor([1, 2, 0]))
    assert value.item() == pytest.approx(1.936381, abs=5e-7)


def test_cross_entropy_in_base_10_worked_by_hand(build):
    chances = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    value = build("cross_entropy", "multiclass")(chances.log(), torch.tensor([0]))
    assert value.item() / math.log(10) == pytest.approx(0.154901, abs=1.5e-6)


def test_label_smoothing_spreads_its_share_over_all_classes(build):
    outputs, targets = example("cross_entropy", "multiclass")
    smooth = torch.full((6, 3), 0.3 / 3, dtype=torch.float64)
    smooth[torch.arange(6), targets] += 0.7
    expected = -(smooth * outputs.log_softmax(dim=1)).sum(dim=1).mean()
    value = build("cross_entropy", "multiclass", label_smoothing=0.3)(outputs, targets)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("name", ["cross_entropy", "nll", "focal", "mse", "log_loss", "kl_divergence", "hinge"])
def test_a_row_of_one_share_is_a_class(build, name):
    outputs, targets = example(name, "multiclass")
    loss = build(name, "multiclass")
    one_hot = F.one_hot(targets, 3).double()
    torch.testing.assert_close(loss(outputs, one_hot), loss(outputs, targets))


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_cross_entropy_takes_shares_of_classes(build, name):
    outputs, _ = example(name, "multiclass")
    expected = -(SHARES * outputs.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(build(name, "multiclass")(outputs, SHARES), expected)


def test_divergence_is_cross_entropy_less_the_entropy_of_the_targets(build):
    outputs, _ = example("kl_divergence", "multiclass")
    loss = build("kl_divergence", "multiclass")
    entropy = -torch.xlogy(SHARES, SHARES).sum(dim=1).mean()
    torch.testing.assert_close(loss(outputs, SHARES), build("cross_entropy", "multiclass")(outputs, SHARES) - entropy)
    assert loss(SHARES.clamp(min=1e-300).log(), SHARES).item() == pytest.approx(0, abs=1e-12)
    halves = torch.full((6, 1), 0.25, dtype=torch.float64)
    assert build("kl_divergence", "binary")(halves.logit(), halves).item() == pytest.approx(0, abs=1e-12)


def test_log_loss_as_tensorflow_1_has_it(build):
    chances = torch.tensor([[0.8], [0.3]], dtype=torch.float64)
    targets = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    value = build("log_loss", "binary", epsilon=0.01)(chances.logit(), targets).item()
    assert value == pytest.approx(-(math.log(0.81) + math.log(0.71)) / 2)


# --- weights of classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_class_weights_multiply_and_are_divided_by_the_number_of_samples(build, label_smoothing):
    outputs, targets = example("cross_entropy", "multiclass")
    loss = build("cross_entropy", "multiclass", class_weights={"dog": 2, "owl": 0.5}, label_smoothing=label_smoothing)
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    smooth = (1 - label_smoothing) * F.one_hot(targets, 3) + label_smoothing / 3
    expected = -(weights * smooth * outputs.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(loss(outputs, targets), expected)
    if not label_smoothing:  # a sample's own weight is another factor
        twice = build("cross_entropy", "multiclass")(outputs, targets, weights[targets])
        torch.testing.assert_close(loss(outputs, targets), twice)


def test_class_weights_of_shares_are_those_of_each_share(build):
    outputs, _ = example("cross_entropy", "multiclass")
    weights = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    expected = -(weights * SHARES * outputs.log_softmax(dim=1)).sum(dim=1).mean()
    loss = build("cross_entropy", "multiclass", class_weights={"dog": 2})
    torch.testing.assert_close(loss(outputs, SHARES), expected)


def test_class_weights_hold_at_each_step(build):
    outputs, targets = example("cross_entropy", "sequence_labels")
    loss = build("cross_entropy", "sequence_labels", class_weights={1: 3})  # classes without names go by their place
    expected = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    expected = (expected * torch.where(targets.flatten() == 1, 3, 1)).mean()
    torch.testing.assert_close(loss(outputs, targets), expected)


@pytest.mark.parametrize(
    ("task", "name", "hint"),
    [
        ("multiclass", "dogg", " Did you mean 'dog'?"),
        ("sequence_labels", "7", " There is: 0, 1, 2."),
    ],
)
def test_a_weight_of_no_class_is_refused(build, task, name, hint):
    with pytest.raises(ConfigError) as caught:
        build("cross_entropy", task, class_weights={name: 2})
    assert str(caught.value) == f"loss.class_weights.{name}: no class of that name.{hint}"


def test_a_weight_below_zero_is_refused(dltrain):
    answer = dltrain("check", "data=iris", "loss=cross_entropy", "loss.class_weights={setosa: -2}")
    assert answer.err == "error: loss.class_weights.setosa = -2: must be a number at least 0.\n"


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_a_positive_weight_multiplies_the_losses_of_positive_targets(build, kind):
    outputs, targets = example("binary_cross_entropy", kind)
    single = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    expected = (single * torch.where(targets == 1, 4.0, 1.0)).mean()
    loss = build("binary_cross_entropy", kind, positive_weight=4)
    torch.testing.assert_close(loss(outputs, targets), expected)


# --- focal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_of_yes_or_no_by_its_equation(build, gamma, alpha):
    outputs, targets = example("focal", "multilabel")
    chances = outputs.sigmoid()
    p_t = torch.where(targets == 1, chances, 1 - chances)
    alpha_t = 1 if alpha is None else torch.where(targets == 1, alpha, 1 - alpha)
    expected = (-alpha_t * (1 - p_t) ** gamma * p_t.log()).mean()
    loss = build("focal", "multilabel", gamma=gamma, alpha=alpha)
    torch.testing.assert_close(loss(outputs, targets), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_of_classes_by_its_equation(build, gamma):
    outputs, targets = example("focal", "multiclass")
    p_t = outputs.softmax(dim=1)[torch.arange(6), targets]
    weights = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)[targets]
    expected = (-weights * (1 - p_t) ** gamma * p_t.log()).mean()
    loss = build("focal", "multiclass", gamma=gamma, class_weights={"dog": 2})
    torch.testing.assert_close(loss(outputs, targets), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_focal_of_certain_outputs_has_a_finite_gradient(build, kind, gamma):
    outputs, targets = example("focal", kind)
    outputs = (1e4 * outputs).requires_grad_()
    build("focal", kind, gamma=gamma)(outputs, targets).backward()
    assert outputs.grad.isfinite().all()


def test_focal_says_which_weight_its_data_takes(build):
    with pytest.raises(ConfigError) as caught:
        build("focal", "multiclass", alpha=0.25)
    assert str(caught.value) == (
        "loss.alpha = 0.25: it weighs yes against no, and this multiclass data has several classes. "
        "Give loss.class_weights, or loss.alpha=null"
    )
    with pytest.raises(ConfigError) as caught:
        build("focal", Task("binary", InputSpec((2,)), 1, ("no", "yes")), class_weights={"yes": 2})
    assert str(caught.value) == "loss.class_weights: this binary data takes loss.alpha with loss=focal"
