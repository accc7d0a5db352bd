"""Figures of a trained model, as tables and as JSON."""

from __future__ import annotations

import json

import pytest
import torch

from dltrain.checkpoint import CheckpointStore


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


# --- averages of checkpoints ------------------------------------------------------------------------------

SEVERAL = (
    "data=iris", "model.hidden=[6]", "trainer.max_epochs=6", "~callbacks.tensorboard", "run_dir=run",
    "callbacks.checkpoint.min_seconds=0",
)  # fmt: skip


def test_the_average_of_checkpoints_is_that_of_their_weights(dltrain, work):
    assert dltrain(*SEVERAL, "callbacks.checkpoint.keep_last=4", "optimizer=adam", "optimizer.lr=0.1").code == 0
    store = CheckpointStore(work / "run" / "checkpoints")
    names = [name for name in store.names() if name.startswith("step-")]
    assert len(names) == 4
    for word, taken in (("average", names), ("average:4", names), ("average:2", names[-2:])):
        evaluation = figures(dltrain("evaluate", "run", "--json", "--checkpoint", word))
        assert evaluation["checkpoint"] == f"average of {', '.join(taken)}"
        models = [store.load(name)["model"] for name in taken]
        mean = {name: torch.stack([model[name].double() for model in models]).mean(0).float() for name in models[0]}
        store.save("step-99999999", {"progress": {}, "model": mean, "callbacks": {}})
        of_the_mean = figures(dltrain("evaluate", "run", "--json", "--checkpoint", "step-99999999"))
        store.remove("step-99999999")
        assert evaluation["figures"] == pytest.approx(of_the_mean["figures"], rel=1e-6)
    last = figures(dltrain("evaluate", "run", "--json", "--checkpoint", "last"))
    assert evaluation["figures"] != last["figures"]


def test_an_average_of_batch_statistics_is_warned_of(dltrain, work):
    assert dltrain(*SEVERAL, "model.norm=batch", "callbacks.checkpoint.keep_every_epochs=2").code == 0
    answer = dltrain("evaluate", "run", "--json", "--checkpoint", "average")
    assert answer.code == 0 and len(json.loads(answer.out)["checkpoint"].split(",")) == 3
    assert "the statistics of normalisation are averaged like weights" in answer.err
    assert "callbacks=[default,swa] and callbacks.swa.renew_statistics=true" in answer.err


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("average", "that takes 2 states of the training at least"),
        ("average:7", "that takes 7 states of the training at least"),
    ],
)
def test_too_few_checkpoints_have_no_average(word, expected, runs, dltrain):
    answer = dltrain("evaluate", "iris", "--checkpoint", word)
    assert answer.code == 4 and answer.out == ""
    assert f"--checkpoint {word}: {expected}" in answer.err and "keeps 1 (step-000000" in answer.err
    assert f"callbacks.checkpoint.keep_last={5 if word == 'average' else 7}" in answer.err


@pytest.mark.parametrize("word", ["average:", "average:1", "average:0", "average:-2", "average:two", "average:²"])
def test_an_average_of_what_is_no_number_is_refused(word, runs, dltrain):
    answer = dltrain("evaluate", "iris", "--checkpoint", word)
    assert answer.code == 2
    assert f"--checkpoint {word}: give average for all checkpoints that are kept, or average:N" in answer.err
