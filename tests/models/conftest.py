"""The kinds of data that a model may meet, and the sizes in which the tests build the large models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from training import settings_of

from dltrain import registry
from dltrain.data import IGNORED, Batch, InputSpec, Task, Tensors
from dltrain.errors import ConfigError
from dltrain.models import FittedModel, RuleModel
from dltrain.seed import seed_everything

_CLASSES, _PRICE = Task("multiclass", InputSpec((4,)), 3), Task("regression", InputSpec((4,)), 1)
_TOKENS = InputSpec((7,), "int64", vocabulary_size=12, padding="right")
TASKS = {
    "multiclass of features": Task("multiclass", InputSpec((4,)), 3),
    "multiclass of grey images": Task("multiclass", InputSpec((1, 8, 8)), 10),
    "multiclass of larger grey images": Task("multiclass", InputSpec((1, 28, 28)), 10),
    "multiclass of colour images": Task("multiclass", InputSpec((3, 32, 32)), 10),
    "binary of grey images": Task("binary", InputSpec((1, 32, 32)), 1),
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

# Settings with which the tests build a model that is large or slow as its YAML file has it, by name. A model must
# take 32x32 colour images in these; what it has of variants, its own tests build.
SMALL: dict[str, dict[str, Any]] = {
    "lstm": {"hidden": 16},
    "gru": {"hidden": 16},
    "seq2seq": {"embedding": 12, "hidden": 16},
    "mlp": {"hidden": [32, 16]},
    "convnet": {"blocks": [8, 8], "hidden": [16]},
    "knn": {"k": 1},
    "logistic_regression": {"tolerance": 0.1},
    "alexnet": {"stem": "small", "width": 6},
    "vgg": {"depth": 11, "head": "small", "width": 8},
    "googlenet": {"stem": "small", "width": 8},
    "resnet": {"form": "cifar", "depth": 8, "width": 4},
    "timm": {"arguments": {"zero_init_last": False}},  # else its blocks have no gradient at first
    "densenet": {"form": "cifar", "depth": 10, "growth": 4},
}

# Models that need a package which an installation may lack, by name.
NEEDS_PACKAGE = {"timm": "timm", "torchvision": "torchvision"}


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


def learnable(task: Task, batch_size: int) -> Batch:
    """Returns a batch whose targets a linear model of the samples' values, or of their tokens, can give.

    Where the task is one of each step, the target is the step's own token; padding has none.
    """
    inputs = inputs_of(task, batch_size)
    if task.per_step:
        tokens = inputs["target"] if isinstance(inputs, dict) else inputs
        return Batch(inputs, torch.where(tokens == 0, IGNORED, tokens % task.output_size))
    rows = inputs if isinstance(inputs, dict) else {"": inputs}
    values = torch.cat([value.float().flatten(1) for value in rows.values()], dim=1)
    if task.heads:
        return Batch(inputs, {name: _linear_targets(values, head) for name, head in task.heads.items()})
    return Batch(inputs, _linear_targets(values, task))


def _linear_targets(values: torch.Tensor, task: Task) -> torch.Tensor:
    scores = values @ torch.randn(values.shape[1], task.output_size) / values.shape[1] ** 0.5
    if task.kind in ("multiclass", "next_token"):
        return scores.argmax(dim=1)
    return scores if task.kind == "regression" else (scores > scores.median(dim=0).values).float()


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


def build(name: str, kind: str, seed: int = 0, **changes: Any) -> nn.Module:
    """Builds a model in its small size for a kind of data.

    Raises:
        ConfigError: it does not take this data.
    """
    seed_everything(seed)
    settings = settings_of("model", name, **{**SMALL.get(name, {}), **changes})
    model: nn.Module = registry.build("model", settings, task=TASKS[kind])
    return model


def learned(name: str, kind: str, seed: int = 0) -> nn.Module:
    """Builds a model that can answer: one without gradients has learned a batch by its own rule."""
    model = build(name, kind, seed)
    batch = learnable(TASKS[kind], 12)
    if isinstance(model, FittedModel):
        model.fit(batch.inputs, batch.targets, None)
    elif isinstance(model, RuleModel):
        model.learn(batch.inputs, batch.targets, 0.1)
    return model


def accepts(name: str, kind: str) -> bool:
    try:
        build(name, kind)
    except ConfigError:
        return False
    except Exception:  # a mistake of the model, which the tests then show
        return True
    return True
