"""Figures of a trained model, as tables and as JSON."""

from __future__ import annotations

import json

import pytest


def figures(answer):
    assert answer.code == 0, answer.err
    assert answer.err == ""
    return json.loads(answer.out)


def test_the_tables(runs, dltrain):
    answer = dltrain("evaluate", "iris")
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"{runs[0].name}: 30 samples of test\n")
    for word in ("accuracy", "f1", "true class in rows, predicted in columns", "setosa", "versicolor", "virginica"):
        assert word in answer.out
    assert (runs[0] / "evaluation.json").exists()


def test_data_that_is_not_split_says_so(runs, dltrain):
    assert "11 samples of validation (the training data)" in dltrain("evaluate", "last").out


def test_json_is_what_the_file_holds_and_the_training_saw(runs, dltrain):
    evaluation = figures(dltrain("evaluate", "iris", "--json"))
    assert evaluation == json.loads((runs[0] / "evaluation.json").read_text())
    assert evaluation["split"] == "test" and evaluation["samples"] == 30
    confusion = evaluation["confusion"]
    assert confusion["classes"] == ["setosa", "versicolor", "virginica"]
    matrix = confusion["rows_true_columns_predicted"]
    assert [sum(row) for row in matrix] == [10, 10, 10]
    assert sum(matrix[i][i] for i in range(3)) / 30 == pytest.approx(evaluation["figures"]["accuracy"])
    result = json.loads((runs[0] / "result.json").read_text())
    expected = {name.removeprefix("test/"): value for name, value in result["test"].items()}
    assert evaluation["figures"] == pytest.approx(expected)


def test_splits_and_checkpoints(runs, dltrain):
    rows = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    last = figures(dltrain("evaluate", "iris", "--json", "--split", "validation", "--checkpoint", "last"))
    assert last["figures"]["loss"] == pytest.approx(rows[-1]["val/loss"])
    result = json.loads((runs[0] / "result.json").read_text())
    assert last["checkpoint"] == f"step-{rows[-1]['step']:08d}"
    best = figures(dltrain("evaluate", "iris", "--json", "--split", "validation"))
    assert best["figures"]["loss"] == pytest.approx(min(row["val/loss"] for row in rows))
    assert best["checkpoint"] == result["best"]["checkpoint"]
    train = figures(dltrain("evaluate", "iris", "--json", "--split", "train"))
    assert train["samples"] == 90


def test_a_split_that_the_data_has_not_is_told(runs, dltrain):
    answer = dltrain("evaluate", "last", "--split", "test")
    assert answer.code == 2
    assert "--split test: this data has none. There is: train, validation" in answer.err
    answer = dltrain("evaluate", "last", "--split", "tset")
    assert answer.code == 2 and "invalid choice: 'tset'" in answer.err
