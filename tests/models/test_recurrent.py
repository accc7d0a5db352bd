"""RNN, LSTM and GRU against their equations, and what goes from the sequence to the output."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.models.recurrent import Recurrent, as_steps

SERIES = Task("regression", InputSpec((6, 3)), 2)
TOKENS = Task("next_token", InputSpec((6,), "int64", vocabulary_size=9), 9)
CELLS = ("rnn", "lstm", "gru")

State = tuple[torch.Tensor, torch.Tensor]  # hidden (B, H) and, of an LSTM, cell (B, H)
Cell = Callable[[torch.Tensor, State, "dict[str, torch.Tensor]"], State]


@pytest.fixture
def build(settings_of):
    def model(name: str, task: Task, **changes) -> Recurrent:
        torch.manual_seed(1)
        settings = settings_of("model", name, **{"hidden": 4, "init": "torch", **changes})
        return registry.build("model", settings, task=task).double().eval()

    return model


# --- the equations ----------------------------------------------------------------------------------------


def rnn_cell(x: torch.Tensor, state: State, p: dict[str, torch.Tensor]) -> State:
    """Elman 1990: h' = tanh(W x + b + U h + c)."""
    return torch.tanh(x @ p["W"].T + p["b"] + state[0] @ p["U"].T + p["c"]), state[1]


def lstm_cell(x: torch.Tensor, state: State, p: dict[str, torch.Tensor]) -> State:
    """Gers et al. 2000: c' = f c + i g, h' = o tanh(c'), with gates i, f, o and candidate g."""
    hidden, cell = state
    i, f, g, o = (x @ p["W"].T + p["b"] + hidden @ p["U"].T + p["c"]).chunk(4, dim=1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def gru_cell(x: torch.Tensor, state: State, p: dict[str, torch.Tensor]) -> State:
    """Cho et al. 2014: h' = (1 - z) n + z h, n = tanh(W x + r (U h)), the reset gate r after the product."""
    hidden = state[0]
    w_r, w_z, w_n = (x @ p["W"].T + p["b"]).chunk(3, dim=1)
    u_r, u_z, u_n = (hidden @ p["U"].T + p["c"]).chunk(3, dim=1)
    reset, update = torch.sigmoid(w_r + u_r), torch.sigmoid(w_z + u_z)
    candidate = torch.tanh(w_n + reset * u_n)
    return (1 - update) * candidate + update * hidden, state[1]


EQUATIONS: dict[str, Cell] = {"rnn": rnn_cell, "lstm": lstm_cell, "gru": gru_cell}


def run(model: Recurrent, name: str, steps: torch.Tensor, layer: int, suffix: str = "") -> torch.Tensor:
    """Applies a layer's cell to (B, T, D) steps, one after another, and returns (B, T, H)."""
    weights = dict(model.recurrent.named_parameters())
    letters = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c": "bias_hh"}
    parameters = {letter: weights[f"{weight}_l{layer}{suffix}"] for letter, weight in letters.items()}
    zeros = torch.zeros(len(steps), model.hidden, dtype=steps.dtype)
    state, hidden = (zeros, zeros), []
    for time in range(steps.shape[1]):
        state = EQUATIONS[name](steps[:, time], state, parameters)
        hidden.append(state[0])
    return torch.stack(hidden, dim=1)


def run_both_ways(model: Recurrent, name: str, steps: torch.Tensor, layer: int) -> torch.Tensor:
    """Returns (B, T, 2H): forward states, and those of the reversed sequence at the same steps."""
    backward = run(model, name, steps.flip(1), layer, "_reverse").flip(1)
    return torch.cat((run(model, name, steps, layer), backward), dim=2)


@pytest.mark.parametrize("name", CELLS)
def test_it_computes_what_the_equations_say(build, name):
    model, inputs = build(name, SERIES), torch.randn(5, 6, 3, dtype=torch.float64)
    last = run(model, name, inputs, layer=0)[:, -1]
    expected = last @ model.output.weight.T + model.output.bias
    torch.testing.assert_close(model(inputs), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_a_second_layer_reads_the_states_of_the_first(build, name):
    model, inputs = build(name, SERIES, layers=2), torch.randn(5, 6, 3, dtype=torch.float64)
    last = run(model, name, run(model, name, inputs, layer=0), layer=1)[:, -1]
    torch.testing.assert_close(model(inputs), model.output(last), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", CELLS)
def test_both_ways_last_takes_the_backward_state_at_the_first_step(build, name, layers):
    model = build(name, SERIES, bidirectional=True, layers=layers)
    inputs = states = torch.randn(5, 6, 3, dtype=torch.float64)
    for layer in range(layers):
        states = run_both_ways(model, name, states, layer)
    # There each direction has read the whole sequence.
    read = torch.cat((states[:, -1, :4], states[:, 0, 4:]), dim=1)
    torch.testing.assert_close(model(inputs), model.output(read), rtol=1e-12, atol=1e-12)


# --- from the sequence to the output ----------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooling_leaves_padding_out(build, pooling, bidirectional):
    model = build("gru", TOKENS, pooling=pooling, bidirectional=bidirectional)
    tokens = torch.tensor([[0, 0, 0, 3, 1, 2], [4, 5, 6, 7, 8, 1], [0, 0, 0, 0, 0, 5]])
    states, _ = model.recurrent(model.embedding(tokens))
    for row, length in ((0, 3), (1, 6), (2, 1)):
        of_tokens = states[row, -length:]
        pooled = of_tokens.mean(dim=0) if pooling == "mean" else of_tokens.max(dim=0).values
        torch.testing.assert_close(model(tokens)[row], model.output(pooled))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooling_of_numbers_takes_every_step(build, pooling):
    model, inputs = build("rnn", SERIES, pooling=pooling), torch.randn(5, 6, 3, dtype=torch.float64)
    inputs[:, 2] = 0  # a step of zeros is no padding
    states = run(model, "rnn", inputs, layer=0)
    pooled = states.mean(dim=1) if pooling == "mean" else states.max(dim=1).values
    torch.testing.assert_close(model(inputs), model.output(pooled))


def test_padding_alone_is_no_crash_and_no_nan_with_mean(build):
    model = build("lstm", TOKENS, pooling="mean")
    assert model(torch.zeros(1, 6, dtype=torch.int64)).isfinite().all()


@pytest.mark.parametrize(
    ("shape", "steps"),
    [((7,), (7, 1)), ((6, 3), (6, 3)), ((3, 5, 4), (5, 12))],
)
def test_a_sample_is_read_in_these_steps(build, shape, steps):
    task = Task("multiclass", InputSpec(shape), 3)
    inputs = torch.randn(2, *shape, dtype=torch.float64)
    assert as_steps(inputs).shape == (2, *steps)
    assert build("rnn", task).recurrent.input_size == steps[-1]
    assert build("rnn", task)(inputs).shape == (2, 3)


def test_a_step_of_an_image_is_its_row_in_all_channels():
    image = torch.arange(2 * 3 * 4).reshape(1, 2, 3, 4)  # (B, C, H, W)
    assert as_steps(image)[0, 1].tolist() == [*image[0, 0, 1].tolist(), *image[0, 1, 1].tolist()]


def test_tokens_are_embedded_by_their_number(build):
    model = build("rnn", TOKENS, embedding=5)
    assert model.embedding.weight.shape == (9, 5)
    assert model.recurrent.input_size == 5


def test_the_korean_presets_have_the_parameters_of_keras(build):
    # Embedding 12 x 10, SimpleRNN(32): 32 (10 + 32 + 1), Dense: 12 (32 + 1); PyTorch has a second bias.
    task = Task("next_token", InputSpec((5,), "int64", vocabulary_size=12), 12)
    for name, hidden, gates in (("rnn", 32, 1), ("lstm", 128, 4)):
        model = build(name, task, embedding=10, hidden=hidden)
        second_bias = gates * hidden
        expected = 120 + gates * hidden * (10 + hidden + 1) + second_bias + 12 * (hidden + 1)
        assert sum(p.numel() for p in model.parameters()) == expected


def test_dropout_works_in_training_only(build):
    model, inputs = build("lstm", SERIES, dropout=0.5, layers=2), torch.randn(4, 6, 3, dtype=torch.float64)
    assert torch.equal(model(inputs), model(inputs))
    model.train()
    assert not torch.equal(model(inputs), model(inputs))


def test_dropout_of_a_single_layer_needs_no_warning(build):
    # PyTorch warns of dropout between layers where there is one; warnings are errors here.
    assert build("gru", SERIES, dropout=0.5).recurrent.dropout == 0


# --- sequences of different length, padded on the right ---------------------------------------------------

TEXT = Task("multiclass", InputSpec((6,), "int64", vocabulary_size=9, padding="right"), 3)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("name", CELLS)
def test_padding_on_the_right_changes_nothing(build, name, pooling, bidirectional):
    model = build(name, TEXT, layers=2, pooling=pooling, bidirectional=bidirectional)
    sequences = [[3, 1, 4], [1, 5, 8, 2, 6, 5], [3], [5, 8]]
    padded = torch.tensor([sequence + [0] * (6 - len(sequence)) for sequence in sequences])
    alone = torch.cat([model(torch.tensor([sequence])) for sequence in sequences])
    torch.testing.assert_close(model(padded), alone)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_sequence_of_padding_alone_gives_a_finite_output(build, bidirectional):
    model = build("lstm", TEXT, bidirectional=bidirectional)
    assert model(torch.zeros(2, 6, dtype=torch.int64)).isfinite().all()


@pytest.mark.parametrize("name", CELLS)
def test_each_step_has_the_output_of_the_sequence_up_to_it(build, name):
    each = Task("next_token", InputSpec((6,), "int64", vocabulary_size=9), 9, per_step=True)
    whole, last = build(name, each), build(name, TOKENS)
    last.load_state_dict(whole.state_dict())
    tokens = torch.tensor([[3, 1, 4, 1, 5, 8]])
    for steps in range(1, 7):
        torch.testing.assert_close(whole(tokens)[:, steps - 1], last(tokens[:, :steps]))


def test_columns_of_categories_are_refused(build):
    with pytest.raises(ConfigError, match=r"^model\.name = 'gru': it reads steps in time, and this data has columns "):
        build("gru", Task("binary", InputSpec((5,), categories=(3,)), 1))
