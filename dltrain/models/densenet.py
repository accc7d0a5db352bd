"""``densenet``: each layer reads what all layers of its block before it wrote.

Source: Huang, Liu, van der Maaten and Weinberger 2017, Densely Connected Convolutional Networks; table 1 for
ImageNet, section 4.2 for CIFAR.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_images
from dltrain.models.convolution import Extent, uses_small_stem

# Layers with weights -> dense layers of each of the four blocks, and growth: table 1.
IMAGENET = {
    121: ((6, 12, 24, 16), 32),
    161: ((6, 12, 36, 24), 48),
    169: ((6, 12, 32, 32), 32),
    201: ((6, 12, 48, 32), 32),
}
CIFAR_GROWTH = 12
BOTTLENECK = 4  # channels of the 1x1 convolution before a 3x3 one, by growth
SMALLEST = 2  # pixels that a transition needs to halve an image


@dataclass(frozen=True)
class DenseNetSettings:
    name: str = setting("Name of the model.")
    form: str = setting(
        "imagenet: four blocks, of 121, 161, 169 or 201 layers; cifar: three blocks of the same length.",
        choices=("imagenet", "cifar"),
    )
    depth: int = setting(
        "Layers with weights, as the paper counts them (L): of the cifar form 6n+4 with bottlenecks, 3n+4 without.",
        min=7,
    )
    growth: int | None = setting(
        "Channels that each layer adds (k); null is the paper's: 32 (48 of 161 layers), or 12 of the cifar form.", min=1
    )
    bottleneck: bool = setting("Whether a 1x1 convolution to 4k channels stands before each 3x3 one (B).")
    compression: float = setting(
        "Share of the channels that a transition between two blocks keeps (C); 1 keeps all.", above=0, max=1
    )
    stem: str = setting(
        "Layers before the blocks: imagenet (7x7 with stride 2, and a pooling), small (one 3x3 convolution), or auto: "
        "small for the cifar form and for images under 100 pixels.",
        choices=("auto", "imagenet", "small"),
    )
    dropout: float = setting("Share of what each layer adds that is zeroed in training.", min=0, below=1)
    activation: str = setting("Function after each normalisation.", choices=activations.CHOICES)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)

    def __post_init__(self) -> None:
        blocks_of(self.form, self.depth, self.bottleneck)
        if self.activation == "maxout":
            raise ValueError("activation = 'maxout': it halves the channels of a normalisation. Choose another")


def blocks_of(form: str, depth: int, bottleneck: bool) -> tuple[int, ...]:
    """Returns how many dense layers each block of a network of this depth has.

    Raises:
        ValueError: there is no such network.
    """
    if form == "imagenet":
        if depth not in IMAGENET:
            raise ValueError(f"depth = {depth}: form=imagenet has {', '.join(map(str, IMAGENET))}")
        return IMAGENET[depth][0]
    times = 6 if bottleneck else 3
    if (depth - 4) % times:
        raise ValueError(
            f"depth = {depth}: form=cifar has {times}n+4 layers {'with' if bottleneck else 'without'} bottlenecks, "
            "such as 40 and 100"
        )
    return ((depth - 4) // times,) * 3


@registry.register("model", "densenet", DenseNetSettings)
class DenseNet(nn.Module):
    """A densely connected network, with torchvision's names and order of layers, so that its weights fit by name.

    DenseNet-121 has 7,978,856 parameters for 1000 classes, DenseNet-BC (L 100, k 12) 769,162 for 10.
    """

    def __init__(self, settings: DenseNetSettings, *, task: Task) -> None:
        super().__init__()
        images = require_images("densenet", task)
        blocks = blocks_of(settings.form, settings.depth, settings.bottleneck)
        imagenet = settings.form == "imagenet"
        growth = settings.growth or (IMAGENET[settings.depth][1] if imagenet else CIFAR_GROWTH)
        small = not imagenet or uses_small_stem(settings.stem, *images[1:])
        remedy = "model=resnet or model=convnet" if small else "model.stem=small"
        extent = Extent("densenet", *images[1:], f"choose {remedy}")
        # Twice the growth, but 16 for the CIFAR networks without bottlenecks (sections 3 and 4.2).
        channels = 2 * growth if imagenet or settings.bottleneck else 16
        layers = _stem(settings, images[0], channels, small, extent)
        for number, num_layers in enumerate(blocks, start=1):
            layers[f"denseblock{number}"] = DenseBlock(settings, channels, growth, num_layers)
            channels += num_layers * growth
            if number < len(blocks):
                kept = int(channels * settings.compression)
                extent.through(f"transition {number}", SMALLEST, 2)
                layers[f"transition{number}"] = _transition(settings, channels, kept)
                channels = kept
        layers[f"norm{len(blocks) + 1}"] = nn.BatchNorm2d(channels)
        layers["activation"] = activations.activation(settings.activation)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(channels, task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, K)."""
        output: torch.Tensor = self.classifier(self.features(inputs).mean(dim=(2, 3)))
        return output


class DenseBlock(nn.Module):
    """Layers that each read the input of the block and all that was added to it so far."""

    def __init__(self, settings: DenseNetSettings, channels: int, growth: int, num_layers: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        for number in range(num_layers):
            layer = _dense_layer(settings, channels + number * growth, growth)
            self.add_module(f"denselayer{number + 1}", layer)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, C + num_layers * growth, H, W)."""
        for number in range(self.num_layers):
            maps = torch.cat([maps, self.get_submodule(f"denselayer{number + 1}")(maps)], dim=1)
        return maps


def _dense_layer(settings: DenseNetSettings, inputs: int, growth: int) -> nn.Sequential:
    """Returns normalisation, activation and convolution, once or twice (section 3, composite function)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["norm1"] = nn.BatchNorm2d(inputs)
    layers["activation1"] = activations.activation(settings.activation)
    if settings.bottleneck:
        layers["conv1"] = nn.Conv2d(inputs, BOTTLENECK * growth, 1, bias=False)
        layers["norm2"] = nn.BatchNorm2d(BOTTLENECK * growth)
        layers["activation2"] = activations.activation(settings.activation)
        layers["conv2"] = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)
    else:
        layers["conv1"] = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)
    if settings.dropout:
        layers["dropout"] = nn.Dropout(settings.dropout)
    return nn.Sequential(layers)


def _transition(settings: DenseNetSettings, inputs: int, outputs: int) -> nn.Sequential:
    """Returns what stands between two blocks: fewer channels, and half the size."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            activation=activations.activation(settings.activation),
            conv=nn.Conv2d(inputs, outputs, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


def _stem(
    settings: DenseNetSettings, inputs: int, outputs: int, small: bool, extent: Extent
) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if small:
        layers["conv0"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return layers
    extent.through("conv0", 7, 2, 3)
    layers["conv0"] = nn.Conv2d(inputs, outputs, 7, 2, padding=3, bias=False)
    layers["norm0"] = nn.BatchNorm2d(outputs)
    layers["activation0"] = activations.activation(settings.activation)
    extent.through("pool0", 3, 2, 1)
    layers["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
    return layers
