"""The first weights by scheme."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain.errors import ConfigError
from dltrain.initializers import SCHEMES, check, initialize

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


# --- distributions ----------------------------------------------------------------------------------------

FAN_IN, FAN_OUT = 400, 100
# Scheme -> standard deviation, and the bound that is filled (None for normal distributions).
DISTRIBUTIONS = {
    "glorot": ((2 / (FAN_IN + FAN_OUT)) ** 0.5, (6 / (FAN_IN + FAN_OUT)) ** 0.5),
    "glorot_normal": ((2 / (FAN_IN + FAN_OUT)) ** 0.5, None),
    "he": ((2 / FAN_IN) ** 0.5, None),
    "lecun": ((1 / FAN_IN) ** 0.5, None),
    "inverse_root": ((1 / FAN_IN / 3) ** 0.5, FAN_IN**-0.5),
    "normal": (0.01, None),
    "normal 0.3": (0.3, None),
    # What lies beyond two deviations is drawn again: 0.8796 of the deviation is left.
    "truncated_normal": (0.02 * 0.8796, 0.04),
    "truncated_normal 0.5": (0.5 * 0.8796, 1.0),
}


@pytest.mark.parametrize("scheme", DISTRIBUTIONS)
def test_the_distribution_of_a_scheme(scheme):
    layer = nn.Linear(FAN_IN, FAN_OUT)
    initialize(layer, scheme)
    deviation, bound = DISTRIBUTIONS[scheme]
    weight = layer.weight.detach()
    assert weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert abs(weight.mean().item()) < 4 * deviation / weight.numel() ** 0.5
    if bound is None:  # a normal distribution has 4.6 % of its values beyond two deviations
        assert (weight.abs() > 2 * deviation).float().mean().item() == pytest.approx(0.0455, abs=0.006)
    else:
        assert 0.99 * bound < weight.abs().max() <= bound
    assert layer.bias.eq(0).all()


@pytest.mark.parametrize("scheme", ["he", "lecun", "inverse_root"])
def test_the_fan_in_of_a_convolution_is_channels_times_window(scheme):
    """Channels of one group: 8 of 16."""
    layer = nn.Conv2d(16, 256, 5, groups=2)
    initialize(layer, scheme)
    fan_in = 8 * 25
    variance = {"he": 2 / fan_in, "lecun": 1 / fan_in, "inverse_root": 1 / fan_in / 3}[scheme]
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("layer", [nn.Linear(60, 20), nn.Linear(20, 60), nn.Conv2d(4, 6, 3)])
def test_orthogonal_rows_or_columns_have_length_1_and_right_angles(layer):
    initialize(layer, "orthogonal")
    matrix = layer.weight.detach().flatten(1)
    matrix = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("scheme", "value"), [("constant", 0.5), ("constant 0", 0.0), ("constant -2.5", -2.5)])
def test_a_constant_fills_biases_too(scheme, value):
    layer = nn.LSTM(3, 4)
    initialize(layer, scheme)
    assert all(parameter.eq(value).all() for parameter in layer.parameters())


def test_from_a_constant_all_hidden_units_stay_the_same_for_ever():
    """The demonstration that a constant fails: equal units have equal gradients, so nothing ever tells them apart."""
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    errors = {}
    for scheme in ("constant", "glorot"):
        model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        initialize(model, scheme)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(300):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
        rows = model[0].weight.detach()
        assert torch.equal(rows, rows[:1].expand_as(rows)) == (scheme == "constant")
        errors[scheme] = loss.item()
    assert errors["glorot"] < 1e-3
    assert errors["constant"] > 0.1  # one unit, eight times


# --- patterns ---------------------------------------------------------------------------------------------


def network() -> nn.Sequential:
    model = nn.Sequential()
    model.add_module("hidden", nn.Linear(3, 4))
    model.add_module("output", nn.Linear(4, 2))
    return model


def test_the_last_pattern_that_fits_holds():
    model = network()
    initialize(model, {"*": "constant 1", "*.weight": "constant 2", "output.*": "constant 3", "output.bias": "zeros"})
    first = {name: parameter.flatten()[0].item() for name, parameter in model.named_parameters()}
    assert first == {"hidden.weight": 2.0, "hidden.bias": 1.0, "output.weight": 3.0, "output.bias": 0.0}


def test_what_no_pattern_fits_stays_as_pytorch_drew_it():
    model = network()
    before = model.hidden.weight.clone()
    initialize(model, {"output.*": "zeros"})
    assert torch.equal(model.hidden.weight, before) and model.output.weight.eq(0).all()


def test_a_pattern_that_fits_nothing_is_told():
    with pytest.raises(ConfigError) as caught:
        initialize(network(), {"*": "he", "outputs.weight": "zeros"})
    assert str(caught.value) == "model.init: no parameter fits 'outputs.weight'. Did you mean 'output.weight'?"


def test_a_pattern_that_others_leave_nothing_is_told():
    with pytest.raises(ConfigError) as caught:
        initialize(network(), {"output.*": "constant 3", "*": "constant 1"})
    assert str(caught.value) == (
        "model.init: what 'output.*' fits belongs to patterns after it, as output.weight to '*'. The last that fits "
        "holds: put the narrower one last"
    )


@pytest.mark.parametrize(
    ("init", "text"),
    [
        ("glorrot", "no scheme of first weights 'glorrot'. Did you mean 'glorot'?"),
        ({"*": "he", "output.*": "hee"}, "no scheme of first weights 'hee'. Did you mean 'he'?"),
        ("he 0.1", "'he 0.1': he takes no number"),
        ("normal x", "'normal x': needs a number above 0 after normal"),
        ("normal 0", "'normal 0': needs a number above 0 after normal"),
        ("truncated_normal -1", "'truncated_normal -1': needs a number above 0 after truncated_normal"),
        ("constant nan", "'constant nan': needs a number after constant"),
    ],
)
def test_a_scheme_that_cannot_be_used_is_told(init, text):
    with pytest.raises(ValueError) as caught:
        check(init)
    assert str(caught.value) == text


@pytest.mark.parametrize("init", [*SCHEMES, "constant -1", "normal 1e-3", {"*": "he"}])
def test_a_scheme_that_can_be_used_is_not(init):
    check(init)


def test_a_wrong_scheme_on_the_command_line_is_told_with_its_key(dltrain):
    answer = dltrain("check", "data=iris", "model.init=normal x")
    assert (answer.code, answer.err) == (2, "error: model.init: 'normal x': needs a number above 0 after normal\n")


def test_patterns_are_written_on_the_command_line(dltrain):
    answer = dltrain("check", "data=iris", "model.init={'*': he, layers.5.*: zeros}", "trainer.batch_size=90")
    assert answer.code == 0, answer.err
    assert "loss 1.0986" in answer.out  # of three classes that are equally likely: log 3
