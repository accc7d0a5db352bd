"""Which points a model gives of some data."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from training import settings_of

from dltrain import embedded, registry
from dltrain.data import IGNORED, Data, InputSpec, Samples, Task
from dltrain.losses import Loss
from dltrain.projector import Points


def parts(data: Data, model: str | nn.Module, **changes: object) -> tuple[nn.Module, Loss]:
    loss = registry.build("loss", settings_of("loss", "auto"), task=data.task)
    if isinstance(model, nn.Module):
        return model, loss
    torch.manual_seed(0)
    return registry.build("model", settings_of("model", model, **changes), task=data.task), loss


def points_of(data: Data, model: nn.Module, loss: Loss, samples: int, batch_size: int = 8) -> list[Points]:
    split = data.validation.split(batch_size=batch_size, seed=None, device=torch.device("cpu"))
    return embedded.find(model, data, split, loss, None, samples=samples, tokens=10)


def classes(count: int = 90) -> Data:
    """One-hot rows, in the order of their classes."""
    targets = torch.arange(count) * 3 // count
    samples = Samples(torch.nn.functional.one_hot(targets, 3).float(), targets)
    return Data(Task("multiclass", InputSpec((3,)), 3), samples, samples, None)


def labelled_steps() -> Data:
    """Classes at each step, some without one."""
    inputs = torch.randn(40, 6, 3, generator=torch.Generator().manual_seed(0))
    targets = (inputs[:, :, 0] > 0).long() + 1
    targets[::4, 3:] = IGNORED
    task = Task("sequence_labels", InputSpec((6, 3)), 3, ("-", "짝", "홀"), per_step=True)
    return Data(task, Samples(inputs, targets), Samples(inputs[:20], targets[:20]), None)


@pytest.mark.parametrize("batch_size", [4, 8, 1000])
def test_samples_are_spread_over_the_split(batch_size):
    data = classes()
    (points,) = points_of(data, *parts(data, "mlp", hidden=[4]), 6, batch_size)
    assert points.header[0] == "true" and points.header[-1] == "index"
    assert [label[0] for label in points.labels] == ["0", "0", "1", "1", "2", "2"]
    assert [label[-1] for label in points.labels] == ["0", "17", "35", "53", "71", "89"]


@pytest.mark.parametrize("most", [7, 1000])
def test_each_step_is_a_point_where_each_has_an_output(most):
    data = labelled_steps()
    model, loss = parts(data, "gru", hidden=8)
    (points,) = points_of(data, model, loss, most)
    validation = data.validation
    places = (validation.targets != IGNORED).nonzero().tolist()
    assert len(points.vectors) == min(most, len(places))
    states = model._states(validation.inputs, None).detach()
    for number, (true, predicted, right, _, index, step) in enumerate(points.labels):
        row, column = int(index), int(step)
        assert most == 7 or [row, column] == places[number]
        assert true == data.task.class_names[validation.targets[row, column]]
        assert right == ("right" if true == predicted else "wrong")
        assert torch.allclose(points.vectors[number], states[row, column], atol=1e-6)


class Convolutional(nn.Module):
    """Ends in a convolution, whose outputs are averaged over the places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 5, 3), nn.Conv2d(5, 2, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(inputs).relu()).mean(dim=(2, 3))


def test_a_model_may_end_in_a_convolution():
    samples = Samples(torch.randn(12, 1, 6, 6), torch.arange(12) % 2)
    data = Data(Task("multiclass", InputSpec((1, 6, 6)), 2), samples, samples, None)
    model, loss = parts(data, Convolutional())
    (points,) = points_of(data, model, loss, 100)
    assert points.title == "last hidden layer, before last"
    assert torch.allclose(points.vectors, model.first(samples.inputs).relu().mean(dim=(2, 3)), atol=1e-6)
    assert points.images.shape == (12, 6, 6, 1)


class Mixing(nn.Module):
    """Sees all samples of a batch as one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.mean(dim=0, keepdim=True)).expand(len(inputs), -1)


def test_a_layer_that_sees_no_single_samples_is_told(caplog):
    data = classes(9)
    assert points_of(data, *parts(data, Mixing()), 9) == []
    assert caplog.messages == [
        "the embeddings have no samples: the model has no last layer that sees each of them by itself"
    ]


class Shifting(nn.Module):
    """Looks its tokens up by other numbers than it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(4, 3), nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.output(self.embedding(inputs.clamp(max=3)).mean(dim=1))


def test_the_only_embedding_is_that_of_the_only_text():
    samples = Samples(torch.arange(24).reshape(8, 3) % 4, torch.arange(8) % 2)
    codec = {"tokens": "word", "vocabulary": ["가", "나", "다"], "context": 3}
    task = Task("multiclass", InputSpec((3,), "int64", vocabulary_size=4), 2)
    data = Data(task, samples, samples, None, preprocessing=codec)
    model, loss = parts(data, Shifting())
    _, tokens = points_of(data, model, loss, 8)
    assert tokens.labels == [["가", "1"], ["나", "2"], ["다", "3"]]
    assert torch.equal(tokens.vectors, model.embedding.weight.detach()[1:])
