"""Simple guesses: what they reach, against scikit-learn and by their definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluations import SIZE, TASKS, samples
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from training import configure, settings_of

from dltrain import assembly, evaluation, registry
from dltrain.data import IGNORED, Data, InputSpec, Samples, Task
from dltrain.evaluation import baselines, features

LINEAR = "logistic regression"


def compared(parts, **options):
    found = evaluation.of(parts, "validation", against=parts.data, **{"resamples": 50, **options})
    return {one["name"]: one for one in found["baselines"]}, found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("binary", ["majority", LINEAR]),
        ("two classes", ["majority", LINEAR]),
        ("classes", ["majority", LINEAR]),
        ("labels", ["majority", LINEAR]),
        ("steps", ["majority"]),
        ("next token", ["unigram"]),
        ("stream", ["unigram"]),
        ("answers", ["unigram"]),
        ("values", ["mean", "ridge regression"]),
    ],
)
def test_each_kind_of_task_has_its_guesses(name, expected, parts_of):
    found, whole = compared(parts_of(TASKS[name]))
    assert list(found) == expected
    for one in found.values():
        assert set(one["intervals"]) == set(one["figures"]) - {"auroc"} | ({"auroc"} & set(one["intervals"]))
        assert set(one["figures"]) | {"loss", "max_error"} >= set(whole["figures"])
        for metric, (value, low, high) in one["difference"].items():
            assert value == pytest.approx(whole["figures"][metric] - one["figures"][metric], rel=1e-4, abs=1e-6)
            assert low <= value <= high


def test_the_most_frequent_class_of_the_training(parts_of):
    parts = parts_of(TASKS["classes"])
    train, test = parts.data.train, parts.data.validation
    guess = DummyClassifier().fit(train.inputs, train.targets)
    found, _ = compared(parts)
    assert found["majority"]["figures"]["accuracy"] == pytest.approx(guess.score(test.inputs, test.targets))


def test_logistic_regression_is_that_of_scikit_learn(parts_of):
    parts = parts_of(TASKS["classes"])
    train, test = parts.data.train, parts.data.validation
    scaler = StandardScaler().fit(train.inputs.double())
    fitted = LogisticRegression().fit(scaler.transform(train.inputs.double()), train.targets)
    expected = fitted.score(scaler.transform(test.inputs.double()), test.targets)
    found, _ = compared(parts)
    assert found[LINEAR]["figures"]["accuracy"] == pytest.approx(expected)


def test_ridge_regression_and_the_mean(parts_of):
    task = TASKS["values"]
    parts = parts_of(task)
    scale = np.array(task.target_scale)
    train, test = (
        (source.inputs.double().numpy(), source.targets.double().numpy())
        for source in (parts.data.train, parts.data.validation)
    )
    scaler = StandardScaler().fit(train[0])
    said = Ridge().fit(scaler.transform(train[0]), train[1]).predict(scaler.transform(test[0]))
    found, _ = compared(parts)
    expected = (np.abs(said - test[1]) * scale).mean()
    assert found["ridge regression"]["figures"]["mae"] == pytest.approx(expected, rel=1e-4)
    expected = (np.abs(train[1].mean(axis=0) - test[1]) * scale).mean()
    assert found["mean"]["figures"]["mae"] == pytest.approx(expected, rel=1e-4)


def test_each_token_as_likely_as_it_is_frequent(parts_of):
    parts = parts_of(TASKS["stream"])
    known = [source.targets[source.targets != IGNORED].numpy() for source in (parts.data.train, parts.data.validation)]
    counts = np.bincount(known[0], minlength=9) + 1
    expected = np.exp(-np.log(counts / counts.sum())[known[1]].mean())
    found, _ = compared(parts)
    assert found["unigram"]["figures"]["perplexity"] == pytest.approx(expected, rel=1e-5)


def test_of_several_targets_each_has_its_guesses(parts_of):
    parts = parts_of(TASKS["heads"])
    found = evaluation.of(parts, "validation", resamples=20, against=parts.data)
    names = {head: [one["name"] for one in own["baselines"]] for head, own in found["targets"].items()}
    assert names == {"kind": ["majority", LINEAR], "sold": ["majority", LINEAR], "price": ["mean", "ridge regression"]}
    assert "baselines" not in found


def test_of_many_rows_a_linear_model_learns_from_some_and_says_so(parts_of, monkeypatch):
    monkeypatch.setattr(baselines, "_MOST_ROWS", 120)
    found, _ = compared(parts_of(TASKS["classes"]))
    assert found[LINEAR]["note"] == f"learned from 120 of {SIZE} training samples"
    assert "note" not in found["majority"]


def test_inputs_that_are_too_wide_have_no_linear_model(parts_of, monkeypatch):
    monkeypatch.setattr(baselines, "_MOST_NUMBERS", 100)
    found, _ = compared(parts_of(TASKS["classes"]))
    assert list(found) == ["majority"]


def test_a_class_that_is_alone_in_training_is_no_crash(parts_of):
    parts = parts_of(TASKS["binary"])
    train = replace(parts.data.train, targets=torch.ones(SIZE, 1))
    parts = replace(parts, data=replace(parts.data, train=train))
    found, _ = compared(parts)
    assert list(found) == ["majority"]


def test_outputs_that_are_not_aligned_have_no_guesses(parts_of):
    parts = parts_of(TASKS["steps"], "ctc", zero_infinity=True)
    found = evaluation.of(parts, "validation", resamples=20, against=parts.data)
    assert "baselines" not in found


# --- series -----------------------------------------------------------------------------------------------


def series_parts(tmp_path, **changes):
    path = tmp_path / "series.csv"
    rows = [f"{day},{10 + 3 * day + (day * 7) % 5},{(day * 3) % 4}" for day in range(60)]
    path.write_text("\n".join(["day,a,b", *rows]) + "\n", encoding="utf-8")
    words = {"path": str(path), "window": 4, "horizon": 2, "date": None, "target": ["b", "a"], **changes}
    overrides = [f"data.{name}={'null' if value is None else value}" for name, value in words.items()]
    return assembly.build(configure(tmp_path / "run", "data=series_csv", "model=linear", *overrides)[0])


@pytest.mark.parametrize("scaling", ["standard", "none", "minmax"])
def test_the_last_value_stays(scaling, tmp_path):
    parts = series_parts(tmp_path, scaling=scaling)
    found, _ = compared(parts)
    assert list(found) == ["mean", "last value", "ridge regression"]
    batch = parts.data.validation.head(1000)
    kept, task = parts.data.preprocessing, parts.data.task
    last = batch.inputs[:, -1].numpy() * np.array(kept["scale"]) + np.array(kept["shift"])
    places = [kept["columns"].index(name) for name in ("b", "a", "b", "a")]
    true = batch.targets.numpy()
    if task.target_scale:
        true = true * np.array(task.target_scale) + np.array(task.target_shift)
    expected = np.abs(last[:, places] - true).mean()
    assert found["last value"]["figures"]["mae"] == pytest.approx(expected, rel=1e-4)


def test_where_changes_are_predicted_there_is_none(tmp_path):
    parts = series_parts(tmp_path, differences=True)
    found, _ = compared(parts)
    batch, task = parts.data.validation.head(1000), parts.data.task
    true = batch.targets.numpy()
    if task.target_scale:
        true = true * np.array(task.target_scale) + np.array(task.target_shift)
    assert found["last value"]["figures"]["mae"] == pytest.approx(np.abs(true).mean(), rel=1e-4)


def test_a_column_that_the_model_does_not_see_has_no_last_value(tmp_path):
    found, _ = compared(series_parts(tmp_path, columns=["b"], target=["a"]))
    assert list(found) == ["mean", "ridge regression"]


# --- rows of numbers --------------------------------------------------------------------------------------


def test_a_bag_of_words_is_that_of_scikit_learn():
    task = Task("multiclass", InputSpec((6,), "int64", 8), 2)
    tokens = torch.tensor([[1, 2, 2, 5, 0, 0], [3, 0, 0, 0, 0, 0], [1, 1, 1, 7, 7, 2], [0, 0, 0, 0, 0, 0]])
    rows = features.rows_of(task, tokens)
    counts = np.stack([np.bincount(row, minlength=8) for row in tokens.numpy()])
    counts[:, 0] = 0
    assert (rows.toarray() == counts).all() and features.width(task) == 8
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    assert features.Scaling(task, rows)(rows).toarray() == pytest.approx(expected.toarray())


def test_codes_of_categories_become_columns():
    task = Task("binary", InputSpec((3,), categories=(3, 2)), 1)
    rows = features.rows_of(task, torch.tensor([[0.5, 2.0, 0.0], [1.5, 0.0, 1.0]]))
    assert rows.tolist() == [[0.5, 0, 0, 1, 1, 0], [1.5, 1, 0, 0, 0, 1]]
    assert features.width(task) == 6


def test_named_inputs_stand_side_by_side():
    task = Task("binary", {"a": InputSpec((2,)), "b": InputSpec((1, 2, 2))}, 1)
    inputs = {"a": torch.ones(3, 2), "b": torch.arange(12.0).reshape(3, 1, 2, 2)}
    rows = features.rows_of(task, inputs)
    assert rows.shape == (3, 6) == (3, features.width(task))
    assert rows[1].tolist() == [1, 1, 4, 5, 6, 7]


def test_numbers_beside_tokens_are_sparse_too():
    task = Task("binary", {"a": InputSpec((1,)), "b": InputSpec((2,), "int64", 4)}, 1)
    rows = features.rows_of(task, {"a": torch.tensor([[0.5], [-1.5]]), "b": torch.tensor([[3, 3], [1, 0]])})
    assert rows.toarray().tolist() == [[0.5, 0, 0, 0, 2], [-1.5, 0, 1, 0, 0]]
    assert features.Scaling(task, rows)(rows).toarray().tolist() == [[1, 0, 0, 0, 1], [-1, 0, 1, 0, 0]]


@pytest.mark.parametrize("form", ["sequence", "counts"])
def test_texts_are_told_apart_by_their_words(form, tmp_path):
    lines = ["좋다 영화 배우" if row % 3 else "나쁘다 영화 시간" for row in range(90)]
    path = tmp_path / "texts.csv"
    path.write_text(
        "t,y\n" + "".join(f"{line},{int(row % 3 > 0)}\n" for row, line in enumerate(lines)), encoding="utf-8"
    )
    settings = settings_of(
        "data",
        "text_csv",
        path=str(path),
        text="t",
        target="y",
        tokens="word",
        form=form,
        min_count=1,
        test_fraction=0.2,
    )
    data: Data = registry.build("data", settings)
    found = baselines.of(
        data,
        data.train.split(batch_size=16, seed=None, device="cpu"),
        data.test.split(batch_size=16, seed=None, device="cpu"),
        lambda _: True,
    )
    words = " on a bag of words" if form == "sequence" else ""
    assert [one.name for one in found] == ["majority", f"logistic regression{words}"]
    assert found[1].gathered[""].sums["hits"].mean() == 1


def test_a_sample_that_is_mixed_counts_as_the_larger_class(parts_of):
    source = samples(TASKS["classes"])
    shares = torch.nn.functional.one_hot(source.targets, 4).float() * 0.6 + 0.1
    found, _ = compared(parts_of(TASKS["classes"], source=Samples(source.inputs, shares)))
    plain, _ = compared(parts_of(TASKS["classes"]))
    assert found["majority"]["figures"] == plain["majority"]["figures"]
