"""``timm`` and ``torchvision``: the models of these packages, with the weights that they were trained to."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Task
from dltrain.errors import ConfigError, MachineError, did_you_mean
from dltrain.models import WithAuxiliary, require_images

IMAGENET_CLASSES = 1000
AUXILIARY_WEIGHT = 0.3  # as of GoogLeNet's paper (section 5)


@dataclass(frozen=True)
class PackageSettings:
    name: str = setting("Name of the model: the package.")
    architecture: str = setting("Which of the package's models, as the package calls it.")
    pretrained: bool = setting(
        "Whether it starts from the weights that the package has for it, fetched once; the last layer is new."
    )
    arguments: dict[str, Any] = setting("More arguments of the package's function, as {drop_rate: 0.1}.")


@registry.register("model", "timm", PackageSettings)
def timm(settings: PackageSettings, *, task: Task) -> nn.Module:
    """A model of PyTorch Image Models (Wightman 2019), by ``timm.create_model``; first weights are its own.

    Raises:
        ConfigError: the package is missing, it has no such model, or the model does not take the arguments.
        MachineError: the weights cannot be fetched.
    """
    channels, _, _ = require_images("timm", task)
    package = _package("timm")
    _require_architecture(settings, package.list_models())
    arguments = {"num_classes": task.output_size, "in_chans": channels, **settings.arguments}
    model: nn.Module = _made(
        settings, lambda: package.create_model(settings.architecture, pretrained=settings.pretrained, **arguments)
    )
    return model


@registry.register("model", "torchvision", PackageSettings)
class TorchvisionModel(nn.Module):
    """A classifier of torchvision; its layers that end in ImageNet's classes are made anew for those of the task.

    Raises:
        ConfigError, MachineError: as for ``timm``.
    """

    def __init__(self, settings: PackageSettings, *, task: Task) -> None:
        super().__init__()
        channels, _, _ = require_images("torchvision", task)
        models = importlib.import_module(".models", _package("torchvision").__name__)
        _require_architecture(settings, models.list_models(module=models))
        weights = "DEFAULT" if settings.pretrained else None
        self.network: nn.Module = _made(
            settings, lambda: models.get_model(settings.architecture, weights=weights, **settings.arguments)
        )
        _fit(self.network, channels, task.output_size)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor | WithAuxiliary:
        """Maps (B, C, H, W) to (B, K); GoogLeNet and Inception have auxiliary outputs in training."""
        outputs = self.network(inputs)
        if isinstance(outputs, torch.Tensor):
            return outputs
        given = {name: output for name, output in outputs._asdict().items() if output is not None}
        return WithAuxiliary(given.pop("logits"), given, 1.0, AUXILIARY_WEIGHT)


def _package(name: str) -> ModuleType:
    """
    Raises:
        ConfigError: it is not installed, or does not work with the torch that is.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model.name = '{name}': the package {error.name} is not installed. "
            "Install it: pip install 'dltrain[vision]'"
        ) from error
    except (ImportError, RuntimeError, OSError) as error:
        raise ConfigError(
            f"model.name = '{name}': the package {name} does not work with torch {torch.__version__} ({error}). "
            "Install torch and torchvision from one index, with the command of https://pytorch.org/get-started/locally"
        ) from error


def _require_architecture(settings: PackageSettings, known: list[str]) -> None:
    """
    Raises:
        ConfigError: the package has no model of that name.
    """
    if settings.architecture.partition(".")[0] not in known:
        nearest = did_you_mean(settings.architecture, known).partition(" There is:")[0]
        raise ConfigError(
            f"model.architecture = '{settings.architecture}': {settings.name} has no model of that name"
            f"{'.' + nearest if nearest else f', and {len(known)} others'}"
        )


def _made(settings: PackageSettings, make: Any) -> Any:
    """Calls the package, and says what it has against the settings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torchvision, on how it draws first weights
            return make()
    except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"model.architecture = '{settings.architecture}': {settings.name} refuses: {error}"
        ) from error
    except Exception as error:
        if not settings.pretrained:
            raise
        raise MachineError(
            f"model.pretrained = true: the weights of {settings.architecture} cannot be fetched "
            f"({type(error).__name__}: {error}). Connect to the network once, or take model.pretrained=false"
        ) from error


def _fit(network: nn.Module, channels: int, outputs: int) -> None:
    """Makes a network of three channels and ImageNet's classes one of other channels and classes."""
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    first = next((name, layer) for name, layer in layers if isinstance(layer, nn.Conv2d))
    if channels != first[1].in_channels:
        network.set_submodule(first[0], _of_channels(first[1], channels))
    for name, layer in layers:
        if isinstance(layer, nn.Linear) and layer.out_features == IMAGENET_CLASSES:
            network.set_submodule(name, nn.Linear(layer.in_features, outputs, bias=layer.bias is not None))
        elif isinstance(layer, nn.Conv2d) and layer.out_channels == IMAGENET_CLASSES:  # SqueezeNet
            network.set_submodule(name, nn.Conv2d(layer.in_channels, outputs, kernel_size=1))


@torch.no_grad()
def _of_channels(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    """Returns the same convolution of other channels: an image that has the same in all of them gives the same."""
    other = nn.Conv2d(
        channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        bias=layer.bias is not None,
    )
    other.weight.copy_(layer.weight.sum(dim=1, keepdim=True).expand_as(other.weight) / channels)
    if layer.bias is not None and other.bias is not None:
        other.bias.copy_(layer.bias)
    return other
