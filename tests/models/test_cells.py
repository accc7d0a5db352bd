"""Layers that are computed step by step, against PyTorch's fused ones, against finite differences and with padding.

That every variant follows its equations, test_recurrent.py says.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dltrain.initializers import SCHEMES, initialize
from dltrain.models.cells import StepwiseGRU, StepwiseLSTM, StepwiseRNN
from dltrain.trial import misfits

PLAIN = partial(StepwiseLSTM, peepholes=False, cell_clip=None)  # which computes what nn.LSTM does
PEEPING = partial(StepwiseLSTM, peepholes=True, cell_clip=None)
KINDS = {
    "peepholes": PEEPING,
    "clip": partial(StepwiseLSTM, peepholes=False, cell_clip=0.1),
    "projection": partial(StepwiseLSTM, peepholes=True, cell_clip=0.1, proj_size=2),
    "reset before": StepwiseGRU,
}
LSTM_SIZES = [{}, {"proj_size": 2}, {"num_layers": 2}, {"bidirectional": True}]
LSTM_SIZES.append({"proj_size": 2, "num_layers": 3, "bidirectional": True})
GRU_SIZES = [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}]


def made(kind, seed: int = 0, **options) -> nn.RNNBase:
    torch.manual_seed(seed)
    return kind(3, 4, batch_first=True, **options).double()


def steps_of(batch: int, time: int) -> torch.Tensor:
    torch.manual_seed(7)
    return torch.randn(batch, time, 3, dtype=torch.float64, requires_grad=True)


def states_and_gradients(layer: nn.RNNBase, steps: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Returns the states, and the gradients of the input and of each parameter of a function of all states."""
    states = layer(steps) if isinstance(layer, StepwiseRNN) else layer(steps)[0]
    torch.manual_seed(8)
    over = {"input": steps, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad((states * torch.randn(states.shape)).sum(), list(over.values()))
    return states, dict(zip(over, gradients, strict=True))


def assert_the_same(own: StepwiseRNN, fused: nn.RNNBase) -> None:
    own.load_state_dict(fused.state_dict())  # strict: the same names and shapes
    steps = steps_of(5, 6)
    (states, gradients), (expected, expected_gradients) = (states_and_gradients(layer, steps) for layer in (own, fused))
    torch.testing.assert_close(states, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", LSTM_SIZES, ids=str)
def test_an_lstm_without_options_is_that_of_pytorch(options):
    assert_the_same(made(PLAIN, **options), made(nn.LSTM, seed=1, **options))


@pytest.mark.parametrize("options", GRU_SIZES, ids=str)
def test_an_open_reset_gate_makes_both_kinds_of_gru_the_same(options):
    fused = made(nn.GRU, seed=1, **options)
    with torch.no_grad():
        for name, value in fused.named_parameters():
            if name.startswith("bias_ih"):
                value[:4] = 60.0  # of the reset gate, which comes first: sigmoid(60) is 1
    assert_the_same(made(StepwiseGRU, **options), fused)


def test_a_reset_gate_between_makes_them_differ():
    own, fused = made(StepwiseGRU), made(nn.GRU)
    steps = steps_of(5, 6)
    own.load_state_dict(fused.state_dict())
    torch.testing.assert_close(own(steps)[:, 0], fused(steps)[0][:, 0], rtol=0.3, atol=0.3)
    assert not torch.allclose(own(steps), fused(steps)[0], rtol=1e-3)


@pytest.mark.parametrize("options", LSTM_SIZES, ids=str)
def test_peepholes_of_0_and_a_wide_clip_change_nothing(options):
    fused, own = made(nn.LSTM, **options), made(partial(StepwiseLSTM, peepholes=True, cell_clip=50.0), **options)
    peepholes = [name for name in own.state_dict() if name.startswith("peephole")]
    assert len(peepholes) == len([name for name in fused.state_dict() if name.startswith("weight_hh")])
    own.load_state_dict({**fused.state_dict(), **{name: torch.zeros(12) for name in peepholes}})
    steps = steps_of(5, 6)
    torch.testing.assert_close(own(steps), fused(steps)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    layer = made(KINDS[kind], num_layers=2, bidirectional=True)
    own = dict(layer.named_parameters())

    def states(steps, *values):
        return torch.func.functional_call(layer, dict(zip(own, values, strict=True)), (steps, torch.tensor([3, 2])))

    steps = steps_of(2, 3)
    assert torch.autograd.gradcheck(states, (steps, *own.values()), fast_mode=True)


# --- padding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", LSTM_SIZES, ids=str)
def test_padding_is_left_out_as_a_packed_sequence_leaves_it_out(options):
    own, fused = made(PLAIN, **options), made(nn.LSTM, **options)
    own.load_state_dict(fused.state_dict())
    steps, lengths = steps_of(4, 6), torch.tensor([3, 6, 1, 4])
    packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(fused(packed)[0], batch_first=True)
    for states, those, length in zip(own(steps, lengths), expected, lengths, strict=True):
        torch.testing.assert_close(states[:length], those[:length], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_stays_as_it_is_behind_the_last_step(kind):
    layer, steps, lengths = made(KINDS[kind], bidirectional=True), steps_of(3, 6), torch.tensor([2, 6, 0])
    states = layer(steps, lengths)
    size = states.shape[2] // 2
    assert torch.equal(states[0, 2:, :size], states[0, 1:2, :size].expand(4, size))
    assert states[0, 2:, size:].eq(0).all() and states[2].eq(0).all()  # backward, nothing has been read there


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_padding_does_not_matter(kind):
    layer, steps, lengths = made(KINDS[kind], num_layers=2, bidirectional=True), steps_of(3, 6), torch.tensor([2, 6, 4])
    other = steps.detach().clone()
    other[0, 2:], other[2, 4:] = 100.0, -100.0
    assert torch.equal(layer(steps, lengths), layer(other, lengths))


# --- weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("own", "fused"), [(PEEPING, nn.LSTM), (StepwiseGRU, nn.GRU)], ids=["lstm", "gru"])
def test_first_weights_are_those_of_the_fused_layer(own, fused, scheme):
    layers = [made(kind, num_layers=2, bidirectional=True) for kind in (fused, own)]
    if scheme == "torch":
        layers[1].load_state_dict(layers[0].state_dict(), strict=False)
    for layer in layers:
        torch.manual_seed(3)
        initialize(layer, scheme)
    expected, values = (layer.state_dict() for layer in layers)
    for name, value in values.items():
        if name in expected:
            assert torch.equal(value, expected[name]), name
        elif scheme == "constant":
            assert value.eq(0.5).all()
        elif scheme == "torch":
            assert 0 < value.abs().max() <= 0.5  # 1 / sqrt(H)
        else:
            assert value.eq(0).all()  # peepholes: it begins as an LSTM without


def test_the_forget_gate_starts_open_and_recurrent_weights_orthogonal():
    layer = made(PEEPING, num_layers=2)
    initialize(layer, "glorot")
    for number in range(2):
        assert layer.get_parameter(f"bias_ih_l{number}").tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
        weight = layer.get_parameter(f"weight_hh_l{number}")
        torch.testing.assert_close(weight.T @ weight, torch.eye(4, dtype=torch.float64))


def test_weights_of_ten_and_more_layers_are_not_mistaken():
    assert_the_same(made(PLAIN, num_layers=12), made(nn.LSTM, seed=1, num_layers=12))


# --- in a network -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_stands_between_layers_and_in_training_only(kind):
    layer, steps = made(KINDS[kind], num_layers=2, dropout=0.5), steps_of(4, 6)
    assert not torch.equal(layer(steps), layer(steps))
    assert torch.equal(layer.eval()(steps), layer(steps))
    layer.train().dropout = 0.0
    assert torch.equal(layer(steps), layer.eval()(steps))


def test_dropout_leaves_the_last_layer_alone():
    layer, steps = made(StepwiseGRU, dropout=0.0), steps_of(4, 6)
    layer.dropout = 0.9
    assert torch.equal(layer(steps), layer(steps)) and not layer(steps).eq(0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_in_bfloat16_and_on_one_step(kind):
    layer = made(KINDS[kind], num_layers=2, bidirectional=True).float()
    steps = steps_of(2, 5).detach().float()
    expected = layer(steps, torch.tensor([5, 3]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = layer(steps, torch.tensor([5, 3]))
    torch.testing.assert_close(states.float(), expected, rtol=0.1, atol=0.03)
    assert layer(steps[:, :1]).shape == (*(2, 1), expected.shape[2])


def test_an_input_of_another_width_is_told_with_the_layer():
    (problem,) = misfits(nn.Sequential(PEEPING(3, 4, batch_first=True)), torch.randn(2, 6, 5))
    assert problem.startswith("layer 0 (StepwiseLSTM)")
