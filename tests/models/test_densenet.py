"""DenseNet: the papers' counts and connections. test_agreement.py compares it with torchvision's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError


def build(*shape: int, classes: int = 10, **changes) -> nn.Module:
    task = Task("multiclass", InputSpec(shape), classes)
    return registry.build("model", settings_of("model", "densenet", **changes), task=task)


def total(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("depth", "parameters"), [(121, 7_978_856), (161, 28_681_000), (169, 14_149_480), (201, 20_013_928)]
)
def test_the_parameters_of_imagenet_models(depth, parameters):
    with torch.device("meta"):
        model = build(3, 224, 224, classes=1000, depth=depth, init="torch")
    assert total(model) == parameters
    assert sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in model.modules()) == depth


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({"depth": 100, "growth": 12}, 769_162),  # 0.8M in table 2
        ({"depth": 40, "growth": 12, "bottleneck": False, "compression": 1.0}, 1_019_722),  # 1.0M
        ({"depth": 100, "growth": 12, "bottleneck": False, "compression": 1.0}, 6_979_642),  # 7.0M
        ({"depth": 250, "growth": 24}, 15_324_406),  # 15.3M
    ],
)
def test_the_parameters_of_cifar_models(changes, parameters):
    with torch.device("meta"):
        assert total(build(3, 32, 32, form="cifar", init="torch", **changes)) == parameters


def test_a_layer_reads_all_that_was_written_before():
    model = build(3, 32, 32, form="cifar", depth=10, growth=4, bottleneck=False)
    block = model.features.denseblock1
    read = [layer.norm1.num_features for layer in block.children()]
    assert read == [16, 20]
    maps = torch.randn(2, 16, 8, 8)
    written = block.eval()(maps)
    assert written.shape == (2, 24, 8, 8)
    assert torch.equal(written[:, :16], maps)


def test_dropout_zeroes_what_a_layer_adds_in_training():
    model = build(3, 32, 32, form="cifar", depth=10, growth=4, dropout=0.5)
    block, maps = model.features.denseblock1, torch.randn(2, 8, 8, 8)
    assert block.train()(maps)[:, 8:].eq(0).any() and not block.eval()(maps)[:, 8:].eq(0).any()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"depth": 100}, "depth = 100: form=imagenet has 121, 161, 169, 201"),
        (
            {"form": "cifar", "depth": 41},
            "depth = 41: form=cifar has 6n+4 layers with bottlenecks, such as 40 and 100",
        ),
        (
            {"form": "cifar", "depth": 42, "bottleneck": False},
            "depth = 42: form=cifar has 3n+4 layers without bottlenecks, such as 40 and 100",
        ),
    ],
)
def test_settings_that_make_no_network(changes, text):
    with pytest.raises(ValueError) as error:
        replace(settings_of("model", "densenet"), **changes)
    assert str(error.value) == text


def test_an_image_that_vanishes_is_refused():
    with pytest.raises(ConfigError) as error:
        build(1, 6, 8, depth=121)
    assert str(error.value) == (
        "model.name = 'densenet': images of 6x8 are too small: transition 3 needs 2x2 at least, and 1x2 is left of "
        "them. Take larger images, or choose model=resnet or model=convnet"
    )
