"""Residual networks: the papers' counts, blocks and shortcuts. test_agreement.py compares them with torchvision's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.models.resnet import ZeroPadding


def build(*shape: int, classes: int = 10, **changes) -> nn.Module:
    task = Task("multiclass", InputSpec(shape), classes)
    return registry.build("model", settings_of("model", "resnet", **changes), task=task)


def total(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def with_weights(model: nn.Module) -> int:
    """The layers that the papers count: convolutions and the last one, without projections in shortcuts."""
    return sum(
        isinstance(layer, (nn.Conv2d, nn.Linear)) for name, layer in model.named_modules() if "downsample" not in name
    )


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_the_parameters_of_imagenet_models(depth, parameters):
    with torch.device("meta"):
        model = build(3, 224, 224, classes=1000, depth=depth, init="torch")
    assert total(model) == parameters
    assert with_weights(model) == depth


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_the_parameters_of_cifar_models_are_those_of_their_layers(depth):
    model = build(3, 32, 32, form="cifar", depth=depth, shortcut="padding", init="torch")
    n = (depth - 2) // 6
    weights = 3 * 16 * 9 + 9 * (16 * 16 * 2 * n + 16 * 32 + 32 * 32 * (2 * n - 1) + 32 * 64 + 64 * 64 * (2 * n - 1))
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    assert total(model) == weights + norms + 64 * 10 + 10
    assert with_weights(model) == depth


def test_resnet20_has_the_count_of_table_6():
    assert total(build(3, 32, 32, form="cifar", depth=20, shortcut="padding", init="torch")) == 269_722


@pytest.mark.parametrize("changes", [{"residual": False}, {"preactivation": True}, {"residual": False, "width": 8}])
def test_the_other_orders_have_the_same_layers(changes):
    assert with_weights(build(3, 32, 32, form="cifar", depth=20, init="torch", **changes)) == 20


def test_the_plain_network_has_the_parameters_of_the_residual_one():
    # Option A adds none: that is why the paper compares the two so.
    plain = build(3, 32, 32, form="cifar", depth=20, residual=False, init="torch")
    assert total(plain) == 269_722


def test_a_projection_is_a_1x1_convolution_and_its_normalisation():
    padded, projected = (
        build(3, 32, 32, form="cifar", depth=20, shortcut=shortcut, init="torch")
        for shortcut in ("padding", "projection")
    )
    assert total(projected) - total(padded) == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


def test_padding_takes_every_other_pixel_and_adds_empty_channels():
    maps = torch.randn(2, 3, 6, 6)
    shortcut = ZeroPadding(3, 5, 2)(maps)
    assert torch.equal(shortcut[:, :3], maps[:, :, ::2, ::2])
    assert shortcut.shape == (2, 5, 3, 3) and shortcut[:, 3:].eq(0).all()


@pytest.mark.parametrize(("depth", "form"), [(18, "imagenet"), (50, "imagenet"), (20, "cifar")])
@pytest.mark.parametrize("preactivation", [False, True])
def test_each_stage_halves_the_image(depth, form, preactivation):
    model = build(3, 64, 64, form=form, depth=depth, width=4, stem="small", preactivation=preactivation)
    sizes = []
    for name, layer in model.named_children():
        if name.startswith("layer"):
            layer.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[1:])))
    model.eval()(torch.randn(1, 3, 64, 64))
    grown = 4 if depth == 50 else 1
    assert sizes == [(4 * 2**stage * grown, 64 // 2**stage, 64 // 2**stage) for stage in range(len(sizes))]
    assert len(sizes) == (3 if form == "cifar" else 4)


def test_a_block_that_starts_at_zero_is_no_block_at_first():
    model = build(3, 32, 32, form="cifar", depth=8, zero_last=True).eval()
    maps = torch.rand(2, 16, 8, 8)  # what comes out of a ReLU
    assert torch.equal(model.layer1[0](maps), maps)


def test_a_shortcut_of_a_preactivated_block_is_the_input_itself():
    model = build(3, 32, 32, form="cifar", depth=14, preactivation=True).eval()
    block = model.layer1[1]
    for number in (1, 2):
        nn.init.zeros_(block.get_parameter(f"conv{number}.weight"))
    maps = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(maps), maps)


def test_without_shortcuts_nothing_comes_past_the_convolutions():
    model = build(3, 32, 32, form="cifar", depth=8, residual=False).eval()
    block = model.layer1[0]
    nn.init.zeros_(block.get_parameter("conv2.weight"))
    assert block(torch.rand(2, 16, 8, 8)).eq(0).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"depth": 20}, "depth = 20: form=imagenet has 18, 34, 50, 101, 152"),
        ({"form": "cifar", "depth": 21}, "depth = 21: form=cifar has 6n+2 layers, such as 20, 32, 44, 56 and 110"),
        ({"activation": "maxout"}, "activation = 'maxout': it halves channels that a shortcut needs. Choose another"),
        ({"zero_last": True, "residual": False}, "zero_last=true needs residual=true and preactivation=false"),
    ],
)
def test_settings_that_make_no_network(changes, text):
    with pytest.raises(ValueError) as error:
        replace(settings_of("model", "resnet"), **changes)
    assert str(error.value) == text


def test_the_stem_is_chosen_by_the_image():
    assert build(3, 99, 224, depth=18, width=4).conv1.kernel_size == (3, 3)
    assert build(3, 100, 224, depth=18, width=4).conv1.kernel_size == (7, 7)


def test_no_image_is_too_small():
    # Each convolution pads its input, so that one pixel is left of any image.
    assert build(1, 1, 100, depth=18, width=4, stem="imagenet").eval()(torch.randn(2, 1, 1, 100)).shape == (2, 10)
