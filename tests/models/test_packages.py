"""Models of other packages: what comes where the package is there, and what is said where it is not."""

from __future__ import annotations

import importlib
import urllib.error

import pytest
import torch
from torch import nn
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError, MachineError
from dltrain.models import WithAuxiliary, packages

GREY = Task("multiclass", InputSpec((1, 64, 64)), 7)
COLOUR = Task("multiclass", InputSpec((3, 64, 64)), 7)


def build(name: str, task: Task = COLOUR, **changes) -> nn.Module:
    return registry.build("model", settings_of("model", name, **changes), task=task)


def usable(name: str) -> None:
    """Skips where a package is not installed, or made for another torch."""
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{name} is not here: {error}")


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(name, monkeypatch):
    def missing(package):
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr(packages.importlib, "import_module", missing)
    with pytest.raises(ConfigError) as error:
        build(name)
    assert str(error.value) == (
        f"model.name = '{name}': the package {name} is not installed. Install it: pip install 'dltrain[vision]'"
    )


def test_a_package_for_another_torch_is_named_with_its_error(monkeypatch):
    def unfit(package):
        raise RuntimeError("operator torchvision::nms does not exist")  # what torchvision says

    monkeypatch.setattr(packages.importlib, "import_module", unfit)
    with pytest.raises(ConfigError) as error:
        build("torchvision")
    assert str(error.value) == (
        f"model.name = 'torchvision': the package torchvision does not work with torch {torch.__version__} (operator "
        "torchvision::nms does not exist). Install torch and torchvision from one index, with the command of "
        "https://pytorch.org/get-started/locally"
    )


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_only_images_are_taken(name):
    with pytest.raises(ConfigError, match=f"model.name = '{name}': it looks at images"):
        build(name, Task("multiclass", InputSpec((4,)), 3))


@pytest.mark.parametrize("name", ["timm", "torchvision"])
@pytest.mark.parametrize("task", [GREY, COLOUR], ids=["grey", "colour"])
def test_channels_and_classes_are_those_of_the_task(name, task):
    usable(name)
    model = build(name, task).eval()
    assert model(torch.randn(2, *task.input.shape)).shape == (2, 7)


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_a_wrong_architecture_gets_the_nearest_name(name):
    usable(name)
    with pytest.raises(ConfigError) as error:
        build(name, architecture="resnt18")
    assert str(error.value) == (
        f"model.architecture = 'resnt18': {name} has no model of that name. Did you mean 'resnet18'?"
    )


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_an_argument_that_there_is_not_is_refused(name):
    usable(name)
    with pytest.raises(ConfigError, match=r"model.architecture = 'resnet18': .* refuses: .*colour"):
        build(name, arguments={"colour": 3})


def test_weights_that_cannot_be_fetched():
    def without_network() -> None:
        raise urllib.error.URLError("no network")

    with pytest.raises(MachineError) as error:
        packages._made(settings_of("model", "torchvision", pretrained=True), without_network)
    assert str(error.value) == (
        "model.pretrained = true: the weights of resnet18 cannot be fetched (URLError: <urlopen error no network>). "
        "Connect to the network once, or take model.pretrained=false"
    )
    assert error.value.exit_code == 5


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "vgg11", "mobilenet_v3_small", "vit_b_32"])
def test_every_kind_of_head_is_made_anew(architecture):
    usable("torchvision")
    task = Task("multiclass", InputSpec((3, 224, 224)), 7)
    assert build("torchvision", task, architecture=architecture).eval()(torch.randn(1, 3, 224, 224)).shape == (1, 7)


def test_auxiliary_outputs_of_torchvision_are_for_training_alone():
    usable("torchvision")
    model = build("torchvision", architecture="googlenet", arguments={"aux_logits": True, "init_weights": False})
    images = torch.randn(2, 3, 64, 64)
    given = model.train()(images)
    assert isinstance(given, WithAuxiliary) and given.outputs.shape == (2, 7)
    assert {name: output.shape for name, output in given.auxiliary.items()} == {
        "aux_logits1": (2, 7),
        "aux_logits2": (2, 7),
    }
    assert model.eval()(images).shape == (2, 7)


def test_a_convolution_of_other_channels_sees_the_same_in_a_grey_image():
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False)
    grey = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(packages._of_channels(layer, 1)(grey), layer(grey.expand(-1, 3, -1, -1)))
