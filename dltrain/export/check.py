"""Whether what was exported computes what the model does: both on the same real inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from dltrain.data import Data, Task, Tensors, size_of
from dltrain.errors import CheckpointError, MachineError
from dltrain.losses.contract import by_head

# How far an output may be from the model's, as a share of the sample's largest output, or of 1 where that is smaller:
# what float32 rounds away grows with the numbers.
TOLERANCE = 1e-5

MOST_INPUTS = 1000

# Samples that are computed at once; the first one is computed alone, for the axis of the batch is free.
_AT_ONCE = 64


@dataclass(frozen=True)
class Checked:
    """How an exported model compares with the model itself.

    Attributes:
        splits: inputs of each split.
        difference: the largest absolute one of an output.
        share: the largest one as ``TOLERANCE`` counts it.
    """

    splits: dict[str, int]
    difference: float
    share: float

    @property
    def inputs(self) -> int:
        return sum(self.splits.values())


def samples(data: Data, most: int = MOST_INPUTS) -> Iterator[tuple[str, Tensors]]:
    """Yields inputs of the test split, of validation and of training until there are enough, with the split's name.

    Each is taken as it is evaluated: nothing is augmented, and sequences of about one length are together.
    """
    left, alone = most, True
    seen: list[int] = []
    for name in ("test", "validation", "train"):
        source = data.splits.get(name)
        if source is None or id(source) in seen or not left:
            continue
        seen.append(id(source))  # where the training samples are evaluated, they are the same
        for batch in source.split(batch_size=_AT_ONCE, seed=None, device=torch.device("cpu")).batches(0):
            inputs = _first(batch.inputs, left)
            left -= size_of(inputs)
            if alone:
                yield name, _first(inputs, 1)
                inputs, alone = _rest(inputs), False
            if size_of(inputs):
                yield name, inputs
            if not left:
                break


def some(data: Data) -> Tensors:
    """Returns some inputs of the first split, 63 of them or all that there are."""
    *_, (_, inputs) = samples(data, _AT_ONCE)
    return inputs


@torch.no_grad()
def compare(
    run: Callable[[Tensors], Tensors], model: nn.Module, task: Task, inputs: Iterator[tuple[str, Tensors]], what: str
) -> Checked:
    """
    Args:
        run: computes the outputs of inputs by what was exported.
        model: on the CPU, in evaluation mode.
        what: was exported, for messages.

    Raises:
        MachineError: the two do not agree.
        CheckpointError: the model gives no numbers.
    """
    splits: dict[str, int] = {}
    difference = share = 0.0
    for split, batch in inputs:
        splits[split] = splits.get(split, 0) + size_of(batch)
        own, given = _by_name(model(batch), task), _by_name(run(batch), task)
        for name, wanted in own.items():
            if not wanted.isfinite().all():
                raise CheckpointError(
                    "the model gives NaN or infinite outputs, of which nothing can be checked: its weights are of a "
                    "training that went wrong. Take an earlier --checkpoint, or train it anew with a lower optimizer.lr"
                )
            if given[name].shape != wanted.shape:
                raise MachineError(
                    f"{what} gives outputs of shape {tuple(given[name].shape)}, and the model {tuple(wanted.shape)}: "
                    "nothing was written"
                )
            apart = (given[name].float() - wanted).abs().nan_to_num(nan=torch.inf)
            sizes = wanted.abs().flatten(1).amax(dim=1).clamp(min=1)  # (B,)
            difference = max(difference, float(apart.max()))
            share = max(share, float((apart.flatten(1).amax(dim=1) / sizes).max()))
    checked = Checked(splits, difference, share)
    if share > TOLERANCE:
        raise MachineError(
            f"{what} does not agree with the model: of {checked.inputs:,} inputs the largest difference is "
            f"{difference:.2g}, {share:.2g} of the sample's largest output (or of 1), and {TOLERANCE:g} is allowed. "
            "Nothing was written"
        )
    return checked


def _by_name(outputs: Tensors, task: Task) -> dict[str, torch.Tensor]:
    if task.heads:
        return by_head(task, outputs)
    assert isinstance(outputs, torch.Tensor)
    return {"": outputs}


def _first(tensors: Tensors, count: int) -> Tensors:
    if isinstance(tensors, dict):
        return {name: tensor[:count] for name, tensor in tensors.items()}
    return tensors[:count]


def _rest(tensors: Tensors) -> Tensors:
    if isinstance(tensors, dict):
        return {name: tensor[1:] for name, tensor in tensors.items()}
    return tensors[1:]
