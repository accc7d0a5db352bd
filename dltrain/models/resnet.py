"""``resnet``: residual networks, and the same networks without their shortcuts.

Sources: He, Zhang, Ren and Sun 2016a, Deep Residual Learning (the original order; table 1 for ImageNet, section 4.2 for
CIFAR), and 2016b, Identity Mappings in Deep Residual Networks (normalisation and activation before each convolution).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.models import require_images
from dltrain.models.convolution import uses_small_stem


class Plan(NamedTuple):
    """Blocks of each stage, and whether they are bottlenecks; each stage has twice the channels of the one before."""

    blocks: tuple[int, ...]
    bottleneck: bool


# Layers with weights -> what they are made of: table 1 of 2016a.
IMAGENET = {
    18: Plan((2, 2, 2, 2), False),
    34: Plan((3, 4, 6, 3), False),
    50: Plan((3, 4, 6, 3), True),
    101: Plan((3, 4, 23, 3), True),
    152: Plan((3, 8, 36, 3), True),
}
EXPANSION = 4  # channels that come out of a bottleneck, by those inside
WIDTH = {"imagenet": 64, "cifar": 16}  # channels of the first stage


@dataclass(frozen=True)
class ResNetSettings:
    name: str = setting("Name of the model.")
    form: str = setting(
        "imagenet: four stages, of 18, 34, 50, 101 or 152 layers; cifar: three stages, of 6n+2 layers (20, 32, 44, 56, "
        "110).",
        choices=("imagenet", "cifar"),
    )
    depth: int = setting("Layers with weights, as the paper counts them.", min=8)
    stem: str = setting(
        "Layers before the stages: imagenet (7x7 with stride 2, and a pooling), small (one 3x3 convolution), or auto: "
        "small for the cifar form and for images under 100 pixels.",
        choices=("auto", "imagenet", "small"),
    )
    residual: bool = setting("Whether blocks have shortcuts; without, it is the plain network of the paper.")
    preactivation: bool = setting("Whether normalisation and activation stand before each convolution (2016b).")
    shortcut: str = setting(
        "How a shortcut changes its size: projection (a 1x1 convolution, option B of the paper) or padding (zeros for "
        "the channels that are new, option A, which its CIFAR networks have).",
        choices=("projection", "padding"),
    )
    width: int | None = setting("Channels of the first stage; null is the paper's 64 (imagenet) or 16 (cifar).", min=1)
    zero_last: bool = setting("Whether the last normalisation of a block starts at 0, so that it starts as no block.")
    activation: str = setting("Function after each normalisation.", choices=activations.CHOICES)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)

    def __post_init__(self) -> None:
        plan_of(self.form, self.depth)
        if self.activation == "maxout":
            raise ValueError("activation = 'maxout': it halves channels that a shortcut needs. Choose another")
        if self.zero_last and (self.preactivation or not self.residual):
            raise ValueError("zero_last=true needs residual=true and preactivation=false")


def plan_of(form: str, depth: int) -> Plan:
    """Returns what a network of this depth is made of.

    Raises:
        ValueError: there is none.
    """
    if form == "imagenet":
        if depth not in IMAGENET:
            raise ValueError(f"depth = {depth}: form=imagenet has {', '.join(map(str, IMAGENET))}")
        return IMAGENET[depth]
    if (depth - 2) % 6:
        raise ValueError(f"depth = {depth}: form=cifar has 6n+2 layers, such as 20, 32, 44, 56 and 110")
    return Plan((depth // 6,) * 3, bottleneck=False)


@registry.register("model", "resnet", ResNetSettings)
class ResNet(nn.Module):
    """A residual network, with torchvision's names and order of layers, so that its weights fit by name.

    Parameters for 1000 classes: 11,689,512 (18), 21,797,672 (34), 25,557,032 (50), 44,549,160 (101), 60,192,808 (152).
    A bottleneck halves the image in its 3x3 convolution, as torchvision and most others have it since; the paper does
    so in the 1x1 before. First weights are He's by fan-in (2015, eq. 10); torchvision draws them by fan-out, which
    differs where a convolution changes the channels.
    """

    def __init__(self, settings: ResNetSettings, *, task: Task) -> None:
        super().__init__()
        channels, height, width = require_images("resnet", task)
        plan = plan_of(settings.form, settings.depth)
        wide = settings.width or WIDTH[settings.form]
        small = settings.form == "cifar" or uses_small_stem(settings.stem, height, width)
        self.conv1 = nn.Conv2d(channels, wide, 3 if small else 7, 1 if small else 2, 1 if small else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.activation = activations.activation(settings.activation)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        self.num_stages = len(plan.blocks)
        channels = wide
        for stage, num_blocks in enumerate(plan.blocks):
            inside, blocks = wide * 2**stage, nn.Sequential()
            for number in range(num_blocks):
                stride = 2 if stage and not number else 1
                blocks.append(_block(settings, plan, channels, inside, stride, first=not stage and not number))
                channels = inside * (EXPANSION if plan.bottleneck else 1)
            self.add_module(f"layer{stage + 1}", blocks)
        # After the last sum of a pre-activation network nothing would be normalised.
        self.last = _norm_and(settings, channels) if settings.preactivation else nn.Identity()
        self.fc = nn.Linear(channels, task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, K)."""
        maps = self.maxpool(self.activation(self.bn1(self.conv1(inputs))))
        for stage in range(self.num_stages):
            maps = self.get_submodule(f"layer{stage + 1}")(maps)
        output: torch.Tensor = self.fc(self.last(maps).mean(dim=(2, 3)))
        return output


class Original(nn.Module):
    """activation(F(x) + shortcut(x)); in F normalisation follows each convolution (2016a, figure 2)."""

    def __init__(self, settings: ResNetSettings, plan: Plan, inputs: int, inside: int, stride: int) -> None:
        super().__init__()
        shapes = _convolutions(plan, inputs, inside, stride)
        self.num_convolutions = len(shapes)
        for number, convolution in enumerate(shapes, start=1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(convolution.out_channels))
        self.activation = activations.activation(settings.activation)
        self.downsample = _shortcut(settings, inputs, shapes[-1].out_channels, stride)
        if settings.zero_last:
            nn.init.zeros_(self.get_parameter(f"bn{len(shapes)}.weight"))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to the channels of the block, and half the size where its stride is 2."""
        out = maps
        for number in range(1, self.num_convolutions + 1):
            if number > 1:
                out = self.activation(out)
            out = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(out))
        if self.downsample is not None:
            out = out + self.downsample(maps)
        output: torch.Tensor = self.activation(out)
        return output


class PreActivation(nn.Module):
    """F(x) + shortcut(x); in F normalisation and activation stand before each convolution (2016b, figure 4e).

    Of the very first block the first pair is the stem's. A shortcut that changes size takes the normalised and
    activated input, as the authors' own code has it.
    """

    def __init__(
        self, settings: ResNetSettings, plan: Plan, inputs: int, inside: int, stride: int, *, first: bool
    ) -> None:
        super().__init__()
        shapes = _convolutions(plan, inputs, inside, stride)
        self.num_convolutions = len(shapes)
        for number, convolution in enumerate(shapes, start=1):
            normalised = nn.Identity() if first and number == 1 else nn.BatchNorm2d(convolution.in_channels)
            self.add_module(f"bn{number}", normalised)
            self.add_module(f"conv{number}", convolution)
        self.activation = activations.activation(settings.activation)
        self.first = first
        self.downsample = _shortcut(settings, inputs, shapes[-1].out_channels, stride)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to the channels of the block, and half the size where its stride is 2."""
        active = maps if self.first else self.activation(self.get_submodule("bn1")(maps))
        out: torch.Tensor = self.get_submodule("conv1")(active)
        for number in range(2, self.num_convolutions + 1):
            out = self.get_submodule(f"conv{number}")(self.activation(self.get_submodule(f"bn{number}")(out)))
        if self.downsample is not None:
            out = out + self.downsample(maps if isinstance(self.downsample, nn.Identity) else active)
        return out


class ZeroPadding(nn.Module):
    """A shortcut without parameters: every other pixel, and zeros for the channels that are new (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.new, self.stride = outputs - inputs, stride

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, C + new, H / stride, W / stride)."""
        return functional.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))


def _block(
    settings: ResNetSettings, plan: Plan, inputs: int, inside: int, stride: int, *, first: bool
) -> Original | PreActivation:
    if settings.preactivation:
        return PreActivation(settings, plan, inputs, inside, stride, first=first)
    return Original(settings, plan, inputs, inside, stride)


def _convolutions(plan: Plan, inputs: int, inside: int, stride: int) -> list[nn.Conv2d]:
    """Returns the convolutions of a block: two of 3x3, or 1x1, 3x3 and 1x1."""
    if not plan.bottleneck:
        return [_three(inputs, inside, stride), _three(inside, inside, 1)]
    return [
        nn.Conv2d(inputs, inside, 1, bias=False),
        _three(inside, inside, stride),
        nn.Conv2d(inside, inside * EXPANSION, 1, bias=False),
    ]


def _three(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def _shortcut(settings: ResNetSettings, inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """Returns what stands beside the convolutions of a block; None in a plain network."""
    if not settings.residual:
        return None
    if inputs == outputs and stride == 1:
        return nn.Identity()
    if settings.shortcut == "padding":
        return ZeroPadding(inputs, outputs, stride)
    projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return projection if settings.preactivation else nn.Sequential(projection, nn.BatchNorm2d(outputs))


def _norm_and(settings: ResNetSettings, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), activations.activation(settings.activation))
