"""The linear model."""

from __future__ import annotations

import pytest
import torch

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError


def build(settings_of, task: Task, **changes):
    return registry.build("model", settings_of("model", "linear", **changes), task=task)


def test_it_is_a_matrix_product_over_all_values_of_a_sample(settings_of):
    model = build(settings_of, Task("multiclass", InputSpec((2, 3, 4)), 5))
    inputs = torch.randn(7, 2, 3, 4)
    expected = inputs.reshape(7, 24) @ model.layer.weight.T + model.layer.bias
    torch.testing.assert_close(model(inputs), expected)


@pytest.mark.parametrize(("bias", "parameters"), [(True, 784 * 10 + 10), (False, 784 * 10)])
def test_the_bias_can_be_left_out(settings_of, bias, parameters):
    model = build(settings_of, Task("multiclass", InputSpec((1, 28, 28)), 10), bias=bias)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_tokens_are_refused_with_models_that_take_them(settings_of):
    with pytest.raises(ConfigError) as caught:
        build(settings_of, Task("next_token", InputSpec((5,), "int64", 12), 12))
    assert str(caught.value) == (
        "model.name = 'linear': it computes with numbers, and this data gives tokens. "
        "Choose a model that embeds them: model=rnn, model=lstm or model=gru; or, for classes of text, "
        "data.form=multi_hot"
    )
