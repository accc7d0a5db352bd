"""What the tests of exports share: a model asked through an exported file, and the README's example run."""

from __future__ import annotations

import contextlib
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dltrain.export import onnx_file

# Code that makes dltrain impossible to import.
WITHOUT_DLTRAIN = "import sys\nsys.modules['dltrain'] = None\n"


@contextlib.contextmanager
def operations_gathered_once() -> Iterator[None]:
    """Keeps PyTorch's list of what ONNX can compute, which it makes anew for each file, for most of its time."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry as Operations
    except ImportError:  # another version of PyTorch, or no package for ONNX
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Operations, "from_torchlib", staticmethod(functools.cache(Operations.from_torchlib)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _operations():
    with operations_gathered_once():
        yield


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ask_onnx(path: Path, inputs, names: list[str]):
    """Returns the outputs of a file of ONNX, a tensor or several by name, as a model would."""
    named = inputs if isinstance(inputs, dict) else {"inputs": inputs}
    given = onnx_file.session(path).run(names, {name: tensor.numpy() for name, tensor in named.items()})
    outputs = {name: torch.from_numpy(array) for name, array in zip(names, given, strict=True)}
    return outputs if len(names) > 1 else outputs[names[0]]


def code_of(folder: Path) -> str:
    """Returns the example in a README."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)
    return code


def printed_in(folder: Path) -> str:
    """Returns what the README says that its example prints."""
    (printed,) = re.findall(r"It prints\n\n```\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)
    return printed


def run_example(folder: Path, before: str = WITHOUT_DLTRAIN) -> str:
    """Runs the example of a README and returns what it prints."""
    done = subprocess.run([sys.executable, "-c", before + code_of(folder)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
