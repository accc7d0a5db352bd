"""Losses of margins, worked by hand, and what they make of a linear model."""

from __future__ import annotations

import pytest
import torch

from dltrain.losses.margin import margins


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


SCORES = torch.tensor([[2.0, 1.5, -1.0], [0.0, 3.0, 1.0], [1.0, 1.0, 0.5]], dtype=torch.float64)
CLASSES = torch.tensor([0, 2, 1])  # ahead by 0.5, behind by 2, and level


def test_margins_of_classes_are_against_the_largest_other():
    torch.testing.assert_close(margins(SCORES, CLASSES, yes_no=False), column(0.5, -2, 0).squeeze(1))


@pytest.mark.parametrize(
    ("name", "changes", "value"),
    [
        ("hinge", {}, (0 + 0.5 + 3 + 1) / 4),
        ("hinge", {"squared": True}, (0 + 0.25 + 9 + 1) / 4),
        ("perceptron", {}, (0 + 0 + 2 + 0) / 4),
    ],
)
def test_of_yes_or_no_worked_by_hand(build, name, changes, value):
    outputs, targets = column(1.5, -0.5, -2, 0), column(1, 0, 1, 0)
    assert build(name, "binary", **changes)(outputs, targets).item() == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "changes", "value"),
    [
        ("hinge", {}, (0.5 + 3 + 1) / 3),
        ("hinge", {"squared": True}, (0.25 + 9 + 1) / 3),
        ("perceptron", {}, 2 / 3),
    ],
)
def test_of_classes_worked_by_hand(build, name, changes, value):
    assert build(name, "multiclass", **changes)(SCORES, CLASSES).item() == pytest.approx(value)


def test_a_sample_mixed_of_two_counts_as_the_larger_part(build):
    shares = torch.tensor([[0.9, 0.1, 0], [0, 0.3, 0.7], [0.2, 0.8, 0]], dtype=torch.float64)
    loss = build("hinge", "multiclass")
    torch.testing.assert_close(loss(SCORES, shares), loss(SCORES, CLASSES))


def test_a_gradient_step_on_the_perceptron_loss_is_the_rule_of_the_perceptron(build):
    """From weights of 0, as Rosenblatt's rule starts, with a sample at a time and a rate of 1."""
    inputs = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    targets = torch.tensor([[0.0], [0], [0], [1]])
    loss, model = build("perceptron", "binary"), torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(model.weight), torch.nn.init.zeros_(model.bias)
    weight, bias = torch.zeros(2), torch.zeros(1)
    for _ in range(12):
        for x, y in zip(inputs, targets, strict=True):
            sign = 2 * y - 1
            if sign * (weight @ x + bias) <= 0:
                weight, bias = weight + sign * x, bias + sign
            model.zero_grad()
            loss(model(x[None]), y[None]).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= parameter.grad
            torch.testing.assert_close(model.weight[0], weight)
            torch.testing.assert_close(model.bias, bias)
    assert torch.equal(model(inputs) > 0, targets > 0)
