"""What is said of a model that cannot compute the data: at which layer, what came, what it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain.data import Batch, InputSpec, Task
from dltrain.trial import misfits, single_sample_batch, trial_pass, without_gradient

CLASSES = Task("multiclass", InputSpec((4,)), 3)


def values(*shape: int) -> torch.Tensor:
    return torch.zeros(2, *shape)


TOKENS = torch.tensor([[1, 2, 30], [4, 5, 0]])
TWO_POOLS = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(4), nn.ReLU(), nn.MaxPool2d(3))
CASES = {
    "linear": (
        nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Linear(5, 3))),
        values(4),
        "layer 1.1 (Linear) takes (B, 5), and (B, 8) comes to it",
    ),
    "linear of steps": (
        nn.Sequential(nn.Linear(5, 3)),
        values(7, 4),
        "layer 0 (Linear) takes (B, ..., 5), and (B, 7, 4) comes to it",
    ),
    "channels": (
        nn.Sequential(nn.Conv2d(3, 4, 3)),
        values(1, 8, 8),
        "layer 0 (Conv2d) takes (B, 3, H, W), and (B, 1, 8, 8) comes to it",
    ),
    "no images": (
        nn.Sequential(nn.Flatten(), nn.Conv2d(3, 4, 3)),
        values(3, 8, 8),
        "layer 1 (Conv2d) takes (B, 3, H, W), and (B, 192) comes to it",
    ),
    "no series": (
        nn.Sequential(nn.Conv1d(3, 4, 3)),
        values(3),
        "layer 0 (Conv1d) takes (B, 3, T), and (B, 3) comes to it",
    ),
    "pooling": (
        nn.ModuleDict({"features": TWO_POOLS})["features"],
        values(3, 10, 10),
        "the images are 2x2 when they come to layer 3 (MaxPool2d), whose window is 3x3. Take larger images "
        "(data=image_folder has data.size), or a model with fewer poolings or strides",
    ),
    "convolution of few pixels": (
        nn.Sequential(nn.Conv2d(3, 4, 5, padding=1)),
        values(3, 2, 9),
        "the images are 2x9 when they come to layer 0 (Conv2d), whose window is 5x5. Take larger images "
        "(data=image_folder has data.size), or a model with fewer poolings or strides",
    ),
    "window of time": (
        nn.Sequential(nn.Conv1d(3, 4, 3, dilation=4)),
        values(3, 6),
        "the sequences are 6 long when they come to layer 0 (Conv1d), whose window is 9. Take longer sequences, "
        "or a model with fewer poolings or strides",
    ),
    "batch normalisation": (
        nn.Sequential(nn.BatchNorm2d(5)),
        values(3, 8, 8),
        "layer 0 (BatchNorm2d) takes (B, 5, H, W), and (B, 3, 8, 8) comes to it",
    ),
    "batch normalisation of a row": (
        nn.Sequential(nn.BatchNorm1d(5)),
        values(3),
        "layer 0 (BatchNorm1d) takes (B, 5), and (B, 3) comes to it",
    ),
    "layer normalisation": (
        nn.Sequential(nn.LayerNorm(5)),
        values(7, 3),
        "layer 0 (LayerNorm) takes (B, ..., 5), and (B, 7, 3) comes to it",
    ),
    "recurrent": (
        nn.Sequential(nn.GRU(5, 3, batch_first=True)),
        values(7, 4),
        "layer 0 (GRU) takes (B, T, 5), and (B, 7, 4) comes to it",
    ),
    "tokens": (
        nn.Sequential(nn.Embedding(12, 4)),
        TOKENS,
        "layer 0 (Embedding) takes numbers from 0 to 11, and 30 comes to it",
    ),
    "values for tokens": (
        nn.Sequential(nn.Embedding(12, 4)),
        values(3),
        "layer 0 (Embedding) takes whole numbers, which stand for tokens, and (B, 3) of float32 comes to it",
    ),
    "tokens for values": (
        nn.Sequential(nn.Linear(3, 4)),
        TOKENS,
        "layer 0 (Linear) takes numbers of type float32, and (B, 3) of int64 comes to it",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_layer_is_named_with_what_came_and_what_it_takes(case):
    model, inputs, text = CASES[case]
    assert misfits(model, inputs) == [text]
    assert model.training and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


class Wrong(nn.Module):
    """Adds what it cannot, between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 8)

    def forward(self, inputs):
        return self.inner(inputs) + inputs


def test_a_mistake_between_the_layers_is_told_with_the_line_of_it():
    line = Wrong.forward.__code__.co_firstlineno + 1
    size = "RuntimeError: The size of tensor a (8) must match the size of tensor b (4) at non-singleton dimension 1"
    place = f"(test_trial.py, line {line})"
    assert misfits(Wrong(), values(4)) == [f"the model itself (Wrong), to which (B, 4) comes: {size} {place}"]
    nested = nn.Sequential(nn.ReLU(), Wrong())
    assert misfits(nested, values(4)) == [f"layer 1 (Wrong), to which (B, 4) comes: {size} {place}"]


def test_what_fits_is_not_told():
    assert misfits(nn.Linear(4, 3), values(4)) == []
    batch = Batch(values(4), torch.zeros(2, dtype=torch.int64))
    assert trial_pass(nn.Linear(4, 3), batch, CLASSES) == []


def test_the_data_are_described_first():
    batch = Batch(values(4), torch.zeros(2, dtype=torch.int64))
    assert trial_pass(nn.Sequential(nn.Linear(5, 3)), batch, CLASSES) == [
        "model: it cannot compute this data, inputs of shape (B, 4), float32: layer 0 (Linear) takes (B, 5), and "
        "(B, 4) comes to it"
    ]


class Tuple(nn.Module):
    def forward(self, inputs):
        return inputs, inputs


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (nn.Linear(4, 2), "model: it gives outputs of shape (2, 2) where this task needs (2, 3)"),
        (Tuple(), "model: its forward gives a tuple where this task needs a tensor"),
    ],
)
def test_outputs_of_another_shape_are_told(model, text):
    batch = Batch(values(4), torch.zeros(2, dtype=torch.int64))
    assert trial_pass(model, batch, CLASSES) == [text]


NORMALISED = {
    "rows": (nn.Sequential(nn.BatchNorm1d(4)), values(4), True),
    "images": (nn.Sequential(nn.BatchNorm2d(3)), values(3, 8, 8), False),
    "images of one pixel": (nn.Sequential(nn.AvgPool2d(8), nn.BatchNorm2d(3)), values(3, 8, 8), True),
    "other normalisation": (nn.Sequential(nn.LayerNorm(4)), values(4), False),
}


@pytest.mark.parametrize("case", NORMALISED)
def test_a_batch_of_one_is_refused_where_its_variance_is_needed(case):
    model, inputs, refused = NORMALISED[case]
    problems = single_sample_batch(model, inputs, num_samples=33, batch_size=32)
    text = (
        "trainer.batch_size = 32: the last batch of 33 samples has a single one, and batch normalisation needs two. "
        "Take trainer.batch_size=33"
    )
    assert problems == ([text] if refused else [])
    assert single_sample_batch(model, inputs, num_samples=34, batch_size=32) == []
    assert model.training


# --- outputs without a gradient ---------------------------------------------------------------------------


class Detaches(nn.Module):
    """A model whose forward gives what ``how`` makes of a layer's outputs."""

    def __init__(self, how) -> None:
        super().__init__()
        self.layer, self.dropout, self.how = nn.Linear(4, 3), nn.Dropout(0.5), how

    def forward(self, inputs):
        return self.how(self.dropout(self.layer(inputs)))


def test_outputs_without_a_gradient_are_told():
    inputs = torch.ones(2, 4)
    told = [
        "model: its outputs have no gradient, so that the loss could teach it nothing: its forward detaches them, or "
        "computes them under torch.no_grad() or with something else than PyTorch's operations"
    ]
    for how in (torch.Tensor.detach, lambda outputs: torch.tensor(outputs.tolist()), lambda o: {"a": o.detach()}):
        assert without_gradient(Detaches(how), inputs) == told
    for how in (torch.relu, lambda outputs: {"a": outputs.detach(), "b": outputs}):
        assert without_gradient(Detaches(how), inputs) == []


def test_looking_for_a_gradient_changes_nothing():
    model, before = Detaches(torch.relu), torch.get_rng_state()
    assert model.training and without_gradient(model, torch.ones(2, 4)) == [] and model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert without_gradient(Detaches(torch.Tensor.detach).requires_grad_(False), torch.ones(2, 4)) == []
