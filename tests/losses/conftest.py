"""A task of each kind, and outputs and targets of it."""

from __future__ import annotations

import pytest
import torch
from training import settings_of

from dltrain import registry
from dltrain.data import IGNORED, InputSpec, Task
from dltrain.losses import FITS, Loss

TASKS = {
    "multiclass": Task("multiclass", InputSpec((4,)), 3, ("cat", "dog", "owl")),
    "next_token": Task("next_token", InputSpec((5,), "int64", 12), 12),
    "binary": Task("binary", InputSpec((2,)), 1),
    "multilabel": Task("multilabel", InputSpec((4,)), 3),
    "sequence_labels": Task("sequence_labels", InputSpec((4,), "int64", 12), 3, per_step=True),
    "seq2seq": Task("seq2seq", InputSpec((4,), "int64", 12), 5, per_step=True),
    "regression": Task("regression", InputSpec((4,)), 2),
}
FITTING = [(name, kind) for name in FITS for kind in FITS[name]]
on_all_that_it_fits = pytest.mark.parametrize(("name", "kind"), FITTING, ids=[" of ".join(pair) for pair in FITTING])


@pytest.fixture
def build():
    """Returns a function that builds a loss as its YAML file has it, with changes, for a kind of task or a task."""

    def loss(name: str, task: str | Task, **changes) -> Loss:
        task = TASKS[task] if isinstance(task, str) else task
        return registry.build("loss", settings_of("loss", name, **changes), task=task)

    return loss


def example(name: str, kind: str, batch_size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns random outputs (B, K) or (B, T, K) and targets that a loss can take, in double precision."""
    generator = torch.Generator().manual_seed(0)
    size = TASKS[kind].output_size
    steps = (4,) if TASKS[kind].per_step else ()
    outputs = torch.randn((batch_size, *steps, size), generator=generator, dtype=torch.float64)
    if name == "ctc":  # two labels somewhere in the four steps, never the blank; none beside an equal one
        targets = torch.full((batch_size, 4), IGNORED)
        for row in range(batch_size):
            first, second = torch.randperm(4, generator=generator)[:2].sort().values
            targets[row, first], targets[row, second] = 1 + row % 2, 2 - row % 2
        return outputs, targets
    if kind in ("multiclass", "next_token", "sequence_labels", "seq2seq"):
        return outputs, torch.randint(0, size, outputs.shape[:-1], generator=generator)
    targets = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    if kind != "regression":
        return outputs, (targets > 0).double()
    return outputs, targets.abs() + 0.5 if name in ("mape", "msle", "poisson") else targets


def right(name: str, kind: str, targets: torch.Tensor) -> torch.Tensor:
    """Returns the outputs that could not be better."""
    if name == "ctc":  # a step that has no label is a blank
        targets = torch.where(targets == IGNORED, 0, targets)
    if targets.dtype == torch.int64:
        return 50.0 * torch.nn.functional.one_hot(targets, TASKS[kind].output_size).double()
    if kind == "regression":
        return targets.log() if name == "poisson" else targets
    return 100 * targets - 50
