"""Outputs of a model in the words of a person."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dltrain.data import IGNORED, InputSpec, Task
from dltrain.losses import CTCLoss, HeadsLoss, MeanLoss
from dltrain.prediction.answers import Answers, rounded

SPEC = InputSpec((3,))
LOSS = MeanLoss(torch.nn.functional.mse_loss)


def plain(columns):
    return {name: cells.tolist() for name, cells in columns.items()}


def test_of_two_classes_the_second_is_a_yes():
    answers = Answers(Task("binary", SPEC, 1, ("아니오", "예")), LOSS)
    found = plain(answers.of(torch.tensor([[2.0], [-1.0], [0.0], [1e-9], [40.0]])))
    assert found["prediction"] == ["예", "아니오", "아니오", "예", "예"]  # as the metrics have it: above 0
    assert found["probability: 예"] == [0.880797, 0.268941, 0.5, 0.5, 1.0]
    assert found["probability: 아니오"] == [0.119203, 0.731059, 0.5, 0.5, 0.0]
    assert found["probability"] == [0.880797, 0.731059, 0.5, 0.5, 1.0]
    assert plain(answers.true(torch.tensor([[1.0], [0.0]]))) == {"true": ["예", "아니오"]}
    assert list(answers.columns.items())[:2] == [("prediction", False), ("probability", True)]


def test_many_classes_are_shown_where_they_are_asked_for():
    names = tuple(f"c{place}" for place in range(21))
    outputs = torch.arange(21.0)[None]
    few = Answers(Task("multiclass", SPEC, 21, names), LOSS)
    assert list(few.columns) == ["prediction", "probability"] == list(few.of(outputs))
    every = Answers(Task("multiclass", SPEC, 21, names), LOSS, show_all=True)
    found = plain(every.of(outputs))
    assert found["prediction"] == ["c20"] and len(found) == 23
    assert sum(found[f"probability: {name}"][0] for name in names) == pytest.approx(1, abs=1e-5)
    none = Answers(Task("multiclass", SPEC, 3), LOSS, show_all=False)
    assert plain(none.of(torch.tensor([[0.0, 1, 0]]))) == {"prediction": ["1"], "probability": [0.576117]}
    assert plain(none.true(torch.tensor([[0.1, 0.2, 0.7]]))) == {"true": ["2"]}  # shares of classes


def test_labels_are_joined_and_have_a_column_each():
    answers = Answers(Task("multilabel", SPEC, 3, ("맑음", "비", "바람")), LOSS)
    found = plain(answers.of(torch.tensor([[1.0, -1, 3], [-1, -1, -1]])))
    assert found["prediction"] == ["맑음, 바람", ""]
    assert found["probability: 비"] == [0.268941, 0.268941]
    assert plain(answers.true(torch.tensor([[0.0, 1, 1], [0, 0, 0]]))) == {"true": ["비, 바람", ""]}


def test_values_are_in_the_unit_of_the_target():
    task = Task("regression", SPEC, 1, target_shift=(1e9,), target_scale=(250.0,))
    assert plain(Answers(task, LOSS).of(torch.tensor([[0.1], [-2.0]]))) == {"prediction": [1000000025.0, 999999500.0]}
    counted = MeanLoss(torch.nn.functional.mse_loss, link=torch.exp)
    found = plain(Answers(Task("regression", SPEC, 1), counted).of(torch.tensor([[0.0], [math.log(0.1)]])))
    assert found["prediction"] == pytest.approx([1.0, 0.1], rel=1e-7)
    several = Answers(Task("regression", SPEC, 2), LOSS, names=["키", "무게"])
    assert plain(several.of(torch.tensor([[0.1, 2.0]]))) == {"prediction: 키": [0.1], "prediction: 무게": [2.0]}
    assert plain(several.true(torch.tensor([[1.0, 2.0]]))) == {"true: 키": [1.0], "true: 무게": [2.0]}
    assert list(Answers(Task("regression", SPEC, 2), LOSS).columns) == ["prediction: 1", "prediction: 2"]


@pytest.mark.parametrize(("decimals", "size"), [(0, 5e5), (1, 50), (2, 4000), (4, 1), (6, 0.01)])
def test_what_is_true_is_told_as_the_data_say_it(decimals, size):
    cells = np.round(np.random.default_rng(0).normal(size, size, 500), decimals)
    for shift, scale in ((0.0, 1.0), (float(cells.mean()), float(cells.std())), (-size, 3 * size)):
        scaled = ((cells.astype(np.float32) - np.float32(shift)) / np.float32(scale))[:, None]
        of_scale = {"target_shift": (shift,), "target_scale": (scale,)} if scale != 1.0 else {}
        told = Answers(Task("regression", SPEC, 1, **of_scale), LOSS).true(torch.from_numpy(scaled))
        assert told["true"].tolist() == cells.tolist()


def test_several_targets_have_their_names_before():
    heads = {"값": Task("regression", SPEC, 1), "종류": Task("multiclass", SPEC, 2, ("a", "b"))}
    task = Task("several", SPEC, 3, heads=heads)
    answers = Answers(task, HeadsLoss(task, dict.fromkeys(heads, LOSS), {}))
    found = plain(answers.of(torch.tensor([[5.0, 0.0, 1.0]])))
    assert found["값: prediction"] == [5.0] and found["종류: prediction"] == ["b"]
    assert list(found) == list(answers.columns)
    assert list(answers.truths) == ["값: true", "종류: true"]


def test_labels_of_steps_are_joined_by_spaces():
    task = Task("sequence_labels", SPEC, 3, ("_", "명사", "동사"), per_step=True)
    steps = torch.nn.functional.one_hot(torch.tensor([[1, 1, 0, 2, 2, 1]]), 3).float()
    assert plain(Answers(task, LOSS).of(steps)) == {"prediction": ["명사 명사 _ 동사 동사 명사"]}
    targets = torch.tensor([[1, 2, IGNORED]])
    assert plain(Answers(task, LOSS).true(targets)) == {"true": ["명사 동사"]}
    spelled = Answers(task, CTCLoss(0, False)).of(steps)
    assert plain(spelled) == {"prediction": ["명사 동사 명사"]}


def test_what_is_no_number_is_nothing():
    answers = Answers(Task("multiclass", SPEC, 2, ("a", "b")), LOSS)
    found = answers.of(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]))
    assert found["prediction"].tolist() == ["b", None] and np.isnan(found["probability"][1])


@pytest.mark.parametrize(
    ("value", "expected"), [(0.123456789, 0.123457), (1e-9, 1e-9), (0.0, 0.0), (123456.7, 123457.0), (-0.5, -0.5)]
)
def test_digits_that_say_something(value, expected):
    assert rounded(np.array([value]), 6).tolist() == [expected]


def test_what_cannot_be_rounded_stays():
    assert np.array_equal(rounded(np.array([np.nan, np.inf, -np.inf]), 6), [np.nan, np.inf, -np.inf], equal_nan=True)


def test_small_rates_beside_a_large_scale_keep_their_digits():
    """Counts with a few very large ones: the rate of a Poisson regression is not what its scaled target can tell."""
    from training import settings_of

    from dltrain import registry

    task = Task("regression", SPEC, 1, target_shift=(2147.0,), target_scale=(20591.0,))
    answers = Answers(task, registry.build("loss", settings_of("loss", "poisson"), task=task))
    outputs = torch.tensor([[math.log(17.5387177)], [math.log(0.0627079)], [math.log(1e-5)], [12.0]])
    found = answers.of(outputs)["prediction"]
    assert found == pytest.approx(outputs.double().exp().flatten().numpy(), rel=1e-7)
