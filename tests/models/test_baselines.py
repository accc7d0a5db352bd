"""Baselines agree with scikit-learn, which fits them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from sklearn import linear_model
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError, DataError

VALUES = Task("regression", InputSpec((5,)), 2)
ESTIMATORS = {
    "linear_regression": ({}, linear_model.LinearRegression()),
    "ridge": ({"alpha": 3.0}, linear_model.Ridge(alpha=3.0)),
    "lasso": ({"alpha": 0.1}, linear_model.Lasso(alpha=0.1)),
}


def build(name: str, task: Task, **changes):
    return registry.build("model", settings_of("model", name, **changes), task=task)


@pytest.fixture
def rows() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(80, 5)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("num_targets", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_regression_predicts_as_scikit_learn_does(name, num_targets, weighted, rows):
    changes, estimator = ESTIMATORS[name]
    targets = (rows @ torch.randn(5, num_targets) + 0.3 * torch.randn(80, num_targets) + 2).float()
    weights = torch.rand(80) * 2 if weighted else None
    model = build(name, Task("regression", InputSpec((5,)), num_targets), **changes)
    model.fit(rows, targets, weights)
    estimator.fit(rows.numpy(), targets.numpy(), sample_weight=None if weights is None else weights.numpy())
    expected = torch.from_numpy(estimator.predict(rows.numpy())).reshape(80, num_targets).float()
    torch.testing.assert_close(model(rows), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2), (1, 2, 3)], ids=["all", "two of four", "three of four"])
@pytest.mark.parametrize("weighted", [False, True])
def test_logits_of_classes_give_scikit_learns_shares(classes, weighted, rows):
    num_classes = 3 if classes == (0, 1, 2) else 4
    targets = torch.tensor(classes)[(rows @ torch.randn(5, len(classes))).argmax(dim=1)]
    weights = torch.rand(80) * 2 if weighted else None
    model = build("logistic_regression", Task("multiclass", InputSpec((5,)), num_classes))
    model.fit(rows, targets, weights)
    reference = linear_model.LogisticRegression(max_iter=1000)
    reference.fit(rows.double().numpy(), targets.numpy(), sample_weight=None if weights is None else weights.numpy())
    expected = np.zeros((80, num_classes))
    expected[:, reference.classes_] = reference.predict_proba(rows.double().numpy())
    torch.testing.assert_close(model(rows).softmax(dim=1), torch.from_numpy(expected).float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("kind", "size"), [("binary", 1), ("multilabel", 3)])
def test_each_label_has_a_logistic_regression_of_its_own(kind, size, rows):
    targets = ((rows @ torch.randn(5, size)) > 0).float()
    model = build("logistic_regression", Task(kind, InputSpec((5,)), size))
    model.fit(rows, targets, None)
    for label in range(size):
        reference = linear_model.LogisticRegression(max_iter=1000).fit(rows.double().numpy(), targets[:, label].numpy())
        expected = torch.from_numpy(reference.decision_function(rows.double().numpy())).float()
        torch.testing.assert_close(model(rows)[:, label], expected, rtol=1e-3, atol=1e-3)


def test_training_samples_of_one_class_are_an_error(rows):
    model = build("logistic_regression", Task("binary", InputSpec((5,)), 1))
    with pytest.raises(DataError, match=r"^model\.name = 'logistic_regression': all training samples are of one class"):
        model.fit(rows, torch.ones(80, 1), None)


def test_a_solver_that_ends_early_is_told(rows, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("dltrain"), "propagate", True)
    model = build("logistic_regression", Task("multiclass", InputSpec((5,)), 3), max_iterations=1)
    with caplog.at_level(logging.WARNING, logger="dltrain"):
        model.fit(rows, torch.arange(80) % 3, None)
    assert caplog.messages and caplog.messages[0].startswith("scikit-learn: ")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("linear_regression", Task("binary", InputSpec((5,)), 1)),
        ("logistic_regression", VALUES),
        ("ridge", Task("regression", InputSpec((5,), categories=(3,)), 1)),
    ],
)
def test_data_of_another_kind_are_refused(name, task):
    with pytest.raises(ConfigError, match=rf"^model\.name = '{name}': it "):
        build(name, task)
