"""The kinds of data that a model may meet."""

from __future__ import annotations

import pytest
import torch

from dltrain.data import InputSpec, Task, Tensors

_CLASSES, _PRICE = Task("multiclass", InputSpec((4,)), 3), Task("regression", InputSpec((4,)), 1)
_TOKENS = InputSpec((7,), "int64", vocabulary_size=12, padding="right")
TASKS = {
    "multiclass of features": Task("multiclass", InputSpec((4,)), 3),
    "multiclass of grey images": Task("multiclass", InputSpec((1, 8, 8)), 10),
    "multiclass of colour images": Task("multiclass", InputSpec((3, 32, 32)), 10),
    "multiclass of a series": Task("multiclass", InputSpec((6, 2)), 4),
    "next token": Task("next_token", InputSpec((5,), "int64", vocabulary_size=12), 12),
    "binary": Task("binary", InputSpec((2,)), 1),
    "binary of a series": Task("binary", InputSpec((50, 1)), 1),
    "regression": Task("regression", InputSpec((13,)), 2),
    "binary of numbers and categories": Task("binary", InputSpec((5,), categories=(3, 7)), 1),
    "multiclass of text": Task("multiclass", InputSpec((9,), "int64", vocabulary_size=12, padding="right"), 3),
    "each next token": Task("next_token", InputSpec((6,), "int64", vocabulary_size=12), 12, per_step=True),
    "labels of tokens": Task(
        "sequence_labels", InputSpec((6,), "int64", vocabulary_size=12, padding="right"), 4, per_step=True
    ),
    "several targets": Task("several", InputSpec((4,)), 4, heads={"kind": _CLASSES, "price": _PRICE}),
    "wide and deep": Task("regression", {"wide": InputSpec((3,)), "deep": InputSpec((5,), categories=(4,))}, 1),
    "pairs of sequences": Task("seq2seq", {"source": _TOKENS, "target": _TOKENS}, 12, per_step=True),
}


def inputs_of(task: Task, batch_size: int) -> Tensors:
    """Returns random samples (B, ...); those of tokens are padded on their side, more or less."""
    if isinstance(task.inputs, dict):
        return {name: input_of(spec, batch_size) for name, spec in task.inputs.items()}
    return input_of(task.inputs, batch_size)


def input_of(spec: InputSpec, batch_size: int) -> torch.Tensor:
    shape = (batch_size, *spec.shape)
    if spec.vocabulary_size is None:
        values = torch.randn(shape)
        for place, codes in enumerate(reversed(spec.categories), start=1):
            values[:, -place] = torch.randint(0, codes, (batch_size,))
        return values
    tokens = torch.randint(1, spec.vocabulary_size, shape)
    for row in range(batch_size):
        padding = row % (shape[1] - 1)
        if padding and spec.padding == "right":
            tokens[row, -padding:] = 0
        else:
            tokens[row, :padding] = 0
    return tokens


def targets_of(task: Task, batch_size: int) -> Tensors:
    """Returns random targets (B, ...)."""
    if task.heads:
        return {name: targets_of(head, batch_size) for name, head in task.heads.items()}
    if task.per_step:
        spec = next(iter(task.inputs.values())) if isinstance(task.inputs, dict) else task.inputs
        return torch.randint(0, task.output_size, (batch_size, spec.shape[0]))
    if task.kind in ("multiclass", "next_token"):
        return torch.randint(0, task.output_size, (batch_size,))
    return torch.randint(0, 2, (batch_size, task.output_size)).float()


def output_shape(task: Task, batch_size: int) -> tuple[int, ...]:
    targets = targets_of(task, batch_size)
    return (*(targets.shape if task.per_step else (batch_size,)), task.output_size)


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
