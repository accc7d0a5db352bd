"""Transfer learning: first weights from another run or a file."""

from __future__ import annotations

import pickle
import re
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from dltrain import averages, checkpoint, packing, run_folder
from dltrain.averages import Weights
from dltrain.errors import CheckpointError, ConfigError, did_you_mean

# Where programs put the weights in a file that holds more than these.
_NESTED = ("state_dict", "model_state_dict", "model", "weights")
_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_MAX_LINES = 5
# Of the thread that reads pickles; only what is used of it takes memory.
_STACK = 2**29


def source(init_from: str) -> Path:
    """Returns the file or the run folder that ``model.init_from`` means, absolute.

    Raises:
        ConfigError: there is none, or several runs are meant.
    """
    path = Path(init_from).expanduser().absolute()
    if path.is_file():
        if path.suffix not in _FILES:
            raise ConfigError(f"model.init_from = '{init_from}': a file of weights ends in {', '.join(_FILES)}")
        return path
    if path.suffix in _FILES:
        beside = [file.name for file in path.parent.glob("*") if file.suffix in _FILES]
        raise ConfigError(f"model.init_from = '{init_from}': there is no such file.{did_you_mean(path.name, beside)}")
    try:
        return run_folder.find_run(str(path) if path.is_dir() else init_from).path.absolute()
    except ConfigError as error:
        raise ConfigError(f"model.init_from = '{init_from}': no file, and no run either: {error}") from error


def load_first_weights(model: nn.Module, path: Path) -> list[str]:
    """Loads each tensor of a run's best weights, or of a file, whose name and shape are those of one of the model.

    Args:
        path: as ``source`` returns it.

    Returns:
        What was loaded and what was not, as lines for a person.

    Raises:
        ConfigError: nothing fits.
        CheckpointError: the run has no weights, or the file is damaged or holds more than weights.
    """
    own = model.state_dict()
    given = _without_prefix(_read(path), own)
    fitting = {name: tensor for name, tensor in given.items() if name in own and _fits(tensor, own[name])}
    if not any(tensor.is_floating_point() for tensor in fitting.values()):
        raise ConfigError(
            f"model.init_from = '{path}': nothing of it fits this model by name and shape. "
            f"It has {_some(given)}; the model has {_some(own)}"
        )
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    share = sum(own[name].numel() for name in fitting) / sum(tensor.numel() for tensor in own.values())
    return [
        f"first weights from {path}: {len(fitting)} of {len(own)} tensors, {share:.1%} of the weights",
        *_shortened([f"  starts anew: {_difference(name, own, given)}" for name in own if name not in fitting]),
        *_shortened([f"  not used: {name} {tuple(given[name].shape)}" for name in given if name not in own]),
    ]


def _fits(tensor: torch.Tensor, own: torch.Tensor) -> bool:
    plain = tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized or tensor.is_complex())
    return plain and tensor.shape == own.shape and tensor.is_floating_point() == own.is_floating_point()


def _difference(name: str, own: Weights, given: Weights) -> str:
    """Returns why a tensor of the model was not loaded."""
    if name not in given:
        return f"{name} {tuple(own[name].shape)}, which is not there"
    there, here = tuple(given[name].shape), tuple(own[name].shape)
    if there == here:
        return f"{name}, which is {given[name].dtype} there and {own[name].dtype} here"
    return f"{name}, which is {there} there and {here} here"


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _MAX_LINES:
        return lines
    return [*lines[: _MAX_LINES - 1], f"  and {len(lines) - _MAX_LINES + 1} more"]


def _some(weights: Weights) -> str:
    shown = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(weights.items())[:3])
    return shown + (", ..." if len(weights) > 3 else "")


def _without_prefix(given: Weights, own: Weights) -> Weights:
    """Returns the weights without what stands in front of all their names, as "module.", where more of them fit so."""
    best = given
    while given:
        prefix = next(iter(given)).partition(".")[0] + "."
        if not all(name.startswith(prefix) and name != prefix for name in given):
            break
        given = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
        if _count(given, own) > _count(best, own):
            best = given
    return best


def _count(given: Weights, own: Weights) -> int:
    return sum(name in own for name in given)


def _read(path: Path) -> Weights:
    """Returns the weights in a run or a file, by name.

    Raises:
        CheckpointError: there are none, or the file is damaged or holds more than weights.
    """
    if path.is_dir():
        return averages.weights_in(checkpoint.load_state(run_folder.RunFolder(path), "best")[1])
    try:
        path.open("rb").close()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    weights = _state_dict(content)
    if not weights:
        kind = type(content).__name__
        keys = [repr(key) if isinstance(key, (str, int)) else f"a {type(key).__name__}" for key in content or ()]
        held = f"a dict with {', '.join(keys)}" if isinstance(content, dict) else f"a {kind}"
        raise CheckpointError(
            f"{path} holds no weights by name, but {held}. Save them with torch.save(model.state_dict(), PATH)"
        )
    return weights


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            ours = "dltrain" in (file.metadata() or {})
        if ours:
            return averages.weights_in(packing.unpack(path.read_bytes(), path))
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, or no safetensors file: {error}") from error


def _read_pickle(path: Path) -> Any:
    """Reads what ``torch.save`` wrote; nothing but tensors and plain containers, so that no code of the file runs."""
    try:
        with warnings.catch_warnings():  # of old formats, and of pickles that are refused next
            warnings.simplefilter("ignore")
            return _with_deep_stack(lambda: torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        if not re.search("unsupported (global|class)", str(error), re.IGNORECASE):
            raise CheckpointError(f"{path} is damaged, or no file of torch.save") from error
        raise CheckpointError(
            f"{path} holds more than weights. To read that would run code of the file, so it is refused. Where you "
            "trust it, save its weights alone: torch.save(model.state_dict(), PATH)"
        ) from error
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        raise CheckpointError(f"{path} is damaged, or no file of torch.save") from error


def _with_deep_stack(read: Callable[[], Any]) -> Any:
    """Calls a function where a file of values nested a million deep ends in an error, not in the process's death."""
    before = threading.stack_size(_STACK)
    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(read).result()
    finally:
        threading.stack_size(before)


def _state_dict(content: Any) -> Weights:
    """Returns the tensors by name in what a file holds; {} where there are none."""
    if not isinstance(content, dict):
        return {}
    for key in _NESTED:
        if isinstance(content.get(key), dict):
            return _state_dict(content[key])
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
