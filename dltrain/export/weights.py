"""``safetensors``: the weights by name, and beside them what the model is built from; dltrain puts both together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from dltrain import __version__, config, registry
from dltrain.data import Task
from dltrain.data.contract import task_from_dict
from dltrain.errors import CheckpointError, ConfigError
from dltrain.run_folder import read_json, write_json
from dltrain.weights import load_weights

FILE = "model.safetensors"
BUILT_FROM = "model.json"

_FORMAT = "dltrain model"


def save(model: nn.Module, settings: Any, task: Task, folder: Path) -> None:
    """Writes both files.

    Args:
        settings: that the model was built with.
    """
    plain = asdict(settings)
    if plain.get("pretrained"):  # the first weights of a package, which need not be fetched again
        plain["pretrained"] = False
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, folder / FILE, metadata={"format": "pt"})
    write_json(
        folder / BUILT_FROM,
        {
            "format": _FORMAT,
            "version": 1,
            "dltrain": __version__,
            "settings": plain,
            "task": asdict(task),
            "weights": {
                name: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
                for name, value in state.items()
            },
        },
    )


def load(folder: Path | str) -> nn.Module:
    """Builds the model of an exported folder, on the CPU and in evaluation mode.

    A model of your own must be registered before: import its module.

    Raises:
        CheckpointError: a file is missing, damaged, or of another model.
        ConfigError: the settings are none that this version of dltrain knows.
    """
    path = Path(folder)
    built_from = read_json(path / BUILT_FROM)
    try:
        settings, task = dict(built_from["settings"]), task_from_dict(built_from["task"])
        weights = load_file(path / FILE)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path / BUILT_FROM} is damaged: {error}") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path / FILE} cannot be read: {error}") from error
    problems: list[str] = []
    found = registry.find("model", str(settings.get("name")))
    converted = config.convert(settings, found.settings, "model", problems)
    if problems:
        raise ConfigError(*problems)
    with torch.random.fork_rng(devices=[]):  # the first weights, which are drawn in vain
        model: nn.Module = registry.build("model", converted, task=task)
    load_weights(model, weights)
    return model.eval()
