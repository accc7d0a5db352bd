"""RNN, LSTM and GRU against their equations, and what goes from the sequence to the output."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dltrain import registry
from dltrain.checkpoint import pack, unpack
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.models import notes_of
from dltrain.models.cells import StepwiseRNN
from dltrain.models.recurrent import Recurrent, as_steps

SERIES = Task("regression", InputSpec((6, 3)), 2)
TOKENS = Task("next_token", InputSpec((6,), "int64", vocabulary_size=9), 9)
CELLS = ("rnn", "lstm", "gru")
# Every combination of the options of a cell.
VARIANTS = [
    *(("rnn", {"activation": name}) for name in ("tanh", "relu")),
    *(
        ("lstm", {"projection": projection, "peepholes": peepholes, "cell_clip": clip})
        for projection, peepholes, clip in product((None, 2), (False, True), (None, 0.05))
    ),
    *(("gru", {"reset_after": after}) for after in (True, False)),
]
STEPWISE = [
    (name, options)
    for name, options in VARIANTS
    if options.get("peepholes") or options.get("cell_clip") or not options.get("reset_after", True)
]


def variants(chosen):
    ids = ["-".join([name, *(f"{key}={value}" for key, value in options.items())]) for name, options in chosen]
    return pytest.mark.parametrize(("name", "options"), chosen, ids=ids)


@pytest.fixture
def build(settings_of):
    def model(name: str, task: Task, **changes) -> Recurrent:
        torch.manual_seed(1)
        settings = settings_of("model", name, **{"hidden": 4, "init": "torch", **changes})
        return registry.build("model", settings, task=task).double().eval()

    return model


# --- the equations ----------------------------------------------------------------------------------------

Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def rnn(p: dict[str, Array], steps: Array, activation: str) -> list[Array]:
    """Elman 1990: h_t = tanh(W x_t + b + U h_(t-1) + c)."""
    h, states = np.zeros(len(p["U"])), []
    for x in steps:
        h = p["W"] @ x + p["b"] + p["U"] @ h + p["c"]
        h = np.tanh(h) if activation == "tanh" else np.maximum(h, 0)
        states.append(h)
    return states


def lstm(p: dict[str, Array], steps: Array, projection: int | None, peepholes: bool, cell_clip: float | None):
    """Gers and Schmidhuber 2000 (peepholes: i and f see c_(t-1), o sees c_t); Sak et al. 2014 (projection).

    Rows of W, U, b, c: i, f, g, o. Peepholes V: i, f, o.
    """
    size = len(p["W"]) // 4
    i, f, g, o = (slice(gate * size, (gate + 1) * size) for gate in range(4))
    v_i, v_f, v_o = np.split(p["V"], 3) if peepholes else np.zeros((3, size))
    h, c, states = np.zeros(projection or size), np.zeros(size), []
    for x in steps:

        def net(gate, x=x, h=h):
            return p["W"][gate] @ x + p["U"][gate] @ h + p["b"][gate] + p["c"][gate]

        forgotten, let_in = sigmoid(net(f) + v_f * c), sigmoid(net(i) + v_i * c)
        c = forgotten * c + let_in * np.tanh(net(g))
        if cell_clip is not None:
            c = np.clip(c, -cell_clip, cell_clip)
        h = sigmoid(net(o) + v_o * c) * np.tanh(c)
        h = p["R"] @ h if projection else h
        states.append(h)
    return states


def gru(p: dict[str, Array], steps: Array, reset_after: bool) -> list[Array]:
    """Cho et al. 2014: h_t = (1 - z) n + z h_(t-1), n = tanh(W x_t + U (r h_(t-1))); or after it, r (U h_(t-1) + c).

    Rows of W, U, b, c: r, z, n.
    """
    size = len(p["W"]) // 3
    r, z, n = (slice(gate * size, (gate + 1) * size) for gate in range(3))
    h, states = np.zeros(size), []
    for x in steps:
        reset = sigmoid(p["W"][r] @ x + p["b"][r] + p["U"][r] @ h + p["c"][r])
        update = sigmoid(p["W"][z] @ x + p["b"][z] + p["U"][z] @ h + p["c"][z])
        last = reset * (p["U"][n] @ h + p["c"][n]) if reset_after else p["U"][n] @ (reset * h) + p["c"][n]
        h = (1 - update) * np.tanh(p["W"][n] @ x + p["b"][n] + last) + update * h
        states.append(h)
    return states


EQUATIONS = {"rnn": rnn, "lstm": lstm, "gru": gru}
LETTERS = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c": "bias_hh", "V": "peephole", "R": "weight_hr"}


def run(model: Recurrent, name: str, steps: torch.Tensor, layer: int, options=None, ending: str = "") -> torch.Tensor:
    """Applies a layer's equations to (B, T, D) steps, one sequence after another, and returns (B, T, H)."""
    own = {key: value.detach().numpy() for key, value in model.recurrent.named_parameters()}
    keys = {letter: f"{weight}_l{layer}{ending}" for letter, weight in LETTERS.items()}
    parameters = {letter: own[key] for letter, key in keys.items() if key in own}
    options = (
        {"rnn": {"activation": "tanh"}, "gru": {"reset_after": True}}.get(name, {}) if options is None else options
    )
    states = [EQUATIONS[name](parameters, steps_of_one, **options) for steps_of_one in steps.detach().numpy()]
    return torch.tensor(np.array(states))


def run_layers(model: Recurrent, name: str, steps: torch.Tensor, options) -> torch.Tensor:
    """Returns the states of the last layer; both ways, those of the reversed sequence stand at the same steps."""
    for layer in range(model.recurrent.num_layers):
        states = run(model, name, steps, layer, options)
        if model.recurrent.bidirectional:
            backward = run(model, name, steps.flip(1), layer, options, "_reverse").flip(1)
            states = torch.cat((states, backward), dim=2)
        steps = states
    return steps


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@variants(VARIANTS)
def test_it_computes_what_the_equations_say(build, name, options, layers, bidirectional):
    model = build(name, SERIES, layers=layers, bidirectional=bidirectional, **options)
    inputs = 2 * torch.randn(5, 6, 3, dtype=torch.float64)
    states = run_layers(model, name, inputs, options)
    size = options.get("projection") or 4
    assert states.shape == (5, 6, size * (2 if bidirectional else 1))
    # Of both ways, each direction has read the whole sequence at another end.
    read = torch.cat((states[:, -1, :size], states[:, 0, size:]), dim=1)
    expected = read @ model.output.weight.T + model.output.bias
    torch.testing.assert_close(model(inputs), expected, rtol=1e-12, atol=1e-12)


@variants([variant for variant in VARIANTS if variant[0] == "lstm" and variant[1]["cell_clip"]])
def test_the_clip_of_these_tests_is_reached(build, name, options):
    inputs = 2 * torch.randn(5, 6, 3, dtype=torch.float64)
    free = build(name, SERIES, **{**options, "cell_clip": None})
    clipped = build(name, SERIES, **options)
    clipped.load_state_dict(free.state_dict())
    assert not torch.allclose(clipped(inputs), free(inputs), rtol=1e-3)


@variants(VARIANTS)
def test_each_step_has_an_output_of_its_state(build, name, options):
    each = Task("regression", InputSpec((6, 3)), 2, per_step=True)
    model, inputs = build(name, each, bidirectional=True, **options), torch.randn(5, 6, 3, dtype=torch.float64)
    states = run_layers(model, name, inputs, options)
    torch.testing.assert_close(model(inputs), model.output(states), rtol=1e-12, atol=1e-12)


@variants(VARIANTS)
def test_a_variant_loads_what_was_saved(build, name, options, tmp_path):
    model, inputs = build(name, SERIES, layers=2, **options), torch.randn(2, 6, 3, dtype=torch.float64)
    other = build(name, SERIES, layers=2, **{**options, "init": "zeros"})
    other.load_state_dict(unpack(pack({"model": model.state_dict()}), tmp_path)["model"])
    assert torch.equal(other(inputs), model(inputs))


@variants(VARIANTS)
def test_what_runs_step_by_step_says_so(build, name, options):
    model, stepwise = build(name, SERIES, **options), (name, options) in STEPWISE
    assert isinstance(model.recurrent, StepwiseRNN) == stepwise
    assert [note.partition(" runs step by step, not in PyTorch's fused kernel: ")[0] for note in notes_of(model)] == (
        [{"lstm": "lstm with peepholes or cell_clip", "gru": "gru with reset_after: false"}[name]] if stepwise else []
    )


@pytest.mark.parametrize("projection", [4, 5])
def test_a_projection_that_is_no_smaller_is_refused(build, projection):
    with pytest.raises(ConfigError) as caught:
        build("lstm", SERIES, projection=projection)
    assert str(caught.value) == (
        f"model.projection = {projection}: must be below model.hidden = 4, since it makes the state smaller. "
        "Take a smaller one, or null, which projects nothing"
    )


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
@variants(VARIANTS)
def test_padding_on_the_right_changes_nothing(build, name, options, pooling, bidirectional):
    model = build(name, TEXT, layers=2, pooling=pooling, bidirectional=bidirectional, **options)
    sequences = [[3, 1, 4], [1, 5, 8, 2, 6, 5], [3], [5, 8]]
    padded = torch.tensor([sequence + [0] * (6 - len(sequence)) for sequence in sequences])
    alone = torch.cat([model(torch.tensor([sequence])) for sequence in sequences])
    torch.testing.assert_close(model(padded), alone)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("peepholes", [False, True])
def test_a_sequence_of_padding_alone_gives_a_finite_output(build, peepholes, bidirectional):
    model = build("lstm", TEXT, bidirectional=bidirectional, peepholes=peepholes)
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


# --- one sample, several steps ----------------------------------------------------------------------------

HORIZON = Task("regression", InputSpec((6, 3)), 5)


@pytest.mark.parametrize("bidirectional", [False, True])
@variants(VARIANTS)
def test_repeat_reads_the_sample_at_each_step_and_gives_a_value_there(build, name, options, bidirectional):
    model = build(name, HORIZON, reading="repeat", bidirectional=bidirectional, **options)
    inputs = torch.randn(4, 6, 3, dtype=torch.float64)
    assert model.recurrent.input_size == 18 and model.output.out_features == 1
    steps = inputs.reshape(4, 1, 18).expand(4, 5, 18)
    expected = model.output(run_layers(model, name, steps, options))[:, :, 0]  # (B, K)
    torch.testing.assert_close(model(inputs), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(7,), (6, 3), (3, 5, 4)])
@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_repeat_takes_samples_of_any_shape(build, shape, kind):
    model = build("gru", Task(kind, InputSpec(shape), 3), reading="repeat", dense=[5], layers=2)
    assert model(torch.randn(2, *shape, dtype=torch.float64)).shape == (2, 3)


@pytest.mark.parametrize(
    "task",
    [
        Task("multiclass", InputSpec((6, 3)), 3),
        Task("binary", InputSpec((6, 3)), 1),
        TOKENS,
        Task("several", InputSpec((4,)), 4, heads={"a": Task("regression", InputSpec((4,)), 4)}),
    ],
    ids=lambda task: task.kind,
)
def test_repeat_refuses_what_has_no_several_values(build, task):
    with pytest.raises(ConfigError) as caught:
        build("lstm", task, reading="repeat")
    assert str(caught.value) == (
        "model.name = 'lstm': with model.reading = 'repeat' each step gives one value of several, as of regression or "
        f"multilabel, and this task is {task.kind}. Take model.reading=steps"
    )


def test_repeat_refuses_values_of_each_step(build):
    with pytest.raises(ConfigError) as caught:
        build("rnn", Task("regression", InputSpec((6, 3)), 2, per_step=True), reading="repeat")
    assert str(caught.value) == (
        "model.name = 'rnn': with model.reading = 'repeat' it gives values of the sample, and this task has values of "
        "each of its steps. Take model.reading=steps"
    )


def test_repeat_refuses_tokens(build):
    with pytest.raises(ConfigError) as caught:
        build("rnn", Task("multilabel", InputSpec((6,), "int64", vocabulary_size=9), 4), reading="repeat")
    assert str(caught.value) == (
        "model.name = 'rnn': with model.reading = 'repeat' it reads a sample as one vector of numbers, and this data "
        "gives tokens. Take model.reading=steps"
    )


# --- hidden layers after the recurrence -------------------------------------------------------------------


def test_dense_layers_stand_between_the_states_and_the_output(build):
    model, inputs = build("lstm", SERIES, dense=[7, 3]), torch.randn(5, 6, 3, dtype=torch.float64)
    hidden = model.recurrent(inputs)[0][:, -1]
    for layer in (model.dense[0], model.dense[2]):
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(inputs), model.output(hidden))
    assert [tuple(layer.weight.shape) for layer in (model.dense[0], model.dense[2], model.output)] == [
        (7, 4),
        (3, 7),
        (2, 3),
    ]


@pytest.mark.parametrize("function", ["maxout", "softmax", "prelu"])
def test_dense_layers_treat_each_step_alike(build, function):
    each = Task("regression", InputSpec((6, 3)), 2, per_step=True)
    whole = build("rnn", each, dense=[5], dense_activation=function)
    last = build("rnn", SERIES, dense=[5], dense_activation=function)
    last.load_state_dict(whole.state_dict())
    inputs = torch.randn(4, 6, 3, dtype=torch.float64)
    for steps in range(1, 7):
        torch.testing.assert_close(whole(inputs)[:, steps - 1], last(inputs[:, :steps]))


def test_dropout_also_stands_behind_each_dense_layer(build):
    model = build("lstm", SERIES, dense=[7, 3], dropout=0.5)
    assert [type(layer).__name__ for layer in model.dense] == ["Linear", "ReLU", "Dropout"] * 2
    assert build("lstm", SERIES, dropout=0.5).dense is None
