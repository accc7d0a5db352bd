"""A run's own split, predicted: the figures are those that evaluation has."""

from __future__ import annotations

import predicting
import pytest

import dltrain as package


@pytest.mark.parametrize("name", predicting.RUNS)
def test_the_predictions_have_the_figures_of_the_evaluation(name, run_of, predict):
    run = package.load(run_of(name))
    split = "test" if any(key.startswith("test/") for key in run.result.get("test") or {}) else "validation"
    expected, rows = run.evaluate(split), predict(run_of(name), "--split", split)
    heads = [column.removesuffix(": true") for column in rows[0] if column.endswith(": true")]
    compared = 0
    for head in heads or [""]:
        for figure, value in predicting.figures(rows, head).items():
            key = f"{head}/{figure}" if head else figure
            if key in expected:
                assert value == pytest.approx(expected[key], rel=1e-6, abs=1e-12)
                compared += 1
    assert compared == len(heads or [""])


def test_rows_stand_in_the_order_of_the_split_with_what_the_model_saw(run_of, new_files, predict):
    lines = (new_files / "평_시험.csv").read_text(encoding="utf-8").splitlines()[1:]
    rows = predict(run_of("reviews"), "--split", "test", "--keep", "all", "--row-numbers")
    assert list(rows[0])[:4] == ["row", "text", "true", "prediction"]
    for number, (row, line) in enumerate(zip(rows, lines, strict=True), 1):
        text, _, label = line.partition(",")
        assert row["row"] == str(number) and row["true"] == label
        assert text.startswith(row["text"].split("<unk>")[0])


def test_a_split_that_is_not_there(run_of, dltrain):
    answer = dltrain("predict", run_of("gate"), "--split", "test")
    assert answer.code == 2
    assert answer.err == "error: --split test: this data has none. There is: train, validation\n"
    answer = dltrain("predict", run_of("gate"), "--split", "validation")
    assert answer.code == 0 and len(predicting.rows_of(answer.out)) == 4
    assert answer.err == "there is no validation split: these are the training data\n"


def test_columns_of_ones_own_split_are_kept_together_or_not_at_all(run_of, dltrain):
    answer = dltrain("predict", run_of("gate"), "--split", "train", "--keep", "all", "--keep", "x1")
    assert answer.code == 2
    assert answer.err == "error: --keep x1: of the run's own data give --keep all, or leave it out\n"
