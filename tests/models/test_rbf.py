"""Gaussian units."""

from __future__ import annotations

import torch
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task

TASK = Task("regression", InputSpec((3,)), 2)


def build(**changes):
    torch.manual_seed(0)
    return registry.build("model", settings_of("model", "rbf", **changes), task=TASK)


def test_it_computes_what_the_equation_says():
    model, inputs = build(units=5).double(), torch.randn(4, 3, dtype=torch.float64)
    with torch.no_grad():
        model.log_widths += torch.randn(5)
    outputs = torch.empty(4, 2, dtype=torch.float64)
    for row, x in enumerate(inputs):
        phi = torch.stack(
            [
                torch.exp(-(x - centre).square().sum() / (2 * log_width.exp() ** 2))
                for centre, log_width in zip(model.centres, model.log_widths, strict=True)
            ]
        )
        outputs[row] = model.output.weight @ phi + model.output.bias
    torch.testing.assert_close(model(inputs), outputs)


def test_a_unit_is_widest_awake_at_its_centre():
    model = build(units=1, init="constant 1")
    assert torch.allclose(model(model.centres), torch.tensor(2.0))  # 1 * exp(0) + 1
    far = model(model.centres + 100)
    torch.testing.assert_close(far, torch.ones_like(far))


def test_the_first_width_is_as_asked_or_grows_with_the_number_of_features():
    torch.testing.assert_close(build(width=0.25).log_widths.exp(), torch.full((64,), 0.25))
    torch.testing.assert_close(build(width=None).log_widths.exp(), torch.full((64,), 3**0.5))
