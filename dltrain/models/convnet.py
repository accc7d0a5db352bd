"""``convnet``: blocks of convolution and pooling as a list, and dense layers on top."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import Limits, setting
from dltrain.data import Task
from dltrain.models import require_images
from dltrain.models.convolution import Extent, LocalResponseNorm

POOLS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
NORMS = ("none", "batch", "local_response")


def _check_padding(padding: int | str) -> None:
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise ValueError(f"'{padding}' is none of same, valid or a number of pixels")
    if isinstance(padding, int) and padding < 0:
        raise ValueError(f"{padding} is below 0")


@dataclass(frozen=True)
class CommonSettings:
    """What holds for each block that does not say otherwise."""

    kernel: int = setting("Height and width of the convolution's window, in pixels.", min=1)
    stride: int = setting("Pixels from one window to the next.", min=1)
    padding: int | str = setting(
        "Zeros around the maps: same (height and width stay, or are divided by the stride and rounded up), valid "
        "(none) or a number of pixels on each side.",
        check=_check_padding,
    )
    norm: str = setting("Normalisation before the activation: none, batch or local_response.", choices=NORMS)
    pool: int = setting("Height and width of the windows of which one pixel is left; 1 does not pool.", min=1)
    pool_kind: str = setting("What is left of a window: its largest value (max) or its average.", choices=tuple(POOLS))
    dropout: float = setting("Share of the block's outputs that are zeroed in training.", min=0, below=1)


def _own(**limits: Any) -> Any:
    return dataclasses.field(default=None, metadata={"limits": Limits(**limits)})


@dataclass(frozen=True)
class BlockSettings:
    """A block of its own; what is None is as ``model.block`` has it."""

    filters: int = setting("Channels that the block gives.", min=1)
    kernel: int | None = _own(min=1)
    stride: int | None = _own(min=1)
    padding: int | str | None = dataclasses.field(default=None, metadata={"check": _check_padding})
    norm: str | None = _own(choices=NORMS)
    pool: int | None = _own(min=1)
    pool_kind: str | None = _own(choices=tuple(POOLS))
    dropout: float | None = _own(min=0, below=1)


@dataclass(frozen=True)
class ConvNetSettings:
    name: str = setting("Name of the model.")
    blocks: list[int | BlockSettings] = setting(
        "The blocks, first to last, each its number of filters, as in [32, 64], or settings of its own, as in "
        "[{filters: 32, kernel: 5}, 64]; what a block does not say, block says.",
        min=1,
    )
    block: CommonSettings = setting("What holds for each block that does not say otherwise.")
    global_pool: bool = setting("Whether the dense layers see the average of each channel, or every pixel.")
    hidden: list[int] = setting("Units of each dense layer before the output, first to last.", min=1)
    dropout: float = setting("Share of the units of these layers that are zeroed in training.", min=0, below=1)
    activation: str = setting("Function after each convolution and hidden layer.", choices=activations.CHOICES)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@dataclass(frozen=True)
class Block(CommonSettings):
    """A block with nothing left open."""

    filters: int = setting("Channels that the block gives.", min=1)


@registry.register("model", "convnet", ConvNetSettings)
class ConvNet(nn.Module):
    """Each block: convolution, normalisation, activation, pooling, dropout. Then dense layers."""

    def __init__(self, settings: ConvNetSettings, *, task: Task) -> None:
        super().__init__()
        channels, height, width = require_images("convnet", task)
        extent = Extent("convnet", height, width, "choose model.block.padding=same, or fewer or smaller poolings")
        features: OrderedDict[str, nn.Module] = OrderedDict()
        for number, block in enumerate(_blocks(settings), start=1):
            for name, layer in _layers(block, settings.activation, channels, extent, number).items():
                features[f"{name}{number}"] = layer
            channels = block.filters
        units = channels * extent.height * extent.width
        if settings.global_pool:
            features["global_pool"] = nn.AdaptiveAvgPool2d(1)
            units = channels
        self.features = nn.Sequential(features)
        dense: OrderedDict[str, nn.Module] = OrderedDict()
        for number, hidden in enumerate(settings.hidden, start=1):
            dense[f"dense{number}"] = nn.Linear(units, hidden * activations.pieces(settings.activation))
            dense[f"activation{number}"] = activations.activation(settings.activation)
            if settings.dropout:
                dense[f"dropout{number}"] = nn.Dropout(settings.dropout)
            units = hidden
        self.dense = nn.Sequential(dense)
        self.output = nn.Linear(units, task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, K)."""
        output: torch.Tensor = self.output(self.dense(self.features(inputs).flatten(1)))
        return output


def _blocks(settings: ConvNetSettings) -> list[Block]:
    """Returns the blocks with what they leave open taken from ``model.block``."""
    common = dataclasses.asdict(settings.block)
    blocks = []
    for block in settings.blocks:
        own = {"filters": block} if isinstance(block, int) else dataclasses.asdict(block)
        blocks.append(Block(**{**common, **{name: value for name, value in own.items() if value is not None}}))
    return blocks


def _layers(block: Block, activation: str, channels: int, extent: Extent, number: int) -> dict[str, nn.Module]:
    """Returns the layers of a block by name, and follows them with the extent."""
    layers: dict[str, nn.Module] = {}
    maps = block.filters * activations.pieces(activation)
    padding: int | tuple[int, int] = 0
    if block.padding == "same":
        down, across = (_same(size, block.kernel, block.stride) for size in (extent.height, extent.width))
        if down % 2 or across % 2:
            layers["pad"] = nn.ZeroPad2d((across // 2, across - across // 2, down // 2, down - down // 2))
        else:
            padding = down // 2, across // 2
        extent.height, extent.width = (-(-size // block.stride) for size in (extent.height, extent.width))
    else:
        padding = block.padding if isinstance(block.padding, int) else 0
        extent.through(f"the convolution of block {number}", block.kernel, block.stride, padding)
    # Batch normalisation has a bias of its own.
    layers["conv"] = nn.Conv2d(channels, maps, block.kernel, block.stride, padding, bias=block.norm != "batch")
    if block.norm == "batch":
        layers["norm"] = nn.BatchNorm2d(maps)
    elif block.norm == "local_response":
        layers["norm"] = LocalResponseNorm()
    layers["activation"] = activations.activation(activation)
    if block.pool > 1:
        extent.through(f"the pooling of block {number}", block.pool, block.pool)
        layers["pool"] = POOLS[block.pool_kind](block.pool)
    if block.dropout:
        layers["dropout"] = nn.Dropout(block.dropout)
    return layers


def _same(size: int, kernel: int, stride: int) -> int:
    """Returns the zeros that a side needs so that ceil(size / stride) is left; of an odd number, one more behind.

    Source: TensorFlow's padding SAME.
    """
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)
