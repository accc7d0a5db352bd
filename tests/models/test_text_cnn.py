"""Convolutions over the tokens of a text."""

from __future__ import annotations

import pytest
import torch

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError


def task(padding: str = "right", length: int = 9) -> Task:
    return Task("multiclass", InputSpec((length,), "int64", vocabulary_size=20, padding=padding), 3)


@pytest.fixture
def build(settings_of):
    def model(of: Task, **changes):
        torch.manual_seed(0)
        settings = settings_of("model", "text_cnn", **{"embedding": 4, "filters": 5, **changes})
        return registry.build("model", settings, task=of).double().eval()

    return model


def test_it_computes_what_the_paper_says(build):
    """Kim 2014, eq. 2 to 4: c_i = f(w x_(i:i+h-1) + b), and the largest c of each filter."""
    model = build(task(), widths=[2, 3])
    text = torch.randint(1, 20, (7,))
    words = model.embedding(text)  # (7, E)
    largest = []
    for width, convolution in zip((2, 3), model.convolutions, strict=True):
        windows = torch.stack([words[place : place + width] for place in range(7 - width + 1)])  # (windows, h, E)
        values = torch.einsum("nhe,feh->nf", windows, convolution.weight) + convolution.bias
        largest.append(torch.relu(values).amax(dim=0))
    expected = model.output(torch.cat(largest))
    torch.testing.assert_close(model(text.unsqueeze(0))[0], expected)


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_padding_changes_nothing_even_of_a_text_shorter_than_the_filters(build, padding, length, activation):
    model = build(task(padding), activation=activation)
    for convolution in model.convolutions:
        convolution.bias.data.fill_(3.0)  # with which a window of padding would often have the largest value
    text = torch.randint(1, 20, (2, length))
    for more in (1, 6):
        zeros = torch.zeros(2, more, dtype=torch.int64)
        padded = torch.cat((text, zeros) if padding == "right" else (zeros, text), dim=1)
        torch.testing.assert_close(model(padded), model(text))


def test_a_text_shorter_than_a_filter_is_seen_whole(build):
    model = build(task())
    first, last = torch.tensor([[3, 7]]), torch.tensor([[3, 8]])
    assert not torch.allclose(model(first), model(last))
    largest = torch.relu(model.convolutions[2].weight[:, :, :2].flatten(1) @ model.embedding(first[0]).T.flatten())
    got = model._largest(model.convolutions[2], model.embedding(first).transpose(1, 2), first != 0)
    torch.testing.assert_close(got[0], largest)


def test_a_text_of_padding_alone_has_an_answer(build):
    outputs = build(task())(torch.zeros(2, 3, dtype=torch.int64))
    assert outputs.isfinite().all() and torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize(("activation", "pieces"), [("relu", 1), ("maxout", 2)])
def test_it_has_the_parameters_of_its_layers(build, activation, pieces):
    model = build(task(), activation=activation)
    convolutions = sum(pieces * 5 * (4 * width + 1) for width in (3, 4, 5))
    assert sum(parameter.numel() for parameter in model.parameters()) == 20 * 4 + convolutions + 15 * 3 + 3


def test_the_data_must_be_texts_with_one_output_each(build):
    with pytest.raises(ConfigError, match=r"^model\.name = 'text_cnn': it reads tokens, and this data gives numbers"):
        build(Task("multiclass", InputSpec((4,)), 3))
    with pytest.raises(ConfigError, match=r"^model\.name = 'text_cnn': it gives one output for a text"):
        build(Task("sequence_labels", InputSpec((6,), "int64", vocabulary_size=12), 4, per_step=True))


@pytest.mark.parametrize("widths", ["[]", "[3,3]"])
def test_widths_are_some_and_each_once(dltrain, widths):
    answer = dltrain("check", "data=korean_text", "model=text_cnn", f"model.widths={widths}")
    assert answer.code == 2
    shown = widths.replace(",", ", ")
    assert answer.err == f"error: model: widths = {shown}: give at least one, and each once, as in [3, 4, 5]\n"
