"""Convolution blocks from a list."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training import settings_of

from dltrain import config_files, registry
from dltrain.compose import compose
from dltrain.config import load
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError

COMMON = config_files.values(config_files.options("model", [])["convnet"])["model"]["block"]


def build(*shape: int, block: dict | None = None, **changes):
    task = Task("multiclass", InputSpec(shape), 10)
    settings = settings_of("model", "convnet", block={**COMMON, **(block or {})}, **changes)
    return registry.build("model", settings, task=task)


def test_the_mnist_network_has_the_parameters_of_the_course():
    config = load(compose(["experiment=mnist_convnet"]).container)
    model = registry.build("model", config.model, task=Task("multiclass", InputSpec((1, 28, 28)), 10))
    counts = [sum(p.numel() for p in layer.parameters()) for layer in model.modules() if hasattr(layer, "weight")]
    assert counts == [32 * (25 + 1), 64 * (25 * 32 + 1), 1024 * (7 * 7 * 64 + 1), 10 * (1024 + 1)]
    assert [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)] == [0.25]
    assert config.callbacks["checkpoint"].every_steps == 10


def test_a_block_has_its_layers_in_order_and_the_number_in_their_names():
    model = build(3, 16, 16, block={"norm": "batch", "dropout": 0.1}, blocks=[4, 8], hidden=[5], dropout=0.5)
    kinds = ["conv", "norm", "activation", "pool", "dropout"]
    assert [name for name, _ in model.features.named_children()] == [f"{kind}{n}" for n in (1, 2) for kind in kinds]
    assert [name for name, _ in model.dense.named_children()] == ["dense1", "activation1", "dropout1"]
    assert model.features.conv1.bias is None


def test_what_a_block_says_goes_before_what_holds_for_all():
    own = {"filters": 6, "kernel": 1, "stride": 2, "padding": 1, "norm": "local_response", "pool": 3}
    own |= {"pool_kind": "average", "dropout": 0.3}
    model = build(3, 20, 20, block={"kernel": 5, "dropout": 0.1}, blocks=[4, own])
    first, second = model.features.conv1, model.features.conv2
    assert (first.kernel_size, first.padding, model.features.dropout1.p) == ((5, 5), (2, 2), 0.1)
    assert (second.kernel_size, second.stride, second.padding) == ((1, 1), (2, 2), (1, 1))
    assert isinstance(model.features.pool2, nn.AvgPool2d) and model.features.pool2.kernel_size == 3
    assert model.features.dropout2.p == 0.3
    assert not hasattr(model.features, "norm1") and hasattr(model.features, "norm2")


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    kernel=st.integers(1, 6),
    stride=st.integers(1, 3),
)
def test_same_padding_leaves_the_size_over_the_stride(height, width, kernel, stride):
    block = {"kernel": kernel, "stride": stride, "pool": 1}
    model = build(1, height, width, block=block, blocks=[1], init="constant 1", activation="identity", hidden=[])
    maps = model.features(torch.ones(1, 1, height, width)) - 1  # the bias
    assert maps.shape[2:] == (-(-height // stride), -(-width // stride))
    # TensorFlow's SAME: of an odd number of zeros the one more stands behind.
    for side, row in ((height, maps[0, 0, :, 0]), (width, maps[0, 0, 0])):
        before = max((-(-side // stride) - 1) * stride + kernel - side, 0) // 2
        seen = [
            min(side, place * stride - before + kernel) - max(0, place * stride - before) for place in range(len(row))
        ]
        assert torch.equal(row * seen[0], row[0] * torch.tensor(seen, dtype=row.dtype))


def test_valid_and_numbers_are_padding_as_pytorch_has_it():
    for padding, side in (("valid", 4), (1, 6), (0, 4)):
        model = build(1, 8, 8, block={"kernel": 5, "padding": padding, "pool": 1}, blocks=[2])
        assert model.features(torch.zeros(1, 1, 8, 8)).shape == (1, 2, side, side)


def test_the_average_of_each_channel_is_enough_for_the_dense_layers():
    model = build(3, 9, 8, global_pool=True, blocks=[4, 6], hidden=[])
    assert model.output.in_features == 6
    assert model(torch.randn(2, 3, 9, 8)).shape == (2, 10)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ConfigError) as caught:
        build(1, 8, 8, blocks=[1, 1, 1, 1])
    assert str(caught.value) == (
        "model.name = 'convnet': images of 8x8 are too small: the pooling of block 4 needs 2x2 at least, and 1x1 is "
        "left of them. Take larger images, or choose model.block.padding=same, or fewer or smaller poolings"
    )


def test_a_network_from_the_command_line(dltrain):
    answer = dltrain("check", "model=convnet", "model.blocks=[8, {filters: 16, kernel: 5, pool: 1}]", "model.hidden=[]")
    assert answer.code == 0
    parameters = 8 * (9 + 1) + 16 * (25 * 8 + 1) + 10 * (16 * 4 * 4 + 1)
    assert f"model   convnet: {parameters:,} parameters" in answer.out


def test_all_mistakes_of_the_blocks_are_told(dltrain):
    blocks = "model.blocks=[0, {filtrs: 32, kernel: 0, pool_kind: mx, padding: sane}]"
    answer = dltrain("check", "model=convnet", blocks, "model.block.padding=-1")
    assert answer.code == 2
    assert answer.err.splitlines() == [
        "error: 7 mistakes in the config:",
        "  1. model.blocks[0] = 0: must be a whole number at least 1 or a group of settings.",
        "  2. model.blocks[1].filters: no value. Set model.blocks[1].filters=..., or give it in the YAML file",
        "  3. model.blocks[1].kernel = 0: must be a whole number at least 1 or null.",
        "  4. model.blocks[1].padding: 'sane' is none of same, valid or a number of pixels",
        "  5. model.blocks[1].pool_kind = 'mx': must be one of max, average or null. Did you mean 'max'?",
        "  6. model.blocks[1] has no setting 'filtrs'. Did you mean 'filters'?",
        "  7. model.block.padding: -1 is below 0",
    ]


def test_tokens_are_refused_with_a_model_that_takes_them():
    task = Task("next_token", InputSpec((5,), "int64", vocabulary_size=12), 12)
    with pytest.raises(ConfigError) as caught:
        registry.build("model", settings_of("model", "convnet"), task=task)
    assert str(caught.value) == (
        "model.name = 'convnet': it looks at images (channels, height, width), and this data gives tokens. "
        "Choose data of images, such as data=mnist, or another model, such as model=lstm"
    )
