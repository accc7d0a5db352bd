"""The first weights by scheme."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain.initializers import SCHEMES, initialize

RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_glorot_fills_its_bound_and_no_more():
    layer = nn.Linear(300, 100)
    initialize(layer, "glorot")
    bound = (6 / (300 + 100)) ** 0.5
    assert layer.weight.abs().max() <= bound
    assert layer.weight.abs().max() > 0.999 * bound
    # A uniform distribution over (-a, a) has the deviation a / sqrt(3).
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert layer.bias.eq(0).all()


def test_a_layer_without_bias_works():
    layer = nn.Linear(3, 2, bias=False)
    initialize(layer, "glorot")
    assert layer.bias is None and layer.weight.abs().max() <= (6 / 5) ** 0.5


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_matrices_are_orthogonal_over_all_gates(kind):
    layer = kind(10, 32, num_layers=2, bidirectional=True)
    initialize(layer, "glorot")
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            torch.testing.assert_close(weight.T @ weight, torch.eye(32), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_input_weights_keep_the_glorot_bound_of_all_gates_at_once(kind):
    layer = kind(50, 64)
    initialize(layer, "glorot")
    weight = layer.weight_ih_l0
    bound = (6 / (50 + len(weight))) ** 0.5  # as for Keras' kernel of (D, gates x H)
    assert 0.99 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_forget_gates_of_an_lstm_start_with_a_bias_of_1_in_all(bidirectional):
    layer = nn.LSTM(3, 5, num_layers=2, bidirectional=bidirectional)
    initialize(layer, "glorot")
    biases = {name: value for name, value in layer.named_parameters() if name.startswith("bias")}
    assert len(biases) == 4 * (1 + bidirectional)
    for name, value in biases.items():
        if name.startswith("bias_ih"):
            total = value + biases[name.replace("bias_ih", "bias_hh")]
            # PyTorch's order of the gates is input, forget, cell, output.
            assert total.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU])
def test_other_recurrent_biases_start_at_0(kind):
    layer = kind(3, 5)
    initialize(layer, "glorot")
    assert layer.bias_ih_l0.eq(0).all() and layer.bias_hh_l0.eq(0).all()


def test_an_embedding_is_small_and_differs_by_token():
    layer = nn.Embedding(12, 10)
    initialize(layer, "glorot")
    assert 0 < layer.weight.abs().max() < 1
    assert len(layer.weight.unique(dim=0)) == 12


@pytest.mark.parametrize("scheme", SCHEMES)
def test_normalisation_layers_keep_their_weights(scheme):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LayerNorm(4))
    initialize(model, scheme)
    assert model[1].weight.eq(1).all() and model[2].weight.eq(1).all()


def test_torch_keeps_what_pytorch_drew():
    model = nn.Sequential(nn.Linear(3, 4), nn.Embedding(5, 2))
    before = [parameter.clone() for parameter in model.parameters()]
    initialize(model, "torch")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_zeros_are_zeros():
    model = nn.ModuleList([nn.Linear(3, 4), nn.Embedding(5, 2), nn.LSTM(2, 3)])
    initialize(model, "zeros")
    assert all(parameter.eq(0).all() for parameter in model.parameters())


def test_gradients_are_kept_as_they_are():
    layer = nn.Linear(3, 4)
    initialize(layer, "glorot")
    assert layer.weight.requires_grad and layer.weight.grad is None and layer.weight.is_leaf
