"""Layers, shapes and numbers of parameters."""

from __future__ import annotations

import re

import pytest


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        ("data=iris model.hidden=[5]", 4 * 5 + 5 + 5 * 3 + 3),
        ("data=digits model=linear", 64 * 10 + 10),
        ("data=digits model=linear model.bias=false", 640),
        # embedding 12 x 10, LSTM 4 (10 + 128 + 2) 128, output 128 x 12 + 12
        ("data=korean_text model=lstm model.embedding=10 model.hidden=128", 120 + 4 * 140 * 128 + 128 * 12 + 12),
        ("data=korean_text model=rnn model.embedding=10 model.hidden=32", 120 + 44 * 32 + 32 * 12 + 12),
    ],
)
def test_the_number_of_parameters(words, parameters, dltrain, work):
    answer = dltrain("summary", *words.split())
    assert answer.code == 0, answer.err
    assert f"parameters  {parameters:,}\n" in answer.out
    layers = [int(count.replace(",", "")) for count in re.findall(r"│ +([\d,]+) │$", answer.out, re.MULTILINE)]
    assert sum(layers) == parameters
    assert list(work.iterdir()) == []


def test_shapes_task_and_samples(dltrain):
    shown = dltrain("summary", "data=iris", "model.hidden=[5]").out
    assert shown.startswith("mlp for iris\n")
    assert re.search(r"│ Linear +│ +5 │ +25 │", shown)
    assert "task        3 classes from 4 (multiclass)\n" in shown
    assert "samples     90 training, 30 validation, 30 test samples\n" in shown
