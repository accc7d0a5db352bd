"""Each activation against its formula, written with Python's own numbers; and that networks learn through them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training import settings_of

from dltrain import registry
from dltrain.activations import ACTIVATIONS, CHOICES, activation, pieces
from dltrain.data import InputSpec, Task

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, after eq. 14

FORMULAS = {
    "identity": lambda x: x,
    "step": lambda x: 1.0 if x >= 0 else 0.0,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "selu": lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * (math.exp(x) - 1)),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "gaussian": lambda x: math.exp(-x * x),
}
OF_SEVERAL = ("softmax", "maxout")
POINTS = (-3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 4.0)


def test_every_activation_is_tested():
    assert {*FORMULAS, *OF_SEVERAL} == set(CHOICES) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_formula(name):
    values = activation(name).double()(torch.tensor([POINTS], dtype=torch.float64))
    assert values[0].tolist() == pytest.approx([FORMULAS[name](x) for x in POINTS], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 3, 5)])
def test_softmax_is_over_the_units_or_channels(shape):
    inputs = torch.randn(shape, dtype=torch.float64)
    powers = inputs.exp()
    torch.testing.assert_close(activation("softmax")(inputs), powers / powers.sum(dim=1, keepdim=True))


def test_maxout_takes_the_largest_of_each_two_neighbours():
    inputs = torch.tensor([[1.0, 2.0, -3.0, -4.0, 5.0, 5.0]])
    assert activation("maxout")(inputs).tolist() == [[2.0, -3.0, 5.0]]
    images = torch.randn(2, 6, 3, 3)
    assert torch.equal(activation("maxout")(images), torch.maximum(images[:, 0::2], images[:, 1::2]))


@pytest.mark.parametrize("name", CHOICES)
def test_pieces_are_what_the_layer_before_must_give(name):
    units = 4
    assert activation(name)(torch.randn(3, units * pieces(name))).shape == (3, units)


def network(name: str, **changes) -> nn.Module:
    torch.manual_seed(0)
    task = Task("multiclass", InputSpec((2,)), 2)
    return registry.build("model", settings_of("model", "mlp", hidden=[16], activation=name, **changes), task=task)


XOR = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
DIFFERENT = torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize("name", [name for name in CHOICES if name not in ("identity", "step")])
def test_a_network_with_it_learns_what_no_line_divides(name):
    model = network(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(XOR), DIFFERENT).backward()
        optimizer.step()
    assert model(XOR).argmax(dim=1).equal(DIFFERENT)


def test_through_a_step_no_gradient_passes():
    model = network("step")
    F.cross_entropy(model(XOR), DIFFERENT).backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {"layers.3.weight", "layers.3.bias"}


def test_the_slope_of_prelu_is_learned():
    model = network("prelu")
    F.cross_entropy(model(XOR - 0.5), DIFFERENT).backward()
    assert model.layers[2].weight.item() == 0.25 and model.layers[2].weight.grad.abs() > 0


def test_selu_with_lecun_keeps_mean_0_and_variance_1():
    """Klambauer et al. 2017: the fixed point that the activation was made for."""
    torch.manual_seed(0)
    layers = [nn.Linear(400, 400, bias=False) for _ in range(8)]
    values = torch.randn(1000, 400)
    for layer in layers:
        nn.init.normal_(layer.weight, 0.0, 400**-0.5)
        values = activation("selu")(layer(values))
    assert abs(values.mean().item()) < 0.05 and values.var().item() == pytest.approx(1.0, abs=0.1)
