"""LeNet-5, layer by layer."""

from __future__ import annotations

import pytest
import torch
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.models import notes_of


def build(*shape: int, **changes):
    return registry.build("model", settings_of("model", "lenet5", **changes), task=Task("a", InputSpec(shape), 10))


@pytest.mark.parametrize("side", [28, 32])
def test_the_parameters_are_those_of_the_paper(side):
    model = build(1, side, side)
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.layers.named_children()}
    of_layers = {"c1": 156, "c3": 2416, "c5": 48120, "f6": 10164, "output": 850}
    assert {name: count for name, count in counts.items() if count} == of_layers
    assert sum(of_layers.values()) == 61706


def test_small_images_stand_in_the_middle_and_the_model_says_so():
    model, image = build(1, 28, 27), torch.randn(1, 1, 28, 27)
    framed = model.frame(image)
    assert framed.shape == (1, 1, 32, 32) and torch.equal(framed[:, :, 2:30, 2:29], image)
    assert framed.count_nonzero() == image.count_nonzero()
    assert notes_of(model) == ("lenet5 looks at 32x32 pixels: its 28x27 images stand in a frame of zeros",)
    assert notes_of(build(1, 32, 32)) == ()


def test_of_a_larger_image_all_is_read():
    model = build(1, 36, 40, pool="max")
    assert model.layers.c5.in_features == 16 * 6 * 7
    assert model(torch.randn(2, 1, 36, 40)).shape == (2, 10)
