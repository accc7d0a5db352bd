"""Which task each loss fits, several targets, and what the whole command makes of a loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from losses.conftest import TASKS, example

from dltrain import losses
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("multiclass", "cross_entropy"),
        ("next_token", "cross_entropy"),
        ("sequence_labels", "cross_entropy"),
        ("seq2seq", "cross_entropy"),
        ("binary", "binary_cross_entropy"),
        ("multilabel", "binary_cross_entropy"),
        ("regression", "mse"),
    ],
)
def test_auto_takes_the_loss_that_fits(build, kind, name):
    assert losses.default_name(TASKS[kind]) == name
    outputs, targets = example(name, kind)
    assert torch.equal(build("auto", kind)(outputs, targets), build(name, kind)(outputs, targets))


@pytest.mark.parametrize(
    ("name", "kind", "fitting"),
    [
        (
            "cross_entropy",
            "regression",
            "mse, mae, huber, smooth_l1, mape, msle, poisson, cosine_distance, mean_pairwise_squared_error. "
            "loss=auto takes mse",
        ),
        (
            "mse",
            "seq2seq",
            "cross_entropy, nll, focal, kl_divergence, hinge, perceptron. loss=auto takes cross_entropy",
        ),
        (
            "mape",
            "multilabel",
            "binary_cross_entropy, mse, mae, huber, smooth_l1, log_loss, focal, kl_divergence, hinge, perceptron. "
            "loss=auto takes binary_cross_entropy",
        ),
    ],
)
def test_a_loss_that_does_not_fit_is_refused_with_those_that_do(build, name, kind, fitting):
    with pytest.raises(ConfigError) as caught:
        build(name, kind)
    assert str(caught.value) == f"loss.name = '{name}': it does not fit this {kind} data. There is: {fitting}"


# --- several targets --------------------------------------------------------------------------------------

HEADS = Task("several", InputSpec((4,)), 3, heads={"price": TASKS["regression"], "sold": TASKS["binary"]})


def test_the_loss_of_several_targets_is_the_sum_by_shares(build):
    outputs = {"price": torch.randn(5, 2), "sold": torch.randn(5, 1)}
    targets = {"price": torch.randn(5, 2), "sold": torch.ones(5, 1)}
    loss = build("auto", HEADS, shares={"sold": 0.25})
    expected = F.mse_loss(outputs["price"], targets["price"])
    expected += 0.25 * F.binary_cross_entropy_with_logits(outputs["sold"], targets["sold"])
    torch.testing.assert_close(loss(outputs, targets), expected)
    side_by_side = torch.cat([outputs["price"], outputs["sold"]], dim=1)
    torch.testing.assert_close(loss(side_by_side, targets), expected)


def test_a_named_loss_is_that_of_each_of_several_targets(build):
    outputs = {"price": torch.randn(5, 2), "sold": torch.randn(5, 1)}
    targets = {"price": torch.randn(5, 2), "sold": torch.ones(5, 1)}
    expected = F.l1_loss(outputs["price"], targets["price"]) + (1 - outputs["sold"].sigmoid()).mean()
    torch.testing.assert_close(build("mae", HEADS)(outputs, targets), expected)


def test_a_loss_that_does_not_fit_one_of_several_targets_names_it(build):
    with pytest.raises(ConfigError, match=r"^target sold: loss\.name = 'msle': it does not fit this binary data\."):
        build("msle", HEADS)


def test_a_share_of_no_target_is_refused(build):
    with pytest.raises(ConfigError, match=r"^loss\.shares\.solt: no target of that name\. Did you mean 'sold'\?$"):
        build("auto", HEADS, shares={"solt": 0.5})


KINDS = Task(
    "several",
    InputSpec((4,)),
    5,
    heads={"animal": TASKS["multiclass"], "size": Task("multiclass", InputSpec((4,)), 2, ("small", "large"))},
)


def test_each_of_several_targets_takes_the_weights_of_its_own_classes(build):
    outputs = {"animal": torch.randn(5, 3), "size": torch.randn(5, 2)}
    targets = {"animal": torch.tensor([0, 1, 1, 2, 0]), "size": torch.tensor([0, 1, 1, 1, 0])}
    loss = build("cross_entropy", KINDS, class_weights={"dog": 3, "small": 0.5})
    one = F.cross_entropy(outputs["animal"], targets["animal"], torch.tensor([1.0, 3, 1]), reduction="none").mean()
    other = F.cross_entropy(outputs["size"], targets["size"], torch.tensor([0.5, 1]), reduction="none").mean()
    torch.testing.assert_close(loss(outputs, targets), one + other)


def test_a_weight_of_a_class_that_no_target_has_is_refused(build):
    with pytest.raises(ConfigError, match=r"^loss\.class_weights\.smal: no class of that name\. Did you mean 'small'"):
        build("cross_entropy", KINDS, class_weights={"dog": 3, "smal": 0.5})


def test_shares_need_several_targets_of_which_one_counts(build):
    with pytest.raises(ConfigError) as caught:
        build("auto", HEADS, shares={"sold": 0, "price": 0})
    assert str(caught.value) == "loss.shares: every target counts 0, so that nothing is learned. Give one more than 0"
    for name in ("auto", "mse"):
        with pytest.raises(ConfigError) as caught:
            build(name, "regression", shares={"price": 0.5})
        assert str(caught.value) == (
            "loss.shares = {'price': 0.5}: it weighs several targets, and this data has one. Leave it out"
        )


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_weights_of_0_for_every_class_are_refused(build, name):
    with pytest.raises(ConfigError) as caught:
        build(name, "multiclass", class_weights={"cat": 0, "dog": 0, "owl": 0})
    assert str(caught.value) == (
        "loss.class_weights: every class counts 0, so that nothing is learned. Give one more than 0"
    )


def test_counts_that_are_read_as_classes_are_told_from_words(build):
    counts = Task("multiclass", InputSpec((4,)), 3, ("0", "1", "2"))
    hint = r" loss=auto takes cross_entropy\. The classes are numbers: data\.task=regression predicts them as values$"
    with pytest.raises(ConfigError, match=hint):
        build("poisson", counts)
    with pytest.raises(ConfigError, match=r" loss=auto takes cross_entropy$"):
        build("poisson", "multiclass")
    with pytest.raises(ConfigError, match=r" loss=auto takes cross_entropy$"):
        build("binary_cross_entropy", counts)
