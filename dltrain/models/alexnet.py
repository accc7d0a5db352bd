"""``alexnet``: five convolutions and three dense layers (Krizhevsky, Sutskever and Hinton 2012)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_images
from dltrain.models.convolution import Extent, LocalResponseNorm


@dataclass(frozen=True)
class Layer:
    """A convolution of the paper's figure 2.

    Attributes:
        channels: that it gives, at the paper's width of 96.
        kernel, stride, padding: in pixels.
        groups: 2 where each half of the channels reads one half of those before, as on the paper's two GPUs.
        normalized, pooled: whether local response normalisation and 3x3 pooling with stride 2 follow.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    normalized: bool = False
    pooled: bool = False


FIRST = {
    "imagenet": Layer(96, 11, stride=4, normalized=True, pooled=True),
    "small": Layer(96, 5, padding=2, normalized=True, pooled=True),
}
OTHERS = (
    Layer(256, 5, padding=2, groups=2, normalized=True, pooled=True),
    Layer(384, 3, padding=1),
    Layer(384, 3, padding=1, groups=2),
    Layer(256, 3, padding=1, groups=2, pooled=True),
)
WIDTH = 96  # channels of the first convolution in the paper
UNITS = 4096  # of a dense layer in the paper
MAP = 6  # side of the last feature map in the paper


def _check_width(width: int) -> None:
    if width % 6:
        raise ValueError(f"{width} is no multiple of 6: 8/3 of it must be whole, and even in two groups")


@dataclass(frozen=True)
class AlexNetSettings:
    name: str = setting("Name of the model.")
    stem: str = setting(
        "First convolution: imagenet (11x11, stride 4) or small (5x5, stride 1), for images of 15 to 100 pixels.",
        choices=tuple(FIRST),
    )
    width: int = setting(
        "Channels of the first convolution, a multiple of 6; all other layers grow with it.", min=6, check=_check_width
    )
    activation: str = setting("Function after each hidden layer.", choices=activations.CHOICES)
    dropout: float = setting("Share of the dense layers' inputs that are zeroed in training.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "alexnet", AlexNetSettings)
class AlexNet(nn.Module):
    """AlexNet with its two groups and its local response normalisation; 60,965,224 parameters for 1000 classes.

    The paper's layer sizes follow from 227x227 pixels, not from the 224x224 that it names. Where the first
    convolution does not fit an image exactly, as 224x224, it pads it by 2 pixels; the last feature map then is 6x6
    again. With the imagenet stem, a map of other size is averaged (or stretched) to 6x6.
    """

    def __init__(self, settings: AlexNetSettings, *, task: Task) -> None:
        super().__init__()
        channels, height, width = require_images("alexnet", task)
        remedy = "choose model.stem=small" if settings.stem == "imagenet" else "choose model=lenet5 or model=convnet"
        extent = Extent("alexnet", height, width, remedy)
        features: OrderedDict[str, nn.Module] = OrderedDict()
        for number, layer in enumerate((FIRST[settings.stem], *OTHERS), start=1):
            exact = (height - layer.kernel) % layer.stride == 0 and (width - layer.kernel) % layer.stride == 0
            padding = layer.padding if exact else 2
            extent.through(f"conv{number}", layer.kernel, layer.stride, padding)
            outputs = layer.channels * settings.width // WIDTH
            features[f"conv{number}"] = nn.Conv2d(
                channels,
                outputs * activations.pieces(settings.activation),
                layer.kernel,
                layer.stride,
                padding,
                groups=layer.groups,
            )
            features[f"activation{number}"] = activations.activation(settings.activation)
            if layer.normalized:
                features[f"norm{number}"] = LocalResponseNorm()
            if layer.pooled:
                extent.through(f"pool{number}", 3, 2)
                features[f"pool{number}"] = nn.MaxPool2d(3, stride=2)
            channels = outputs
        self.features = nn.Sequential(features)
        self.resize: nn.Module = nn.Identity()
        size = extent.height, extent.width
        if settings.stem == "imagenet" and size != (MAP, MAP):
            size = MAP, MAP
            self.resize = nn.AdaptiveAvgPool2d(size)
        self.dense = _dense(settings, channels * size[0] * size[1], task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, K)."""
        output: torch.Tensor = self.dense(self.resize(self.features(inputs)).flatten(1))
        return output


def _dense(settings: AlexNetSettings, inputs: int, outputs: int) -> nn.Sequential:
    """Returns the three layers on top; dropout stands before the first two of them (section 4.2)."""
    units = UNITS * settings.width // WIDTH
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, wide in (("fc6", inputs), ("fc7", units)):
        if settings.dropout:
            layers[f"dropout_{name}"] = nn.Dropout(settings.dropout)
        layers[name] = nn.Linear(wide, units * activations.pieces(settings.activation))
        layers[f"activation_{name}"] = activations.activation(settings.activation)
    layers["fc8"] = nn.Linear(units, outputs)
    return nn.Sequential(layers)
