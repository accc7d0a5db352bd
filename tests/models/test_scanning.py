"""The loops that exported recurrent layers are give what the layers give."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dltrain.models.cells import StepwiseGRU, StepwiseLSTM
from dltrain.models.scanning import scanned, scanned_packed

LAYERS = {
    "tanh": lambda **options: nn.RNN(3, 4, batch_first=True, **options),
    "relu": lambda **options: nn.RNN(3, 4, batch_first=True, nonlinearity="relu", **options),
    "lstm": lambda **options: nn.LSTM(3, 4, batch_first=True, **options),
    "projected lstm": lambda **options: nn.LSTM(3, 4, batch_first=True, proj_size=2, **options),
    "gru": lambda **options: nn.GRU(3, 4, batch_first=True, **options),
}
STEPWISE = {
    "peepholes": lambda **options: StepwiseLSTM(3, 4, batch_first=True, peepholes=True, cell_clip=0.1, **options),
    "reset before": lambda **options: StepwiseGRU(3, 4, batch_first=True, **options),
}
ONE_WAY, BOTH_WAYS = {}, {"num_layers": 2, "bidirectional": True}
on_all = pytest.mark.parametrize("options", [ONE_WAY, BOTH_WAYS], ids=["one layer", "two both ways"])


@pytest.fixture(autouse=True)
def _drawn():
    torch.manual_seed(0)
    torch.compiler.reset()
    with torch.no_grad():
        yield


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@on_all
@pytest.mark.parametrize("name", LAYERS)
def test_it_gives_what_the_layers_give(name, options):
    layers, steps = LAYERS[name](**options).eval(), torch.randn(5, 7, 3)
    expected, last = layers(steps)
    states, after = scanned(layers, steps)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-6)
    for part, other in zip(after, as_tuple(last), strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_it_goes_on_from_a_state(name):
    layers, steps = LAYERS[name](**BOTH_WAYS).eval(), torch.randn(2, 3, 3)
    _, first = layers(torch.randn(2, 4, 3))
    states, _ = scanned(layers, steps, first=as_tuple(first))
    torch.testing.assert_close(states, layers(steps, first)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru", "relu"])
def test_it_gives_what_packed_sequences_give(name):
    layers, steps, lengths = LAYERS[name](**BOTH_WAYS).eval(), torch.randn(4, 6, 3), torch.tensor([6, 0, 1, 4])
    packed = pack_padded_sequence(steps, lengths.clamp(min=1), batch_first=True, enforce_sorted=False)
    packed_states, last = layers(packed)
    expected = pad_packed_sequence(packed_states, batch_first=True, total_length=6)[0]
    states, after = scanned_packed(layers, steps, lengths)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-6)
    for part, other in zip(after, as_tuple(last), strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", STEPWISE)
def test_it_gives_what_layers_give_that_run_step_by_step(name):
    layers, steps, lengths = STEPWISE[name](**BOTH_WAYS).eval(), torch.randn(4, 6, 3), torch.tensor([6, 0, 1, 4])
    torch.testing.assert_close(scanned(layers, steps)[0], layers(steps), rtol=0, atol=1e-6)
    torch.testing.assert_close(scanned(layers, steps, lengths)[0], layers(steps, lengths), rtol=0, atol=1e-6)
