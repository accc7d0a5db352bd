"""Figures of single classes, and curves, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from dltrain import figures
from dltrain.evaluation import classification
from dltrain.evaluation.classification import Ranked

SIZE, CLASSES = 400, 4


@pytest.fixture(params=["all different", "many equal"])
def scores(request):
    """(M, K) logits, and (M,) classes that they meet more often than by chance."""
    generator = np.random.default_rng(0)
    true = generator.integers(CLASSES, size=SIZE)
    logits = generator.normal(size=(SIZE, CLASSES)) + 1.5 * np.eye(CLASSES)[true]
    return (logits.round() if request.param == "many equal" else logits).astype(np.float32), true


def test_areas_and_average_precision(scores):
    logits, true = scores
    chances = classification.chances(logits)
    assert chances.sum(axis=1) == pytest.approx(1)
    for place in range(CLASSES):
        ranked = Ranked.of(chances[:, place], true == place)
        assert ranked.auroc == pytest.approx(sk.roc_auc_score(true == place, chances[:, place]))
        assert ranked.average_precision == pytest.approx(sk.average_precision_score(true == place, chances[:, place]))


def test_the_curves_are_those_of_scikit_learn(scores):
    logits, true = scores
    ranked = Ranked.of(logits[:, 0], true == 0)
    false_rates, rates, _ = sk.roc_curve(true == 0, logits[:, 0], drop_intermediate=False)
    assert ranked.roc == pytest.approx(np.stack([false_rates, rates], axis=1))
    precision, recall, _ = sk.precision_recall_curve(true == 0, logits[:, 0])
    assert ranked.precision_recall[1:] == pytest.approx(np.stack([recall, precision], axis=1)[::-1][1:])


def test_the_ranking_of_many_weightings_gives_the_area_of_each(scores):
    logits, true = scores
    weights = np.random.default_rng(1).integers(4, size=(5, SIZE)).astype(float)
    weights[3] = 0
    weights[4] = true == 0  # nothing of the others
    areas = figures.Ranking(logits[:, 0].astype(float), true == 0).auroc(weights)
    for area, weight in zip(areas[:3], weights[:3], strict=True):
        assert area == pytest.approx(sk.roc_auc_score(true == 0, logits[:, 0], sample_weight=weight))
    assert np.isnan(areas[3:]).all()


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_of_one_kind_alone_there_is_no_area(positive):
    ranked = Ranked.of(np.array([0.1, 0.2]), np.array(positive))
    assert not ranked.usable and math.isnan(ranked.auroc)
    assert math.isnan(ranked.average_precision) == (not positive[0])
    assert classification.curves([ranked], ["a"]) == {"roc": {}, "precision_recall": {}}


def test_the_table_of_classes(scores):
    logits, true = scores
    said = logits.argmax(axis=1)
    confusion = classification.confusion_of(true, said, CLASSES)
    assert (confusion == sk.confusion_matrix(true, said)).all()
    chances = classification.chances(logits)
    rows = classification.table(
        confusion, list("abcd"), [Ranked.of(chances[:, place], true == place) for place in range(CLASSES)]
    )
    expected = sk.precision_recall_fscore_support(true, said)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in rows] == pytest.approx(values.tolist())
    assert [row["name"] for row in rows] == list("abcd")
    macro = sk.roc_auc_score(true, chances, multi_class="ovr", average="macro")
    assert np.mean([row["auroc"] for row in rows]) == pytest.approx(macro)


def test_the_table_of_labels():
    generator = np.random.default_rng(0)
    true = generator.random((50, 3)) > 0.6
    scores = generator.random((50, 3)) + 0.3 * true
    said = scores > 0.6
    ranked = [Ranked.of(scores[:, place], true[:, place]) for place in range(3)]
    rows = classification.table_of_labels(true, said, ["x", "y", "z"], ranked)
    expected = sk.precision_recall_fscore_support(true, said)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in rows] == pytest.approx(values.tolist())


def test_a_class_that_is_never_there_and_never_said_counts_0():
    (_, row) = classification.table(np.array([[3.0, 0], [0, 0]]), ["a", "b"], None)
    assert row == {"name": "b", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


# --- what is kept of a curve ------------------------------------------------------------------------------


def test_points_on_a_line_between_others_go():
    steps = np.array([[0, 0], [0, 0.1], [0, 0.5], [0.2, 0.5], [0.3, 0.5], [0.3, 1], [1, 1]])
    assert classification.thinned(steps) == [[0, 0], [0, 0.5], [0.3, 0.5], [0.3, 1], [1, 1]]


def test_a_long_curve_keeps_its_ends_and_its_shape():
    x = np.linspace(0, 1, 5000)
    kept = np.array(classification.thinned(np.stack([x, x**3], axis=1)))
    assert 150 < len(kept) <= classification.POINTS
    assert kept[0].tolist() == [0, 0] and kept[-1].tolist() == [1, 1]
    assert np.abs(np.interp(x, kept[:, 0], kept[:, 1]) - x**3).max() < 1e-3


@pytest.mark.parametrize("points", [[[0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]])
def test_a_curve_of_a_point_or_two_stays(points):
    assert classification.thinned(np.array(points)) == points


def test_of_many_classes_the_largest_have_curves():
    generator = np.random.default_rng(0)
    true = np.repeat(np.arange(30), np.arange(1, 31))
    scores = generator.random((len(true), 30))
    ranked = [Ranked.of(scores[:, place], true == place) for place in range(30)]
    found = classification.curves(ranked, [f"c{place}" for place in range(30)])
    assert list(found["roc"]) == list(found["precision_recall"]) == [f"c{place}" for place in range(10, 30)]


def test_scores_that_are_no_numbers_rank_nothing():
    positive = np.array([True, False, True, False])
    ranked = Ranked.of(np.full(4, np.nan), positive)
    assert math.isnan(ranked.auroc) and math.isnan(ranked.average_precision) and not ranked.usable
    assert classification.curves([ranked], ["a"]) == {"roc": {}, "precision_recall": {}}
    scores = torch.tensor([0.9, float("nan"), 0.8, 0.1])
    assert math.isnan(figures.auroc(scores, torch.from_numpy(positive).float()))
