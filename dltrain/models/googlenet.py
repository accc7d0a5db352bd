"""``googlenet``: nine Inception modules, Inception v1 (Szegedy et al. 2015, Going Deeper with Convolutions)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task, Tensors
from dltrain.models import WithAuxiliary, count_parameters, require_images
from dltrain.models.convolution import Extent, LocalResponseNorm


class Row(NamedTuple):
    """Channels of an Inception module: a row of the paper's table 1, with its headings."""

    one: int  # 1x1
    three_reduce: int  # 1x1 before the 3x3
    three: int  # 3x3
    five_reduce: int  # 1x1 before the 5x5
    five: int  # 5x5
    pool_proj: int  # 1x1 after the pooling

    @property
    def outputs(self) -> int:
        return self.one + self.three + self.five + self.pool_proj


TABLE = {
    "3a": Row(64, 96, 128, 16, 32, 32),
    "3b": Row(128, 128, 192, 32, 96, 64),
    "4a": Row(192, 96, 208, 16, 48, 64),
    "4b": Row(160, 112, 224, 24, 64, 64),
    "4c": Row(128, 128, 256, 24, 64, 64),
    "4d": Row(112, 144, 288, 32, 64, 64),
    "4e": Row(256, 160, 320, 32, 128, 128),
    "5a": Row(256, 160, 320, 32, 128, 128),
    "5b": Row(384, 192, 384, 48, 128, 128),
}
POOLED = ("3b", "4e")  # modules that a pooling with stride 2 follows
AUXILIARY = {"4a": "auxiliary1", "4d": "auxiliary2"}  # modules that an auxiliary classifier reads
STEM = (64, 64, 192)  # channels of the convolutions before the modules
AUXILIARY_CHANNELS, AUXILIARY_UNITS, AUXILIARY_DROPOUT = 128, 1024, 0.7
WIDTH = 64  # channels of the first convolution in the paper


def _check_width(width: int) -> None:
    if width % 8:
        raise ValueError(f"{width} is no multiple of 8: every number of table 1 must stay whole")


@dataclass(frozen=True)
class GoogLeNetSettings:
    name: str = setting("Name of the model.")
    variant: str = setting(
        "paper: 5x5 convolutions, biases and local response normalisation; torchvision: 3x3 in place of 5x5, and "
        "batch normalisation.",
        choices=("paper", "torchvision"),
    )
    stem: str = setting(
        "Layers before the modules: imagenet (7x7 with stride 2, and two poolings) or small (one 3x3 convolution), "
        "for images of 20 to 100 pixels.",
        choices=("imagenet", "small"),
    )
    width: int = setting(
        "Channels of the first convolution, 64 in the paper, a multiple of 8; all others grow with it.",
        min=8,
        check=_check_width,
    )
    auxiliary: bool = setting("Whether two classifiers in the middle help in training.")
    auxiliary_weight: float = setting("How much the loss of each of them counts.", above=0)
    activation: str = setting("Function after each hidden layer.", choices=activations.CHOICES)
    dropout: float = setting("Share of the last layer's inputs that are zeroed in training.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "googlenet", GoogLeNetSettings)
class GoogLeNet(nn.Module):
    """GoogLeNet. Its state has torchvision's order, though not its names."""

    def __init__(self, settings: GoogLeNetSettings, *, task: Task) -> None:
        super().__init__()
        self.auxiliary_weight = settings.auxiliary_weight
        channels, height, width = require_images("googlenet", task)
        smaller = "model.auxiliary=false, model=lenet5" if settings.auxiliary else "model=lenet5"
        remedy = "choose " + ("model.stem=small" if settings.stem == "imagenet" else f"{smaller} or model=convnet")
        extent = Extent("googlenet", height, width, remedy)
        self.stem = _stem(settings, channels, extent)
        channels = STEM[-1] * settings.width // WIDTH
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        auxiliary: OrderedDict[str, nn.Module] = OrderedDict()
        for name, row in TABLE.items():
            row = Row(*(number * settings.width // WIDTH for number in row))
            modules[name] = Inception(settings, channels, row)
            channels = row.outputs
            if settings.auxiliary and name in AUXILIARY:
                auxiliary[AUXILIARY[name]] = _auxiliary(settings, name, channels, extent, task.output_size)
            if name in POOLED:
                kernel = 2 if settings.variant == "torchvision" and name == "4e" else 3
                modules[f"{name}_pool"] = _pool(f"the pooling after inception {name}", kernel, extent)
        self.inception = nn.ModuleDict(modules)
        self.auxiliary = nn.ModuleDict(auxiliary)
        self.output = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),  # 7x7 of images of 224x224 pixels
            nn.Flatten(),
            nn.Dropout(settings.dropout),
            nn.Linear(channels, task.output_size),
        )
        if auxiliary:
            extra = count_parameters(self.auxiliary)
            self.notes = (f"googlenet has {extra:,} of its parameters in auxiliary classifiers, for training alone",)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor | WithAuxiliary:
        """Maps (B, C, H, W) to (B, K), in training with what the auxiliary classifiers say, each (B, K)."""
        maps = self.stem(inputs)
        auxiliary: dict[str, Tensors] = {}
        for name, module in self.inception.items():
            maps = module(maps)
            if self.training and self.auxiliary and name in AUXILIARY:
                reader = AUXILIARY[name]
                auxiliary[reader] = self.auxiliary[reader](maps)
        outputs: torch.Tensor = self.output(maps)
        return WithAuxiliary(outputs, auxiliary, 1.0, self.auxiliary_weight) if auxiliary else outputs


class Inception(nn.Module):
    """Four ways to look at the same maps, side by side (figure 2b)."""

    def __init__(self, settings: GoogLeNetSettings, channels: int, row: Row) -> None:
        super().__init__()
        five = 5 if settings.variant == "paper" else 3
        self.one = _convolution(settings, channels, row.one, 1)
        self.three = nn.Sequential(
            _convolution(settings, channels, row.three_reduce, 1),
            _convolution(settings, row.three_reduce, row.three, 3),
        )
        self.five = nn.Sequential(
            _convolution(settings, channels, row.five_reduce, 1),
            _convolution(settings, row.five_reduce, row.five, five),
        )
        self.pool_proj = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), _convolution(settings, channels, row.pool_proj, 1)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, outputs of the row, H, W)."""
        return torch.cat([self.one(maps), self.three(maps), self.five(maps), self.pool_proj(maps)], dim=1)


def _convolution(settings: GoogLeNetSettings, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Returns a convolution that keeps height and width (but for its stride), and what follows it."""
    outputs *= activations.pieces(settings.activation)
    plain = settings.variant == "paper"
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=plain)
    if not plain:
        layers["norm"] = nn.BatchNorm2d(outputs, eps=1e-3)
    layers["activation"] = activations.activation(settings.activation)
    return nn.Sequential(layers)


def _pool(layer: str, kernel: int, extent: Extent) -> nn.Module:
    """Returns a pooling that halves 112, 56, 28 and 14 pixels exactly, as table 1 has it."""
    extent.through(layer, kernel, 2, ceil_mode=True)
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)


def _stem(settings: GoogLeNetSettings, channels: int, extent: Extent) -> nn.Sequential:
    """Returns the layers before the modules; figure 3 tells where normalisation stands, but not its numbers."""
    first, second, third = (number * settings.width // WIDTH for number in STEM)
    if settings.stem == "small":
        return nn.Sequential(OrderedDict(conv1=_convolution(settings, channels, third, 3)))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    extent.through("conv1", 7, 2, 3)
    layers["conv1"] = _convolution(settings, channels, first, 7, 2)
    layers["pool1"] = _pool("pool1", 3, extent)
    if settings.variant == "paper":
        layers["norm1"] = LocalResponseNorm()
    layers["conv2_reduce"] = _convolution(settings, first, second, 1)
    layers["conv2"] = _convolution(settings, second, third, 3)
    if settings.variant == "paper":
        layers["norm2"] = LocalResponseNorm()
    layers["pool2"] = _pool("pool2", 3, extent)
    return nn.Sequential(layers)


def _auxiliary(settings: GoogLeNetSettings, after: str, channels: int, extent: Extent, outputs: int) -> nn.Sequential:
    """Returns a classifier of the maps in the middle (section 5): 5x5 averages with stride 3, 4x4 of 14x14 pixels.

    Torchvision averages to 4x4 whatever comes; the paper's form has as many inputs as the averages give.
    """
    wide, units = (number * settings.width // WIDTH for number in (AUXILIARY_CHANNELS, AUXILIARY_UNITS))
    pool: nn.Module = nn.AdaptiveAvgPool2d(4)
    height, width = 4, 4
    if settings.variant == "paper":
        pool = nn.AvgPool2d(5, stride=3)
        height, width = extent.after(f"the auxiliary classifier after inception {after}", 5, 3)
    return nn.Sequential(
        OrderedDict(
            pool=pool,
            conv=_convolution(settings, channels, wide, 1),
            flatten=nn.Flatten(),
            hidden=nn.Linear(wide * height * width, units * activations.pieces(settings.activation)),
            activation=activations.activation(settings.activation),
            dropout=nn.Dropout(AUXILIARY_DROPOUT),
            output=nn.Linear(units, outputs),
        )
    )
