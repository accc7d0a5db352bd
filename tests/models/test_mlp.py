"""The multi-layer perceptron."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain import registry
from dltrain.activations import ACTIVATIONS
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.models import notes_of

FASHION = Task("multiclass", InputSpec((1, 28, 28)), 10)


def build(settings_of, task: Task = FASHION, **changes):
    return registry.build("model", settings_of("model", "mlp", **changes), task=task)


@pytest.mark.parametrize(
    ("task", "hidden", "parameters"),
    [
        (FASHION, [300, 100], 235_500 + 30_100 + 1_010),
        (Task("regression", InputSpec((13,)), 1), [64, 64], 896 + 4_160 + 65),
        (Task("multiclass", InputSpec((4,)), 3), [], 4 * 3 + 3),
    ],
)
def test_the_layers_have_the_units_that_are_asked_for(settings_of, task, hidden, parameters):
    model = build(settings_of, task, hidden=hidden)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_it_computes_what_the_equations_say(settings_of):
    model = build(settings_of, hidden=[8, 6], activation="tanh").double()
    (w1, b1), (w2, b2), (w3, b3) = (
        (layer.weight, layer.bias) for layer in model.modules() if isinstance(layer, nn.Linear)
    )
    inputs = torch.randn(5, 1, 28, 28, dtype=torch.float64)
    hidden = torch.tanh(inputs.reshape(5, 784) @ w1.T + b1)
    hidden = torch.tanh(hidden @ w2.T + b2)
    torch.testing.assert_close(model(inputs), hidden @ w3.T + b3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_follows_each_hidden_layer_and_not_the_output(settings_of, activation):
    model = build(settings_of, hidden=[8, 6], activation=activation)
    kinds = [type(layer) for layer in model.layers]
    function = ACTIVATIONS[activation]
    assert kinds == [nn.Flatten, nn.Linear, function, nn.Linear, function, nn.Linear]


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)])
def test_normalisation_comes_before_and_dropout_after_the_activation(settings_of, norm, kind):
    model = build(settings_of, hidden=[8], norm=norm, dropout=0.5)
    assert [type(layer) for layer in model.layers] == [
        nn.Flatten,
        nn.Linear,
        kind,
        nn.ReLU,
        nn.Dropout,
        nn.Linear,
    ]


def test_dropout_works_in_training_only(settings_of):
    model, inputs = build(settings_of, dropout=0.5), torch.randn(4, 1, 28, 28)
    model.train()
    assert not torch.equal(model(inputs), model(inputs))
    model.eval()
    assert torch.equal(model(inputs), model(inputs))


def test_tokens_are_refused(settings_of):
    with pytest.raises(ConfigError, match=r"^model\.name = 'mlp': it computes with numbers, and this data gives"):
        build(settings_of, Task("next_token", InputSpec((5,), "int64", 12), 12))


def test_without_biases_every_layer_is_its_weights_alone(settings_of):
    model = build(settings_of, Task("regression", InputSpec((1,)), 1), hidden=[5, 3], bias=False, activation="sigmoid")
    assert [name for name, _ in model.named_parameters()] == ["layers.1.weight", "layers.3.weight", "layers.5.weight"]
    assert sum(p.numel() for p in model.parameters()) == 5 + 15 + 3


def test_a_step_in_the_network_is_told_to_have_no_gradient(settings_of):
    assert notes_of(build(settings_of)) == ()
    assert notes_of(build(settings_of, activation="step", hidden=[])) == ()
    assert notes_of(build(settings_of, activation="step")) == (
        "the step activation has no gradient: layers before it stay as they began, and only those after it learn. "
        "sigmoid is a smooth step, and model=perceptron has a rule for a single layer",
    )
