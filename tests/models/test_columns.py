"""Categories in a row, embedded."""

from __future__ import annotations

import torch

from dltrain.data import InputSpec
from dltrain.models.columns import Columns, row_of


def test_a_row_of_numbers_is_flattened_alone():
    layer, width = row_of(InputSpec((2, 3)))
    values = torch.randn(4, 2, 3)
    assert width == 6 and torch.equal(layer(values), values.flatten(1))


def test_each_code_becomes_the_vector_of_its_own_table():
    layer, width = row_of(InputSpec((4,), categories=(3, 9)))
    assert isinstance(layer, Columns) and width == 2 + 2 + 5
    row = torch.tensor([[0.5, -1.5, 2.0, 7.0]])
    first, second = layer.embeddings
    expected = torch.cat([row[:, :2], first.weight[[2]], second.weight[[7]]], dim=1)
    assert torch.equal(layer(row), expected)


def test_a_category_of_many_codes_has_at_most_50_numbers():
    assert Columns(InputSpec((1,), categories=(100_000,))).width == 50
