"""GoogLeNet: table 1 of the paper, and what its auxiliary classifiers do."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from training import settings_of

from dltrain import registry
from dltrain.data import Batch, InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.losses import LossSettings
from dltrain.models import WithAuxiliary, notes_of
from dltrain.steps import MAIN, EagerStep


def build(*shape: int, classes: int = 10, **changes):
    task = Task("multiclass", InputSpec(shape), classes)
    return registry.build("model", settings_of("model", "googlenet", **changes), task=task)


def total(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(scope="module")
def paper() -> nn.Module:
    with torch.device("meta"):
        return build(3, 224, 224, classes=1000, init="torch")


def test_the_parameters_of_imagenet_models(paper):
    assert (total(paper), total(paper) - total(paper.auxiliary)) == (13_378_280, 6_998_552)
    with torch.device("meta"):
        assert total(build(3, 224, 224, classes=1000, init="torch", variant="torchvision")) == 13_004_888
    assert notes_of(paper) == (
        "googlenet has 6,379,728 of its parameters in auxiliary classifiers, for training alone",
    )


def test_the_maps_and_weights_are_those_of_table_1(paper):
    maps, found = paper.stem(torch.zeros(1, 3, 224, 224, device="meta")), {}
    assert maps.shape == (1, 192, 28, 28)
    for name, module in paper.inception.items():
        maps = module(maps)
        found[name] = (*maps.shape[1:], round(total(module) / 1000))
    # Channels, height, width, and thousands of parameters.
    assert found == {
        "3a": (256, 28, 28, 164),
        "3b": (480, 28, 28, 389),
        "3b_pool": (480, 14, 14, 0),
        "4a": (512, 14, 14, 376),
        "4b": (512, 14, 14, 449),
        "4c": (512, 14, 14, 510),
        "4d": (528, 14, 14, 605),
        "4e": (832, 14, 14, 868),
        "4e_pool": (832, 7, 7, 0),
        "5a": (832, 7, 7, 1043),
        "5b": (1024, 7, 7, 1444),
    }


def test_an_auxiliary_classifier_is_that_of_section_5(paper):
    assert {name: reader.hidden.in_features for name, reader in paper.auxiliary.items()} == {
        "auxiliary1": 4 * 4 * 128,
        "auxiliary2": 4 * 4 * 128,
    }
    assert (paper.auxiliary["auxiliary1"].hidden.out_features, paper.auxiliary["auxiliary1"].dropout.p) == (1024, 0.7)
    assert paper.auxiliary["auxiliary1"].conv.conv.in_channels == 512
    assert paper.auxiliary["auxiliary2"].conv.conv.in_channels == 528


@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_a_module_is_the_sum_of_its_four_ways(variant):
    module = build(3, 32, 32, stem="small", width=8, variant=variant).eval().inception["4b"]
    maps = torch.randn(2, 64, 5, 5)
    ways = [module.one, module.three, module.five, module.pool_proj]
    torch.testing.assert_close(module(maps), torch.cat([way(maps) for way in ways], dim=1))
    assert module.five[1].conv.kernel_size == ((5, 5) if variant == "paper" else (3, 3))


def test_auxiliary_classifiers_count_three_tenths_and_in_training_alone():
    model = build(3, 32, 32, stem="small", width=8)
    batch = Batch(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))
    assert isinstance(model.eval()(batch.inputs), torch.Tensor)
    given = model.train()(batch.inputs)
    assert isinstance(given, WithAuxiliary)
    assert list(given.auxiliary) == ["auxiliary1", "auxiliary2"]
    task = Task("multiclass", InputSpec((3, 32, 32)), 10)
    step = EagerStep(
        model,
        registry.build("loss", LossSettings("auto", None), task=task),
        torch.optim.SGD(model.parameters(), lr=0.1),
    )
    result = step.forward(batch)
    terms = result.terms
    expected = terms[MAIN] + 0.3 * (terms["auxiliary1_loss"] + terms["auxiliary2_loss"])
    torch.testing.assert_close(result.loss, expected)


def test_without_auxiliary_classifiers_smaller_images_do():
    assert build(1, 8, 8, stem="small", width=8, auxiliary=False).train()(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("side", "stem", "message"),
    [
        (
            4,
            "imagenet",
            "pool2 needs 2x2 at least, and 1x1 is left of them. Take larger images, or choose model.stem=small",
        ),
        (
            8,
            "small",
            "the auxiliary classifier after inception 4a needs 5x5 at least, and 4x4 is left of them. Take larger "
            "images, or choose model.auxiliary=false, model=lenet5 or model=convnet",
        ),
    ],
)
def test_images_that_are_too_small_are_refused(side, stem, message):
    with pytest.raises(ConfigError) as caught:
        build(3, side, side, stem=stem, width=8)
    assert str(caught.value) == f"model.name = 'googlenet': images of {side}x{side} are too small: {message}"
