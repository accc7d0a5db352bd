"""Dense layers upon which tokens a text holds."""

from __future__ import annotations

import pytest
import torch

from dltrain import registry
from dltrain.data import Batch, InputSpec, Task
from dltrain.data.text.ragged import Bag
from dltrain.errors import ConfigError

TEXT = Task("multiclass", InputSpec((6,), "int64", vocabulary_size=8, padding="right"), 3)
TEXTS = torch.tensor([[3, 3, 7, 1, 3, 0], [2, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])


@pytest.fixture
def build(settings_of):
    def model(task: Task = TEXT, name: str = "textfnn", **changes):
        torch.manual_seed(0)
        return registry.build("model", settings_of("model", name, **{"hidden": [4], **changes}), task=task).eval()

    return model


@pytest.mark.parametrize(
    ("bag", "rows"),
    [
        ("multi_hot", [[1, 0, 1, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0], [0] * 7]),
        ("counts", [[1, 0, 3, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0], [0] * 7]),
    ],
)
def test_tokens_become_rows_without_the_padding(build, bag, rows):
    model = build(bag=bag)
    assert model.rows(TEXTS, 8).tolist() == rows
    assert torch.equal(model(TEXTS), model.layers(torch.tensor(rows, dtype=torch.float32)))


@pytest.mark.parametrize("bag", ["multi_hot", "counts"])
def test_the_rows_are_those_that_the_data_would_make(build, bag):
    batch = Bag(7, bag == "counts")(Batch(TEXTS, torch.zeros(3)), torch.arange(3), None)
    assert torch.equal(build(bag=bag).rows(TEXTS, 8), batch.inputs)


def test_neither_the_order_nor_padding_matters(build):
    model = build()
    assert torch.equal(model(TEXTS), model(TEXTS.flip(1)))
    assert torch.equal(model(TEXTS), model(torch.cat((TEXTS, torch.zeros_like(TEXTS)), dim=1)))


def test_of_rows_that_the_data_made_it_is_an_mlp(build):
    rows = Task("multiclass", InputSpec((7,)), 3)
    model, mlp = build(rows), build(rows, "mlp")
    inputs = torch.randn(5, 7)
    assert torch.equal(model(inputs), mlp(inputs))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            Task("multiclass", InputSpec((1, 8, 8)), 3),
            "it reads tokens, or rows that tell which tokens a text holds, and this data gives samples of shape "
            "(1, 8, 8). Choose data of text, such as data=text_csv, or another model, such as model=mlp",
        ),
        (
            Task("sequence_labels", InputSpec((6,), "int64", vocabulary_size=12), 4, per_step=True),
            "it gives one output for a text, and this data needs one for each token. Choose model=rnn, model=lstm or "
            "model=gru",
        ),
    ],
)
def test_other_data_are_refused(build, task, message):
    with pytest.raises(ConfigError) as caught:
        build(task)
    assert str(caught.value) == f"model.name = 'textfnn': {message}"
