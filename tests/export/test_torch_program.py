from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.export import torch_program
from dltrain.export.torch_program import Axis, program_of

FEATURES = Task("multiclass", InputSpec((4,)), 3)
TOKENS = Task("multiclass", InputSpec((9,), "int64", vocabulary_size=12, padding="right"), 3)


class Choosing(nn.Module):
    """Computes one thing or another, by the values that it is given."""

    def forward(self, inputs):
        return inputs[:, :3] if inputs.sum() > 0 else -inputs[:, :3]


class OfOneLength(nn.Module):
    """Has a weight for each token of nine."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(9, 3)

    def forward(self, inputs):
        return self.layer(inputs.float())


class UpTo(nn.Module):
    """Has a weight for each of at most nine places."""

    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.ones(9, 3))

    def forward(self, inputs):
        return (inputs.float().unsqueeze(2) * self.places[: inputs.shape[1]]).sum(dim=1)


def test_a_batch_may_have_any_size():
    program = program_of(nn.Linear(4, 3), FEATURES, "mine")
    assert program.axes == {"inputs": (Axis("batch"), 4)}
    for count in (1, 2, 100):
        assert program.exported.module()(torch.zeros(count, 4)).shape == (count, 3)


def test_several_inputs_are_given_by_name():
    class Two(nn.Module):
        def forward(self, inputs):
            return inputs["left"] + inputs["오른쪽"].sum(dim=(1, 2)).unsqueeze(1)

    inputs = {"left": InputSpec((3,)), "오른쪽": InputSpec((2, 5))}
    program = program_of(Two(), Task("multiclass", inputs, 3), "mine")
    assert program.axes == {"left": (Axis("batch"), 3), "오른쪽": (Axis("batch"), 2, 5)}
    given = {"left": torch.ones(2, 3), "오른쪽": torch.ones(2, 2, 5)}
    assert torch.equal(program.exported.module()(given), torch.full((2, 3), 11.0))


def test_several_outputs_are_given_by_name():
    heads = {"kind": Task("multiclass", InputSpec((4,)), 3), "값": Task("regression", InputSpec((4,)), 1)}
    program = program_of(nn.Linear(4, 4), Task("several", InputSpec((4,)), 4, heads=heads), "mine")
    outputs = program.exported.module()(torch.zeros(5, 4))
    assert {name: tuple(tensor.shape) for name, tensor in outputs.items()} == {"kind": (5, 3), "값": (5, 1)}


def test_what_a_model_does_with_the_length_of_a_text_is_noticed():
    assert program_of(OfOneLength(), TOKENS, "mine").axes == {"inputs": (Axis("batch"), 9)}
    assert program_of(UpTo(), TOKENS, "mine").axes == {"inputs": (Axis("batch"), Axis("time", 1, 9))}


def test_texts_that_are_too_short_are_filled_up_on_their_side():
    tokens = torch.tensor([[3, 4]])
    axes = {"inputs": (Axis("batch"), Axis("time", shortest=4))}
    assert torch_program.filled(tokens, TOKENS, axes).tolist() == [[3, 4, 0, 0]]
    left = Task("next_token", InputSpec((9,), "int64", vocabulary_size=12), 12)
    assert torch_program.filled(tokens, left, {"inputs": (Axis("batch"), 3)}).tolist() == [[0, 3, 4]]
    assert torch_program.filled(tokens, TOKENS, {"inputs": (Axis("batch"), Axis("time"))}) is tokens
    values = torch.zeros(2, 4)
    assert torch_program.filled(values, FEATURES, {"inputs": (Axis("batch"), 4)}) is values


def test_a_model_that_asks_for_values_cannot_be_exported():
    with pytest.raises(ConfigError) as caught:
        program_of(Choosing(), FEATURES, "mine")
    text = str(caught.value)
    assert text.startswith(
        "model.name = 'mine': PyTorch cannot export it, for what it computes depends on the values that it is given ("
    )
    assert text.endswith("--format safetensors keeps its weights") and "\n" not in text


def test_dropout_and_batch_norm_compute_as_in_evaluation_and_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()
    inputs = torch.randn(6, 4)
    program = program_of(model, FEATURES, "mine")
    assert not model.training
    assert torch.equal(program.exported.module()(inputs), model(inputs))


@pytest.mark.slow
def test_a_saved_program_runs_without_dltrain(tmp_path):
    model = nn.Linear(4, 3)
    torch_program.save(program_of(model, FEATURES, "mine"), tmp_path / "model.pt2")
    code = (
        "import sys; sys.modules['dltrain'] = None\n"
        "import torch\n"
        "print(torch.export.load('model.pt2').module()(torch.ones(1, 4)).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{model(torch.ones(1, 4)).tolist()}\n"
