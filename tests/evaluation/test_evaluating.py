"""All that is known of a model on a split, as plain values."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from evaluations import NAMES, SIZE, TASKS, samples
from sklearn import metrics as sk
from sklearn.neighbors import KNeighborsClassifier
from training import configure

from dltrain import evaluation, run_folder
from dltrain.assembly import build
from dltrain.data import Samples
from dltrain.evaluation import gathering, writing

KEYS = {
    "binary": {"confusion", "classes", "curves", "calibration"},
    "two classes": {"confusion", "classes", "curves", "calibration"},
    "classes": {"confusion", "classes", "curves", "calibration"},
    "many classes": {"confusion", "classes", "curves", "calibration"},
    "labels": {"confusion", "classes", "curves", "calibration"},
    "steps": {"confusion", "classes", "curves", "calibration"},
    "next token": {"calibration"},
    "stream": {"calibration"},
    "answers": {"calibration"},
    "values": {"residuals"},
    "one value": {"residuals"},
    "heads": {"targets"},
}
ALWAYS = {"split", "samples", "figures", "confidence", "resamples", "intervals"}


@pytest.mark.parametrize("name", TASKS)
def test_each_kind_of_task_has_its_keys(name, parts_of):
    found = evaluation.of(parts_of(TASKS[name]), "validation", resamples=50)
    assert set(found) == ALWAYS | KEYS[name]
    assert found["samples"] == SIZE and found["resamples"] == 50 and found["confidence"] == 0.95
    assert json.loads(writing.as_text(found)) == json.loads(run_folder.json_text(found))
    without = {"max_error", "kind/max_error", "sold/max_error", "price/max_error"}
    assert set(found["intervals"]) == set(found["figures"]) - without
    for figure, (low, high) in found["intervals"].items():
        assert low <= found["figures"][figure] <= high


def test_the_same_seed_gives_the_same_intervals(parts_of):
    parts = parts_of(TASKS["classes"])
    one, again, other = (evaluation.of(parts, "validation", resamples=100, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one["figures"] == other["figures"] and one["intervals"] != other["intervals"]


def test_a_larger_confidence_gives_wider_intervals(parts_of):
    parts = parts_of(TASKS["classes"])
    narrow, wide = (evaluation.of(parts, "validation", resamples=500, confidence=c) for c in (0.5, 0.99))
    for name, (low, high) in narrow["intervals"].items():
        assert wide["intervals"][name][0] < low < high < wide["intervals"][name][1]


def test_without_resamples_there_are_no_intervals(parts_of):
    found = evaluation.of(parts_of(TASKS["classes"]), "validation", resamples=0)
    assert set(found) == {"split", "samples", "figures"} | KEYS["classes"]


def test_classes_against_scikit_learn(parts_of):
    source = samples(TASKS["classes"])
    found = evaluation.of(parts_of(TASKS["classes"]), "validation", resamples=10)
    chances, true = source.inputs.softmax(dim=1).numpy(), source.targets.numpy()
    assert [row["name"] for row in found["classes"]] == list(NAMES) == found["confusion"]["classes"]
    for place, row in enumerate(found["classes"]):
        assert row["auroc"] == pytest.approx(sk.roc_auc_score(true == place, chances[:, place]))
        assert row["average_precision"] == pytest.approx(sk.average_precision_score(true == place, chances[:, place]))
    assert found["calibration"]["brier"] == pytest.approx(sk.brier_score_loss(true, chances, scale_by_half=False))
    assert list(found["curves"]["roc"]) == list(NAMES)


@pytest.mark.parametrize("k", [5, 7])
def test_equal_shares_of_votes_rank_as_equal(k, tmp_path):
    """A softmax of their logarithms tells apart what has other numbers of classes without a vote."""
    config, _ = configure(tmp_path, "data=wine", "data.scaling=none", "model=knn", f"model.k={k}")
    parts = build(config)
    train, split = parts.data.train, parts.data.validation
    parts.model.fit(train.inputs, train.targets, None)
    found = evaluation.of(parts, "validation", resamples=0)
    theirs = KNeighborsClassifier(k).fit(train.inputs.numpy(), train.targets.numpy())
    chances, true = theirs.predict_proba(split.inputs.numpy()), split.targets.numpy()
    assert len(np.unique(chances)) > 3
    for place, row in enumerate(found["classes"]):
        assert row["auroc"] == pytest.approx(sk.roc_auc_score(true == place, chances[:, place]))
        assert row["average_precision"] == pytest.approx(sk.average_precision_score(true == place, chances[:, place]))


def test_two_classes_have_the_brier_score_of_yes_and_no(parts_of):
    source = samples(TASKS["two classes"])
    found = evaluation.of(parts_of(TASKS["two classes"]), "validation", resamples=10)
    chance = source.inputs.softmax(dim=1).numpy()[:, 1]
    assert found["calibration"]["brier"] == pytest.approx(sk.brier_score_loss(source.targets.numpy(), chance))


def test_yes_and_no_against_scikit_learn(parts_of):
    source = samples(TASKS["binary"])
    found = evaluation.of(parts_of(TASKS["binary"]), "validation", resamples=10)
    chance, true = source.inputs.sigmoid().numpy()[:, 0], source.targets.numpy()[:, 0]
    no, yes = found["classes"]
    assert no["auroc"] == pytest.approx(yes["auroc"]) and yes["auroc"] == pytest.approx(found["figures"]["auroc"])
    assert no["average_precision"] == pytest.approx(sk.average_precision_score(1 - true, -chance))
    assert yes["average_precision"] == pytest.approx(sk.average_precision_score(true, chance))
    assert found["calibration"]["brier"] == pytest.approx(sk.brier_score_loss(true, chance))
    assert list(found["curves"]["roc"]) == ["예"]


def test_steps_and_labels_against_scikit_learn(parts_of):
    source = samples(TASKS["steps"])
    found = evaluation.of(parts_of(TASKS["steps"]), "validation", resamples=10)
    known = source.targets >= 0
    true, chances = source.targets[known].numpy(), source.inputs[known].softmax(dim=1).numpy()
    for place, row in enumerate(found["classes"]):
        assert row["auroc"] == pytest.approx(sk.roc_auc_score(true == place, chances[:, place]))
        assert row["support"] == (true == place).sum()
    source = samples(TASKS["labels"])
    found = evaluation.of(parts_of(TASKS["labels"]), "validation", resamples=10)
    expected = sk.precision_recall_fscore_support(source.targets.numpy(), source.inputs.numpy() > 0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in found["classes"]] == pytest.approx(values.tolist())
    for place, row in enumerate(found["classes"]):
        area = sk.roc_auc_score(source.targets[:, place].numpy(), source.inputs[:, place].numpy())
        assert row["auroc"] == pytest.approx(area)
    assert found["confusion"]["classes"] == ["no", "yes"]


def test_values_are_told_in_their_own_unit(parts_of):
    task = TASKS["values"]
    source = samples(task)
    found = evaluation.of(parts_of(task), "validation", resamples=10)
    scale, shift = (torch.tensor(part) for part in (task.target_scale, task.target_shift))
    said, true = ((tensor * scale + shift).numpy() for tensor in (source.inputs, source.targets))
    figures = found["figures"]
    assert figures["mae"] == pytest.approx(sk.mean_absolute_error(true, said), rel=1e-5)
    assert figures["median_absolute_error"] == pytest.approx(np.median(np.abs(true - said)), rel=1e-5)
    assert figures["max_error"] == pytest.approx(np.abs(true - said).max(), rel=1e-5)
    assert figures["r2"] == pytest.approx(sk.r2_score(true, said), rel=1e-5)
    assert found["residuals"]["mean"] == pytest.approx((said - true).mean(), rel=1e-4)
    assert found["residuals"]["true"] == pytest.approx(true.ravel().tolist(), rel=1e-5)


def test_each_of_several_targets_has_what_it_would_have_alone(parts_of):
    task = TASKS["heads"]
    found = evaluation.of(parts_of(task), "validation", resamples=20)
    source = samples(task)
    start = 0
    for head, own in task.heads.items():
        inputs = source.inputs[:, start : start + own.output_size]
        start += own.output_size
        alone = evaluation.of(parts_of(own, source=Samples(inputs, source.targets[head])), "validation", resamples=20)
        shared = set(alone) - {"split", "samples", "confidence", "resamples"}
        assert set(found["targets"][head]) == shared
        assert found["targets"][head] == {key: alone[key] for key in shared}
        for name, value in alone["figures"].items():
            assert found["figures"][f"{head}/{name}"] == value
            if name != "max_error":
                assert found["intervals"][f"{head}/{name}"] == alone["intervals"][name]
    assert found["intervals"]["loss"]


def test_a_loss_that_is_no_mean_over_the_samples_has_no_interval(parts_of):
    parts = parts_of(TASKS["classes"])
    plain = parts.loss

    class Rooted(type(plain)):
        def __call__(self, outputs, targets, weights=None):
            return plain(outputs, targets).sqrt() * 3

    object.__setattr__(parts, "loss", Rooted(plain.function))
    found = evaluation.of(parts, "validation", resamples=20)
    assert "loss" not in found["intervals"] and "accuracy" in found["intervals"]


def test_outputs_that_are_no_numbers_are_no_crash(parts_of):
    source = samples(TASKS["classes"])
    source.inputs[5] = math.nan
    found = evaluation.of(parts_of(TASKS["classes"], source=source), "validation", resamples=20)
    assert math.isnan(found["figures"]["loss"])
    assert json.loads(writing.as_text(found))["figures"]["loss"] is None
    assert "loss" not in found["intervals"] and "accuracy" in found["intervals"]


def test_a_single_sample(parts_of):
    for name, task in TASKS.items():
        source = samples(task)
        first = torch.tensor([0])
        targets = source.targets
        one = {n: t[first] for n, t in targets.items()} if isinstance(targets, dict) else targets[first]
        found = evaluation.of(parts_of(task, source=Samples(source.inputs[first], one)), "validation", resamples=20)
        assert found["samples"] == 1, name


def test_what_is_of_a_part_of_the_samples_says_so(parts_of, monkeypatch):
    monkeypatch.setattr(gathering, "MOST_NUMBERS", 300)
    found = evaluation.of(parts_of(TASKS["classes"]), "validation", resamples=20)
    assert found["looked_at_every"] == 2
    source = samples(TASKS["classes"])
    chances, true = source.inputs[::2].softmax(dim=1).numpy(), source.targets[::2].numpy()
    assert found["classes"][0]["auroc"] == pytest.approx(sk.roc_auc_score(true == 0, chances[:, 0]))
    assert found["classes"][0]["support"] == int((source.targets == 0).sum())
