"""Whether a model computes what torchvision's does: weights that both can be given, and what came out.

A case names a model of torchvision and the settings that make ours the same. Both are filled with the same numbers
by a formula, so that no weights need be stored, and given the same images, in double precision. What torchvision's
gave stands in agreement.json; test_agreement.py compares ours with it always, and with torchvision itself under
random weights where that is installed.

``python tests/models/agreement.py NAME...`` records cases anew, or all of them; it needs torchvision.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

RECORDED = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Case:
    """
    Attributes:
        make: builds the model from the module ``torchvision.models``, with 10 classes.
        model, settings: our registry name, and what differs from its YAML.
        shape: of the images, (B, C, H, W).
        training: compares what comes out in training, without dropout, as well.
    """

    make: Callable[[Any], nn.Module]
    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = (2, 3, 64, 64)
    training: bool = False


def small_vgg(models: Any, layers: str, batch_norm: bool) -> nn.Module:
    """Torchvision's VGG with an eighth of its channels; it has no setting for that."""
    channels = [item if item == "M" else item // 8 for item in models.vgg.cfgs[layers]]
    vgg = models.VGG(models.vgg.make_layers(channels, batch_norm), init_weights=False)
    vgg.classifier[0], vgg.classifier[3], vgg.classifier[6] = (
        nn.Linear(64 * 7 * 7, 512),
        nn.Linear(512, 512),
        nn.Linear(512, 10),
    )
    return vgg


# By name; test_agreement.py runs over all of them.
CASES = {
    "vgg11": Case(lambda models: small_vgg(models, "A", False), "vgg", {"depth": 11, "width": 8}),
    "vgg16": Case(lambda models: small_vgg(models, "D", False), "vgg", {"depth": 16, "width": 8}),
    "vgg19_bn": Case(lambda models: small_vgg(models, "E", True), "vgg", {"depth": 19, "width": 8, "batch_norm": True}),
    "googlenet": Case(
        lambda models: models.GoogLeNet(num_classes=10, init_weights=False),
        "googlenet",
        {"variant": "torchvision"},
        shape=(2, 3, 96, 64),
        training=True,
    ),
    "resnet18": Case(lambda models: models.resnet18(num_classes=10), "resnet", {"depth": 18, "stem": "imagenet"}),
    "resnet50": Case(lambda models: models.resnet50(num_classes=10), "resnet", {"depth": 50, "stem": "imagenet"}),
    "densenet121": Case(lambda models: models.densenet121(num_classes=10), "densenet", {"stem": "imagenet"}),
}


# --- the same weights for both ----------------------------------------------------------------------------


def fill(model: nn.Module) -> None:
    """Gives every weight and running statistic a number that its place in the state alone decides."""
    for place, (name, tensor) in enumerate(state(model)):
        values = numbers(tensor.numel(), place).view(tensor.shape)
        if tensor.dim() > 1:
            values = values * math.sqrt(6 / tensor[0].numel())  # variance 2 / fan-in
        elif name.endswith("running_var"):
            values = 1 + 0.5 * values
        elif name.endswith("weight"):
            values = 1 + 0.2 * values
        else:
            values = 0.1 * values
        tensor.copy_(values)


def carry_over(source: nn.Module, target: nn.Module) -> None:
    """Copies a state to a model that has the same tensors in the same order under other names."""
    ours, theirs = state(target), state(source)
    assert [_kind(*item) for item in ours] == [_kind(*item) for item in theirs]
    for (_, tensor), (_, value) in zip(ours, theirs, strict=True):
        tensor.copy_(value)


def _kind(name: str, tensor: torch.Tensor) -> tuple[str, torch.Size]:
    return name.rpartition(".")[2], tensor.shape


def state(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")]


def images(case: Case) -> torch.Tensor:
    return numbers(math.prod(case.shape), -1).view(case.shape)


def numbers(count: int, place: int) -> torch.Tensor:
    """Returns ``count`` numbers in [-1, 1] that look random, from integers alone: the same on every machine."""
    table = _table()
    start = (place * 7919) % len(table)
    return table.repeat((start + count) // len(table) + 1)[start : start + count]


@cache
def _table(length: int = 65521) -> torch.Tensor:
    """Marsaglia's 32-bit xorshift (2003), scaled to [-1, 1]; the length is prime, so that no row of weights repeats."""
    value, values = 2463534242, []
    for _ in range(length):
        value ^= (value << 13) & 0xFFFFFFFF
        value ^= value >> 17
        value ^= (value << 5) & 0xFFFFFFFF
        values.append(value / 2**31 - 1)
    return torch.tensor(values, dtype=torch.float64)


def without_dropout(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model


# --- recording --------------------------------------------------------------------------------------------


@torch.no_grad()
def record(names: list[str]) -> None:
    import torchvision

    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    for name in names or CASES:
        model = CASES[name].make(torchvision.models).double().eval()
        fill(model)
        recorded[name] = {
            "by": f"torchvision {torchvision.__version__.partition('+')[0]}",
            "outputs": [[float(f"{value:.12g}") for value in row] for row in model(images(CASES[name])).tolist()],
        }
    lines = (f"{json.dumps(name)}: {json.dumps(recorded[name])}" for name in sorted(recorded))
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record(sys.argv[1:])
