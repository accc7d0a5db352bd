"""The table of layers: shapes as a sample passes, and each parameter counted once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.layers import Layer, layers

IMAGES = Task("multiclass", InputSpec((1, 8, 8)), 10)
TOKENS = Task("next_token", InputSpec((5,), "int64", vocabulary_size=12), 12)


def total(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_layers_of_an_mlp(settings_of):
    model = registry.build(
        "model", settings_of("model", "mlp", hidden=[128, 64], dropout=0.2, norm="batch"), task=IMAGES
    )
    table = layers(model, IMAGES.input)
    assert table[:5] == [
        Layer("layers.0", "Flatten", (64,), 0),
        Layer("layers.1", "Linear", (128,), 64 * 128 + 128),
        Layer("layers.2", "BatchNorm1d", (128,), 256),
        Layer("layers.3", "ReLU", (128,), 0),
        Layer("layers.4", "Dropout", (128,), 0),
    ]
    assert table[-1] == Layer("layers.9", "Linear", (10,), 650)
    assert sum(layer.parameters for layer in table) == total(model)


def test_the_layers_of_a_bidirectional_lstm(settings_of):
    settings = settings_of("model", "lstm", bidirectional=True, layers=2, hidden=16)
    model = registry.build("model", settings, task=TOKENS)
    first, second = 4 * 16 * (10 + 16 + 2), 4 * 16 * (32 + 16 + 2)
    assert layers(model, TOKENS.input) == [
        Layer("embedding", "Embedding", (5, 10), 120),
        Layer("recurrent", "LSTM", (5, 32), 2 * (first + second)),
        Layer("output", "Linear", (12,), 32 * 12 + 12),
    ]


class Odd(nn.Module):
    """Uses a layer twice, shares a weight, leaves a layer out, and has a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.encode = nn.Linear(4, 4, bias=False)
        self.activation = nn.Tanh()
        self.decode = nn.Linear(4, 4)
        self.decode.weight = self.encode.weight
        self.scale = nn.Parameter(torch.ones(7))

    def forward(self, inputs):
        return self.activation(self.decode(self.activation(self.encode(inputs)))) * self.scale.sum()


def test_unused_layers_come_last_and_shared_parameters_count_once():
    model = Odd()
    table = layers(model, InputSpec((4,)))
    assert table == [
        Layer("encode", "Linear", (4,), 16),
        Layer("activation", "Tanh", (4,), 0),
        Layer("decode", "Linear", (4,), 4),
        Layer("(model)", "Odd", (4,), 7),
        Layer("unused", "Linear", None, 12),
    ]
    assert sum(layer.parameters for layer in table) == total(model)


def test_parameters_beside_inner_layers_are_counted():
    model = nn.Sequential(nn.Unflatten(1, (2, 4)), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
    table = layers(model, InputSpec((8,)))
    assert sum(layer.parameters for layer in table) == total(model)


@pytest.mark.parametrize("training", [True, False])
def test_looking_changes_nothing(training, settings_of):
    model = registry.build("model", settings_of("model", "mlp", norm="batch"), task=IMAGES).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers(model, IMAGES.input)
    assert model.training == training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_removed_where_the_model_fails():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 4))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layers(model, InputSpec((4,)))
    assert not any(module._forward_hooks for module in model.modules()) and model.training
