"""``lenet5``: the convolutional network for handwritten digits (LeCun, Bottou, Bengio and Haffner 1998, figure 2)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_images
from dltrain.models.convolution import Extent

SIDE = 32  # pixels of an image's side in the paper

POOLS: dict[str, type[nn.Module]] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


@dataclass(frozen=True)
class LeNetSettings:
    name: str = setting("Name of the model.")
    activation: str = setting("Function after each layer but the last.", choices=activations.CHOICES)
    pool: str = setting("How 2x2 pixels become one.", choices=tuple(POOLS))
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "lenet5", LeNetSettings)
class LeNet5(nn.Module):
    """LeNet-5 as it is taught: C3 reads all six maps, pooling has no weights, the output is a linear layer.

    Of 32x32 grey images and 10 classes it has 61,706 parameters. Smaller images stand in the middle of zeros, as
    the paper's 28x28 digits do; of larger ones C5 reads all that the convolutions leave.
    """

    def __init__(self, settings: LeNetSettings, *, task: Task) -> None:
        super().__init__()
        channels, height, width = require_images("lenet5", task)
        pieces, pool = activations.pieces(settings.activation), POOLS[settings.pool]
        down, across = max(0, SIDE - height), max(0, SIDE - width)
        self.frame = nn.ZeroPad2d((across // 2, across - across // 2, down // 2, down - down // 2))
        if down or across:
            self.notes = (
                f"lenet5 looks at {SIDE}x{SIDE} pixels: its {height}x{width} images stand in a frame of zeros",
            )
        extent = Extent("lenet5", height + down, width + across, "choose another model")
        for layer, kernel, stride in (("C1", 5, 1), ("S2", 2, 2), ("C3", 5, 1), ("S4", 2, 2)):
            extent.through(layer, kernel, stride)

        def activation() -> nn.Module:
            return activations.activation(settings.activation)

        self.layers = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(channels, 6 * pieces, kernel_size=5),
                activation1=activation(),
                s2=pool(2),
                c3=nn.Conv2d(6, 16 * pieces, kernel_size=5),
                activation3=activation(),
                s4=pool(2),
                flatten=nn.Flatten(),
                c5=nn.Linear(16 * extent.height * extent.width, 120 * pieces),
                activation5=activation(),
                f6=nn.Linear(120, 84 * pieces),
                activation6=activation(),
                output=nn.Linear(84, task.output_size),
            )
        )
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, K)."""
        output: torch.Tensor = self.layers(self.frame(inputs))
        return output
