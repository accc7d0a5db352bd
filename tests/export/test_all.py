"""What holds of every registered model: it can be exported, and what was exported computes the same."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from export.conftest import ask_onnx
from models import conftest as models
from models.conftest import NEEDS_PACKAGE, TASKS, accepts, inputs_of, learned
from torch import nn
from training import settings_of

from dltrain import config_files, registry
from dltrain.data import Tensors
from dltrain.export import onnx_file, torch_program, weights
from dltrain.export.description import output_names
from dltrain.losses import by_head

MODELS = [name for name in config_files.options("model", []) if name not in NEEDS_PACKAGE]
PAIRS = [(name, kind) for name in MODELS for kind in TASKS if accepts(name, kind)]
FIRST = list(dict(reversed(PAIRS)).items())
OF_STEPS = [(name, kind) for name, kind in PAIRS if "token" in kind or "text" in kind or "pairs" in kind]
TEXT = "multiclass of text"
# Each run of the tests has these; the others take a second or two each.
QUICK = [("mlp", "several targets"), ("gru", TEXT)]


def with_ids(pairs):
    return pytest.mark.parametrize(("name", "kind"), pairs, ids=[" on ".join(pair) for pair in pairs])


def test_every_registered_model_is_exported_by_these_tests():
    assert {name for name, _ in FIRST} | set(NEEDS_PACKAGE) == set(registry.names("model"))


@with_ids(QUICK)
def test_it_computes_the_same_in_every_format(name, kind, tmp_path):
    check(name, kind, tmp_path)


@pytest.mark.slow
@with_ids(sorted({*FIRST, *OF_STEPS} - set(QUICK)))
def test_all_others_compute_the_same_in_every_format(name, kind, tmp_path):
    check(name, kind, tmp_path)


@functools.cache
def exported(name: str, kind: str) -> tuple[nn.Module, torch_program.Program]:
    """Returns a model that can answer, and the program of it, which takes the most time of these tests."""
    model = learned(name, kind).eval()
    return model, torch_program.program_of(model, TASKS[kind], name)


def check(name: str, kind: str, folder: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    task = TASKS[kind]
    model, program = exported(name, kind)
    torch_program.save(program, folder / "model.pt2")
    onnx_file.save(program, folder / "model.onnx", output_names(task), name)
    weights.save(model, settings_of("model", name, **models.SMALL.get(name, {})), task, folder)
    loaded = torch_program.load(folder / "model.pt2")
    again = weights.load(folder)
    for count in (1, 7):
        inputs = inputs_of(task, count)
        with torch.no_grad():
            expected = model(inputs)
            given = [loaded(inputs), ask_onnx(folder / "model.onnx", inputs, output_names(task))]
            assert_same(again(inputs), expected, 0)
        for outputs in given:
            assert_same(outputs, by_head(task, expected) if task.heads else expected, 1e-5)


def assert_same(outputs: Tensors, expected: Tensors, tolerance: float) -> None:
    if isinstance(expected, dict):
        assert outputs.keys() == expected.keys()
        for name, tensor in expected.items():
            assert_same(outputs[name], tensor, tolerance)
        return
    largest = expected.abs().flatten(1).amax(dim=1).clamp(min=1)
    assert outputs.shape == expected.shape
    assert ((outputs - expected).abs().flatten(1).amax(dim=1) <= tolerance * largest).all()


@pytest.mark.parametrize("name", ["gru", "textfnn"])
def test_texts_may_have_any_length(name):
    model, program = exported(name, TEXT)
    assert program.axes == {"inputs": (torch_program.Axis("batch"), torch_program.Axis("time"))}
    module = program.exported.module()
    for length in (1, 3, 20):
        tokens = torch.randint(1, 12, (2, length))
        torch.testing.assert_close(module(tokens), model(tokens), rtol=0, atol=1e-6)


def test_a_model_that_needs_so_many_tokens_says_so():
    model, program = exported("text_cnn", TEXT)
    assert program.axes["inputs"][1] == torch_program.Axis("time", shortest=6)
    short = torch.tensor([[3, 4, 0, 0, 0, 0]])  # filled up as preprocessing.json says
    torch.testing.assert_close(program.exported.module()(short), model(short[:, :2]), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lstm", {"bidirectional": True, "layers": 2}),
        ("lstm", {"peepholes": True, "cell_clip": 1.0, "bidirectional": True}),
        ("lstm", {"projection": 8}),
        ("lstm", {"pooling": "mean", "dense": [8]}),
        ("gru", {"reset_after": False, "pooling": "max"}),
        ("rnn", {"activation": "relu", "bidirectional": True, "pooling": "mean"}),
        ("seq2seq", {"cell": "lstm", "attention": False}),
        ("text_cnn", {"widths": [2], "activation": "maxout"}),
        ("textfnn", {"bag": "counts"}),
        ("knn", {"k": 3, "votes": "inverse_rank"}),
        ("knn", {"k": 3, "votes": "inverse_distance"}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_variants_compute_the_same(name, changes, monkeypatch, tmp_path):
    monkeypatch.setitem(models.SMALL, name, {**models.SMALL.get(name, {}), **changes})
    kinds = {"seq2seq": "pairs of sequences", "knn": "multiclass of features"}
    exported.cache_clear()  # which has the model as its file has it
    check(name, kinds.get(name, TEXT), tmp_path)
    exported.cache_clear()
