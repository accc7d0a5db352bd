"""AlexNet: its layers, its two groups, its geometry."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError


def build(*shape: int, classes: int = 10, **changes):
    task = Task("multiclass", InputSpec(shape), classes)
    return registry.build("model", settings_of("model", "alexnet", **changes), task=task)


def sizes(model: nn.Module, *shape: int) -> dict[str, tuple[int, ...]]:
    """Returns channels, height and width after each convolution and pooling."""
    found, maps = {}, torch.zeros(1, *shape)
    for name, layer in model.features.named_children():
        maps = layer(maps)
        if name.startswith(("conv", "pool")):
            found[name] = tuple(maps.shape[1:])
    return found


@pytest.mark.parametrize("side", [224, 227])
def test_the_parameters_are_those_of_the_paper(side):
    with torch.device("meta"):
        model = build(3, side, side, classes=1000, init="torch")
    counts = {
        name: sum(p.numel() for p in layer.parameters())
        for part in (model.features, model.dense)
        for name, layer in part.named_children()
        if hasattr(layer, "weight")
    }
    assert counts == {
        "conv1": 96 * (11 * 11 * 3 + 1),
        "conv2": 256 * (5 * 5 * 48 + 1),
        "conv3": 384 * (3 * 3 * 256 + 1),
        "conv4": 384 * (3 * 3 * 192 + 1),
        "conv5": 256 * (3 * 3 * 192 + 1),
        "fc6": 4096 * (6 * 6 * 256 + 1),
        "fc7": 4096 * (4096 + 1),
        "fc8": 1000 * (4096 + 1),
    }
    assert sum(counts.values()) == 60_965_224


def test_the_maps_have_the_sizes_of_the_paper():
    expected = {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6}
    found = sizes(build(3, 227, 227, width=6), 3, 227, 227)
    assert {name: size[1:] for name, size in found.items()} == {name: (side, side) for name, side in expected.items()}
    assert sizes(build(3, 224, 224, width=6), 3, 224, 224)["pool5"] == (16, 6, 6)


def test_the_first_layers_are_in_the_papers_order():
    names = list(dict(build(3, 32, 32, stem="small", width=6).features.named_children()))
    assert names[:4] == ["conv1", "activation1", "norm1", "pool1"]
    assert [name for name in names if name.startswith(("norm", "pool"))] == [
        "norm1",
        "pool1",
        "norm2",
        "pool2",
        "pool5",
    ]


def test_half_of_the_maps_read_half_of_those_before():
    layer = build(3, 32, 32, stem="small", width=6).features.conv2  # 6 maps to 16
    maps = torch.randn(1, 6, 5, 5)
    changed = maps.clone()
    changed[:, :3] += 1
    same = (layer(maps) == layer(changed)).all(dim=(2, 3))[0]
    assert same.tolist() == [False] * 8 + [True] * 8


@pytest.mark.parametrize("shape", [(3, 300, 240), (3, 67, 70), (1, 120, 90)])
def test_other_images_end_as_6x6_maps(shape):
    model = build(*shape, width=6)
    assert model.dense.fc6.in_features == 16 * 6 * 6
    assert model(torch.randn(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize(
    ("side", "stem", "layer", "left", "remedy"),
    [
        (32, "imagenet", "pool5", "1x1", "model.stem=small"),
        (14, "small", "pool5", "2x2", "model=lenet5 or model=convnet"),
        (4, "small", "pool2", "1x1", "model=lenet5 or model=convnet"),
    ],
)
def test_images_that_are_too_small_are_refused(side, stem, layer, left, remedy):
    with pytest.raises(ConfigError) as caught:
        build(3, side, side, stem=stem, width=6)
    assert str(caught.value) == (
        f"model.name = 'alexnet': images of {side}x{side} are too small: {layer} needs 3x3 at least, and {left} is "
        f"left of them. Take larger images, or choose {remedy}"
    )


def test_the_experiment_has_the_papers_first_weights():
    init = {"*": "normal 0.01", "features.conv[245].bias": "constant 1", "dense.fc[67].bias": "constant 1"}
    model = build(3, 32, 32, stem="small", width=12, init=init)
    ones = {name for name, value in model.named_parameters() if name.endswith("bias") and value.eq(1).all()}
    zeros = {name for name, value in model.named_parameters() if name.endswith("bias") and value.eq(0).all()}
    assert ones == {f"features.conv{number}.bias" for number in (2, 4, 5)} | {"dense.fc6.bias", "dense.fc7.bias"}
    assert zeros == {"features.conv1.bias", "features.conv3.bias", "dense.fc8.bias"}
    assert abs(model.dense.fc6.weight.std() - 0.01) < 5e-4
