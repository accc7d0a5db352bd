"""VGG: table 1 of the paper, and the head for small images. test_agreement.py compares it with torchvision's."""

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
    return registry.build("model", settings_of("model", "vgg", **changes), task=task)


def total(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("depth", "plain", "batch_norm"),
    [
        (11, 132_863_336, 132_868_840),
        (13, 133_047_848, 133_053_736),
        (16, 138_357_544, 138_365_992),
        (19, 143_667_240, 143_678_248),
    ],
)
def test_the_parameters_of_imagenet_models(depth, plain, batch_norm):
    with torch.device("meta"):
        for norm, expected in ((False, plain), (True, batch_norm)):
            model = build(3, 224, 224, classes=1000, init="torch", depth=depth, batch_norm=norm)
            assert total(model) == expected


def test_the_layers_of_vgg16_are_those_of_column_d():
    with torch.device("meta"):
        model = build(3, 224, 224, classes=1000, init="torch", depth=16)
    weighted = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert [total(layer) for layer in weighted] == [
        1_792, 36_928,
        73_856, 147_584,
        295_168, 590_080, 590_080,
        1_180_160, 2_359_808, 2_359_808,
        2_359_808, 2_359_808, 2_359_808,
        102_764_544, 16_781_312, 4_097_000,
    ]  # fmt: skip


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_the_depth_counts_the_layers_with_weights(depth):
    model = build(3, 32, 32, depth=depth, width=1)
    assert sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in model.modules()) == depth


def test_the_small_head_is_one_layer_on_the_largest_value_of_each_channel():
    model = build(3, 32, 32, depth=11, width=2, head="small", batch_norm=True).eval()
    inputs = torch.randn(2, 3, 32, 32)
    maps = nn.functional.max_pool2d(model.features(inputs), 2)  # the fifth pooling of 32x32 pixels
    assert maps.shape == (2, 16, 1, 1)
    torch.testing.assert_close(model(inputs), model.classifier(maps.flatten(1)))
    assert isinstance(model.classifier, nn.Linear)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 40)])
def test_the_small_head_takes_images_from_16_pixels_on(shape):
    assert build(*shape, depth=11, width=2, head="small")(torch.randn(2, *shape)).shape == (2, 10)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ConfigError) as caught:
        build(1, 28, 28, width=1)
    assert str(caught.value) == (
        "model.name = 'vgg': images of 28x28 are too small: pooling 5 of 5 needs 2x2 at least, and 1x1 is left of "
        "them. Take larger images, or choose model.head=small"
    )


def test_a_depth_that_no_column_has_is_told(dltrain):
    answer = dltrain("check", "model=vgg", "model.depth=12")
    assert answer.code == 2
    assert answer.err == "error: model.depth = 12: must be one of 11, 13, 16, 19.\n"
