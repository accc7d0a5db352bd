"""Tasks of each kind, and samples whose inputs are what a model says of them, for tests of evaluations."""

from __future__ import annotations

from dataclasses import replace

import torch

from dltrain.data import IGNORED, InputSpec, Samples, Task

SIZE = 150

NAMES = ("고양이", "개", "새", "말")
TASKS = {
    "binary": Task("binary", InputSpec((1,)), 1, ("아니오", "예")),
    "two classes": Task("multiclass", InputSpec((2,)), 2, ("a", "b")),
    "classes": Task("multiclass", InputSpec((4,)), 4, NAMES),
    "many classes": Task("multiclass", InputSpec((40,)), 40),
    "labels": Task("multilabel", InputSpec((3,)), 3, ("x", "y", "z")),
    "steps": Task("sequence_labels", InputSpec((5, 4)), 4, NAMES, per_step=True),
    "next token": Task("next_token", InputSpec((9,)), 9),
    "stream": Task("next_token", InputSpec((5, 9)), 9, per_step=True),
    "answers": Task("seq2seq", InputSpec((5, 9)), 9, per_step=True),
    "values": Task("regression", InputSpec((3,)), 3, target_shift=(1.0, 0.0, -2.0), target_scale=(2.0, 1.0, 10.0)),
    "one value": Task("regression", InputSpec((1,)), 1),
}
TASKS["heads"] = Task(
    "several",
    InputSpec((6,)),
    6,
    heads={"kind": replace(TASKS["classes"]), "sold": TASKS["binary"], "price": TASKS["one value"]},
)


def samples(task: Task, seed: int = 0) -> Samples:
    """Returns outputs as inputs, and targets that they meet more often than by chance."""
    generator = torch.Generator().manual_seed(seed)
    if task.heads:
        parts = {name: samples(head, seed + place) for place, (name, head) in enumerate(task.heads.items())}
        return Samples(
            torch.cat([part.inputs for part in parts.values()], dim=1),
            {name: part.targets for name, part in parts.items()},
        )
    shape = (SIZE, *task.input.shape)
    outputs = torch.randn(shape, generator=generator)
    noisy = outputs + torch.randn(shape, generator=generator)
    if task.kind == "regression":
        return Samples(outputs, noisy)
    if task.kind in ("binary", "multilabel"):
        return Samples(outputs, (noisy > 0.3).float())
    targets = noisy.argmax(dim=-1)
    if task.per_step:
        targets[torch.rand(targets.shape, generator=generator) < 0.3] = IGNORED
        targets[3] = IGNORED  # a sample without any target
    return Samples(outputs, targets)
