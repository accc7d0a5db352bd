"""The kinds of data that a model may meet."""

from __future__ import annotations

import pytest
import torch

from dltrain.data import InputSpec, Task

TASKS = {
    "multiclass of features": Task("multiclass", InputSpec((4,)), 3),
    "multiclass of grey images": Task("multiclass", InputSpec((1, 8, 8)), 10),
    "multiclass of colour images": Task("multiclass", InputSpec((3, 32, 32)), 10),
    "multiclass of a series": Task("multiclass", InputSpec((6, 2)), 4),
    "next token": Task("next_token", InputSpec((5,), "int64", vocabulary_size=12), 12),
    "binary": Task("binary", InputSpec((2,)), 1),
    "binary of a series": Task("binary", InputSpec((50, 1)), 1),
    "regression": Task("regression", InputSpec((13,)), 2),
}


def inputs_of(task: Task, batch_size: int) -> torch.Tensor:
    """Returns random samples (B, ...); those of tokens are padded on the left, more or less."""
    shape = (batch_size, *task.input.shape)
    if task.input.vocabulary_size is None:
        return torch.randn(shape)
    tokens = torch.randint(1, task.input.vocabulary_size, shape)
    for row in range(batch_size):
        tokens[row, : row % (shape[1] - 1)] = 0
    return tokens


@pytest.fixture(autouse=True)
def _one_thread():
    """Small products are over before a second thread would help; on a busy machine it makes them slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tasks() -> dict[str, Task]:
    return TASKS


@pytest.fixture(params=TASKS.values(), ids=TASKS)
def task(request) -> Task:
    torch.manual_seed(0)
    return request.param


@pytest.fixture
def samples():
    return inputs_of
