"""How an image shrinks, and local response normalisation."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models.conftest import build
from torch import nn

from dltrain.errors import ConfigError
from dltrain.models.convolution import Extent, LocalResponseNorm


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    ceil_mode=st.booleans(),
)
def test_an_extent_is_what_pytorch_gives(height, width, kernel, stride, padding, ceil_mode):
    padding = min(padding, kernel // 2)  # PyTorch pools no further
    layer = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    extent = Extent("a", height, width, "take another")
    try:
        expected = layer(torch.zeros(1, 1, height, width)).shape[2:]
    except RuntimeError:
        with pytest.raises(ConfigError):
            extent.through("pool", kernel, stride, padding, ceil_mode)
    else:
        extent.through("pool", kernel, stride, padding, ceil_mode)
        assert (extent.height, extent.width) == expected


def test_an_image_that_is_too_small_is_told_with_the_layer_and_the_way_out():
    extent = Extent("resnet", 20, 12, "choose model.stem=small")
    extent.through("conv1", 7, 2)
    assert (extent.height, extent.width) == (7, 3)
    with pytest.raises(ConfigError) as caught:
        extent.through("conv2", 5)
    assert str(caught.value) == (
        "model.name = 'resnet': images of 20x12 are too small: conv2 needs 5x5 at least, and 7x3 is left of them. "
        "Take larger images, or choose model.stem=small"
    )


@pytest.mark.parametrize("channels", [1, 3, 5, 12])
def test_local_response_normalisation_is_that_of_the_paper(channels):
    inputs = 30 * torch.randn(2, channels, 3, 4, dtype=torch.float64)
    expected = torch.empty_like(inputs)
    for channel in range(channels):  # section 3.3: j from max(0, i - n/2) to min(N - 1, i + n/2)
        around = inputs[:, max(0, channel - 2) : channel + 3]
        expected[:, channel] = inputs[:, channel] / (2 + 1e-4 * around.square().sum(dim=1)) ** 0.75
    torch.testing.assert_close(LocalResponseNorm()(inputs), expected, rtol=1e-12, atol=0)
    last = inputs.to(memory_format=torch.channels_last)
    torch.testing.assert_close(LocalResponseNorm()(last), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["alexnet", "convnet", "googlenet", "lenet5", "vgg"])
def test_the_order_of_an_image_in_memory_changes_nothing(name):
    model, images = build(name, "multiclass of colour images").eval(), torch.randn(3, 3, 32, 32)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    for inputs in (images, images[:1]):
        outputs = last(inputs.to(memory_format=torch.channels_last))
        torch.testing.assert_close(outputs, model(inputs), rtol=1e-4, atol=1e-5)
