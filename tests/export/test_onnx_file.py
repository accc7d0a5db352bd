from __future__ import annotations

import importlib.util

import pytest
import torch
from export.conftest import ask_onnx
from torch import nn

from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError, MachineError
from dltrain.export import onnx_file
from dltrain.export.torch_program import program_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

FEATURES = Task("multiclass", InputSpec((4,)), 3)


def saved(folder, model, task=FEATURES, **options):
    path = folder / "model.onnx"
    onnx_file.save(program_of(model, task, "mine"), path, ["logits"], "mine", **options)
    return path


def test_names_and_axes_are_those_of_the_description(tmp_path):
    tokens = Task("multiclass", InputSpec((5,), "int64", vocabulary_size=9), 3)

    class Mean(nn.Embedding):
        def forward(self, inputs):
            return super().forward(inputs).mean(dim=1)

    model = Mean(9, 3)
    graph = onnx.load(saved(tmp_path, model, tokens)).graph
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }
    assert shapes == {"inputs": ["batch", "time"], "logits": ["batch", 3]}


def test_the_file_is_valid_and_of_a_version_that_many_read_with_small_weights_in_it_and_large_ones_beside_it(tmp_path):
    model = nn.Linear(4, 3)
    program = program_of(model, FEATURES, "mine")
    path = tmp_path / "model.onnx"
    onnx_file.save(program, path, ["logits"], "mine")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert [(opset.domain, opset.version) for opset in graph.opset_import if opset.domain == ""] == [("", 18)]
    onnx_file.save(program, path, ["logits"], "mine", most_bytes=10)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    inputs = torch.randn(2, 4)
    torch.testing.assert_close(ask_onnx(path, inputs, ["logits"]), model(inputs), rtol=0, atol=1e-6)


def test_names_may_be_korean(tmp_path):
    inputs = {"왼쪽": InputSpec((3,)), "오른쪽": InputSpec((3,))}

    class Two(nn.Module):
        def forward(self, inputs):
            return inputs["왼쪽"] - inputs["오른쪽"]

    program = program_of(Two(), Task("regression", inputs, 3), "mine")
    onnx_file.save(program, tmp_path / "model.onnx", ["값"], "mine")
    given = {"왼쪽": torch.ones(2, 3), "오른쪽": torch.zeros(2, 3)}
    assert torch.equal(ask_onnx(tmp_path / "model.onnx", given, ["값"]), torch.ones(2, 3))


def test_an_operation_that_onnx_lacks_is_named(tmp_path):
    class Bessel(nn.Module):
        def forward(self, inputs):
            return torch.special.bessel_j0(inputs)[:, :3]

    with pytest.raises(ConfigError) as caught:
        saved(tmp_path, Bessel())
    text = str(caught.value)
    assert text.startswith("model.name = 'mine': ONNX cannot hold it (") and "bessel_j0" in text
    assert text.endswith("). --format torch can, and --format safetensors keeps its weights") and "\n" not in text
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name))
    with pytest.raises(MachineError) as caught:
        onnx_file.require_packages()
    assert str(caught.value) == (
        '--format onnx needs onnx, onnxscript, onnxruntime, which are not installed: pip install "dltrain[export]"'
    )
