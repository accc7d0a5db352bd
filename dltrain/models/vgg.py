"""``vgg``: many 3x3 convolutions (Simonyan and Zisserman 2015, table 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_images
from dltrain.models.convolution import Extent

# Convolutions of each of the five stages, by layers that have weights: columns A, B, D and E of table 1.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)  # of each stage
UNITS = 4096  # of a dense layer
WIDTH = 64  # channels of the first stage in the paper
MAP = 7  # side of the last feature map of 224x224 pixels


@dataclass(frozen=True)
class VGGSettings:
    name: str = setting("Name of the model.")
    depth: Literal[11, 13, 16, 19] = setting("Layers with weights: columns A, B, D and E of the paper's table 1.")
    batch_norm: bool = setting("Whether batch normalisation follows each convolution.")
    head: str = setting(
        "What follows the convolutions: imagenet (three dense layers on 7x7 pixels) or small (the largest value of "
        "each channel and one dense layer), for images of 16 to 100 pixels.",
        choices=("imagenet", "small"),
    )
    width: int = setting("Channels of the first stage, 64 in the paper; all other layers grow with it.", min=1)
    activation: str = setting("Function after each hidden layer.", choices=activations.CHOICES)
    dropout: float = setting("Share of hidden units of the dense layers that are zeroed in training.", min=0, below=1)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "vgg", VGGSettings)
class VGG(nn.Module):
    """VGG-11, -13, -16 or -19, with torchvision's names and order of layers, so that its weights fit by name.

    For 1000 classes VGG-16 has 138,357,544 parameters and VGG-19 143,667,240. A last feature map other than that of
    224x224 pixels is averaged (or stretched) to 7x7, as torchvision does. The paper has no head for small images:
    ours takes the place of the last pooling too, which of 32x32 pixels does the same.
    """

    def __init__(self, settings: VGGSettings, *, task: Task) -> None:
        super().__init__()
        channels, height, width = require_images("vgg", task)
        small = settings.head == "small"
        extent = Extent("vgg", height, width, "choose " + ("model=convnet" if small else "model.head=small"))
        layers: list[nn.Module] = []
        for number, (times, wide) in enumerate(zip(STAGES[settings.depth], CHANNELS, strict=True), start=1):
            wide = wide * settings.width // WIDTH
            for _ in range(times):
                layers += _convolution(settings, channels, wide)
                channels = wide
            if number < len(CHANNELS) or not small:
                extent.through(f"pooling {number} of {len(CHANNELS)}", 2, 2)
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool: nn.Module  # torchvision's name, whatever pools
        if small:
            self.avgpool = nn.AdaptiveMaxPool2d(1)
            self.classifier: nn.Module = nn.Linear(channels, task.output_size)
        else:
            exact = (extent.height, extent.width) == (MAP, MAP)
            self.avgpool = nn.Identity() if exact else nn.AdaptiveAvgPool2d(MAP)
            self.classifier = _dense(settings, channels * MAP * MAP, task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, K)."""
        output: torch.Tensor = self.classifier(self.avgpool(self.features(inputs)).flatten(1))
        return output


def _convolution(settings: VGGSettings, inputs: int, outputs: int) -> list[nn.Module]:
    """Returns a 3x3 convolution that keeps height and width, and what follows it."""
    maps = outputs * activations.pieces(settings.activation)
    # The bias is of no use before batch normalisation; it is there as it is in torchvision.
    layers: list[nn.Module] = [nn.Conv2d(inputs, maps, kernel_size=3, padding=1)]
    if settings.batch_norm:
        layers.append(nn.BatchNorm2d(maps))
    return [*layers, activations.activation(settings.activation)]


def _dense(settings: VGGSettings, inputs: int, outputs: int) -> nn.Sequential:
    """Returns the three layers on top, with dropout after the first two (section 3.1)."""
    units = UNITS * settings.width // WIDTH
    pieces = activations.pieces(settings.activation)
    layers: list[nn.Module] = []
    for wide in (inputs, units):
        layers += [
            nn.Linear(wide, units * pieces),
            activations.activation(settings.activation),
            nn.Dropout(settings.dropout),
        ]
    return nn.Sequential(*layers, nn.Linear(units, outputs))
