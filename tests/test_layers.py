"""The tree of layers: shapes as a sample passes, each parameter counted once, FLOPs and memory by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.layer_table import fitting_depth, rows
from dltrain.layers import SAMPLES, Cost, Layer, example, layers, total
from dltrain.models import WithAuxiliary

IMAGES = Task("multiclass", InputSpec((1, 8, 8)), 10)
TOKENS = Task("next_token", InputSpec((5,), "int64", vocabulary_size=12), 12)
FLOAT = 4


def size_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def leaves(layer: Layer) -> list[tuple[str, str, tuple[int, ...] | None, int]]:
    """Returns the rows of all layers: name, kind, output, parameters."""
    return [(row.name, row.kind, row.output, row.cost.parameters) for row in rows(layer, 100)]


def costs(layer: Layer) -> dict[str, tuple[int, int]]:
    """Returns the FLOPs and the bytes kept of each layer."""
    return {row.name: (row.cost.flops, row.cost.kept) for row in rows(layer, 100)}


def build(name: str, task: Task, **changes) -> nn.Module:
    return registry.build("model", settings_of("model", name, **changes), task=task)


def test_the_layers_of_an_mlp():
    model = build("mlp", IMAGES, hidden=[128, 64], dropout=0.2, norm="batch")
    table = leaves(layers(model, IMAGES.input))
    assert table[:5] == [
        ("layers.0", "Flatten", (64,), 0),
        ("layers.1", "Linear", (128,), 64 * 128 + 128),
        ("layers.2", "BatchNorm1d", (128,), 256),
        ("layers.3", "ReLU", (128,), 0),
        ("layers.4", "Dropout", (128,), 0),
    ]
    assert table[-1] == ("layers.9", "Linear", (10,), 650)


def test_flops_are_twice_the_multiply_adds_and_what_is_kept_counts_once():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10), nn.Sigmoid()
    )
    assert costs(layers(model, IMAGES.input)) == {
        "0": (2 * 9 * 4 * 64, 64 * FLOAT),  # the convolution keeps its input
        "1": (0, 4 * 64 * FLOAT),  # what ReLU keeps is its output, which the pooling would keep too
        "2": (0, 4 * 16 * 8),  # the places of the largest values, int64
        "3": (0, 0),
        "4": (2 * 64 * 10, 64 * FLOAT),
        "5": (0, 10 * FLOAT),
    }


def test_grouped_convolutions_multiply_less():
    whole, halves = (layers(nn.Conv2d(4, 6, 3, groups=groups), InputSpec((4, 8, 8))) for groups in (1, 2))
    assert (whole.own.flops, halves.own.flops) == (2 * 36 * 6 * 4 * 9, 36 * 6 * 4 * 9)


def test_layers_that_are_frozen_keep_less_and_their_parameters_are_not_trained():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    whole = total(layers(model, InputSpec((4,))))
    assert whole == Cost(parameters=40 + 27, trained=27, flops=2 * (32 + 24), kept=8 * FLOAT)


def test_the_layers_of_a_bidirectional_lstm():
    model = build("lstm", TOKENS, bidirectional=True, layers=2, hidden=16)
    first, second = 4 * 16 * (10 + 16 + 2), 4 * 16 * (32 + 16 + 2)
    tree = layers(model, TOKENS.input)
    assert leaves(tree) == [
        ("embedding", "Embedding", (5, 10), 120),
        ("recurrent", "LSTM", (5, 32), 2 * (first + second)),
        ("output", "Linear", (12,), 32 * 12 + 12),
    ]
    # Of each step, direction and layer: the four gates of 16, each from an input and from the last state.
    steps = 2 * 5 * 2 * (4 * 16 * (10 + 16) + 4 * 16 * (32 + 16))
    assert [costs(tree)[name][0] for name in ("recurrent", "output")] == [steps, 2 * 32 * 12]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_packed_sequences_cost_their_steps(kind):
    class Packs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = kind(3, 4, batch_first=True)

        def forward(self, inputs):
            lengths = torch.tensor([5, 3])
            return self.cell(nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True))[0]

    model = Packs()
    weights = model.cell.weight_ih_l0.numel() + model.cell.weight_hh_l0.numel()
    tree = layers(model, InputSpec((7, 3)))
    assert tree.inner[0].own.flops == 2 * weights * (5 + 3) // SAMPLES
    assert tree.inner[0].output == (5, 4)


class Odd(nn.Module):
    """Uses a layer twice, shares a weight, leaves a layer out, and has a parameter and a product of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.encode = nn.Linear(4, 4, bias=False)
        self.activation = nn.Tanh()
        self.decode = nn.Linear(4, 4)
        self.decode.weight = self.encode.weight
        self.scale = nn.Parameter(torch.ones(4, 7))

    def forward(self, inputs):
        return self.activation(self.decode(self.activation(self.encode(inputs)))) @ self.scale


def test_unused_layers_come_last_and_shared_parameters_count_once():
    model = Odd()
    tree = layers(model, InputSpec((4,)))
    assert leaves(tree) == [
        ("encode", "Linear", (4,), 16),
        ("activation", "Tanh", (4,), 0),
        ("decode", "Linear", (4,), 4),
        ("unused", "Linear", None, 12),
        ("(model)", "Odd itself", (7,), 28),
    ]
    assert total(tree).parameters == size_of(model)
    assert costs(tree) == {
        "encode": (32, 4 * FLOAT),
        "activation": (0, 2 * 4 * FLOAT),  # of two calls
        "decode": (32, 0),  # its input is kept as the activation's output
        "unused": (0, 0),
        "(model)": (2 * 4 * 7, 0),
    }


def test_parameters_beside_inner_layers_are_counted():
    model = nn.Sequential(nn.Unflatten(1, (2, 4)), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
    assert total(layers(model, InputSpec((8,)))).parameters == size_of(model)


class Helped(nn.Module):
    """Has an output for training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.helper = nn.Linear(4, 3)
        self.output = nn.Linear(4, 3)

    def forward(self, inputs):
        outputs = self.output(inputs)
        return WithAuxiliary(outputs, {"helper": self.helper(inputs)}, 1.0, 0.3) if self.training else outputs


def test_layers_for_training_alone_have_a_shape_and_cost_nothing_in_evaluation():
    tree = layers(Helped(), InputSpec((4,)))
    assert [(layer.name, layer.output, layer.own.flops) for layer in tree.inner] == [
        ("output", (3,), 24),
        ("helper", (3,), 0),
    ]


def test_a_model_without_values_is_the_same_tree():
    with torch.device("meta"):
        empty = build("mlp", IMAGES, norm="batch")
    assert layers(empty, IMAGES.input) == layers(build("mlp", IMAGES, norm="batch"), IMAGES.input)


@pytest.mark.parametrize("training", [True, False])
def test_looking_changes_nothing(training):
    model = build("mlp", IMAGES, norm="batch", dropout=0.5).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(0)
    drawn = torch.get_rng_state()
    layers(model, IMAGES.input)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert model.training == training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_removed_where_the_model_fails():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 4))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layers(model, InputSpec((4,)))
    assert not any(module._forward_hooks for module in model.modules()) and model.training


def test_an_example_is_zeros_or_tokens_that_are_no_padding():
    inputs = example({"a": InputSpec((3,)), "b": TOKENS.input}, 2, torch.device("cpu"))
    assert inputs["a"].eq(0).all() and inputs["b"].eq(1).all() and inputs["b"].shape == (2, 5)


# --- rows -------------------------------------------------------------------------------------------------


def tower(heights: tuple[int, ...]) -> nn.Module:
    """Stages of blocks of two layers each."""
    stages = [nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(height)]) for height in heights]
    return nn.Sequential(*stages, nn.Linear(4, 2))


def test_a_row_holds_what_is_inside_and_repeated_layers_are_one_row():
    tree = layers(tower((3, 1)), InputSpec((4,)))
    assert [(row.name, row.kind, row.cost.parameters) for row in rows(tree, 1)] == [
        ("0", "Sequential", 60),
        ("1", "Sequential", 20),
        ("2", "Linear", 10),
    ]
    assert [(row.name, row.kind, row.cost.parameters) for row in rows(tree, 2)] == [
        ("0.0 - 2", "3 x Sequential", 60),
        ("1.0", "Sequential", 20),
        ("2", "Linear", 10),
    ]
    assert [row.name for row in rows(tree, 3)][:4] == ["0.0.0", "0.0.1", "0.1.0", "0.1.1"]


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
def test_the_rows_add_up_at_any_depth(depth):
    tree = layers(tower((5, 2)), InputSpec((4,)))
    assert sum((row.cost for row in rows(tree, depth)), Cost()) == total(tree)


@pytest.mark.parametrize(("most", "depth"), [(1, 1), (3, 2), (14, 2), (15, 3), (100, 3)])
def test_as_deep_as_rows_fit(most, depth):
    assert fitting_depth(layers(tower((5, 2)), InputSpec((4,))), most) == depth
