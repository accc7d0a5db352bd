"""``onnx``: a file that ONNX Runtime and other programs without PyTorch read (the package's extra ``export``)."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch

from dltrain.errors import ConfigError, MachineError
from dltrain.export.torch_program import Axis, Program, quiet

FILE = "model.onnx"

# What Python needs to write one and to run it.
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

# The version of the operators: ONNX Runtime reads it since 1.14 (February 2023), and PyTorch translates to it best.
OPSET = 18

# A file of ONNX (protobuf) ends at 2 GB: weights of more numbers than this go into a file beside it.
_MOST_BYTES = 1536 * 2**20


def require_packages() -> None:
    """
    Raises:
        MachineError: one is not installed.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MachineError(
            f"--format onnx needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            'pip install "dltrain[export]"'
        )


def save(program: Program, path: Path, outputs: list[str], name: str, *, most_bytes: int = _MOST_BYTES) -> None:
    """Writes a program as ONNX.

    Args:
        outputs: the names of what it gives.
        name: of the model, for messages.
        most_bytes: where the weights take more, they are written to a file beside it, with ``.data`` added to its name.

    Raises:
        ConfigError: an operation of the model has no counterpart in ONNX.
    """
    with quiet():
        try:
            converted: Any = torch.onnx.export(
                program.exported,
                (),
                input_names=list(program.axes),
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # of what a model of the user's may hold, there is no list
            raise ConfigError(
                f"model.name = '{name}': ONNX cannot hold it ({_reason(error)}). --format torch can, and --format "
                "safetensors keeps its weights"
            ) from error
        _name_axes(converted, program)
        size = sum(tensor.nbytes for tensor in program.exported.state_dict.values())
        converted.save(str(path), external_data=size > most_bytes)


def session(path: Path) -> Any:
    """Returns a saved file, to be run on the CPU."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _name_axes(converted: Any, program: Program) -> None:
    """Gives the axes whose length is free the names that they have in the description."""
    names: dict[str, str] = {}
    for given, axes in zip(converted.model.graph.inputs, program.axes.values(), strict=True):
        for size, axis in zip(given.shape, axes, strict=True):
            if isinstance(axis, Axis):
                names[str(size)] = axis.name
    for value in [*converted.model.graph.inputs, *converted.model.graph.outputs]:
        value.shape = type(value.shape)(
            [size if isinstance(size, int) else names.get(str(size), str(size)) for size in value.shape]
        )


def _reason(error: Exception) -> str:
    """Returns the innermost of what led to an error, in a line."""
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    return str(inner).strip().partition("\n")[0]
