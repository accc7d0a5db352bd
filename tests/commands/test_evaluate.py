"""Figures of a trained model, as tables and as JSON."""

from __future__ import annotations

import csv
import hashlib
import json
import re

import numpy as np
import pytest
import torch
from commandline import start
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from dltrain import cli
from dltrain.checkpoint import CheckpointStore
from dltrain.evaluation import evaluating

# Pictures take most of the time of an evaluation.
PLAIN = ("evaluate", "iris", "--no-pictures")
QUICK = ("~callbacks.tensorboard", "report=false", "run_dir=run")


def figures(answer):
    assert answer.code == 0, answer.err
    assert answer.err == ""
    return json.loads(answer.out)


def test_the_tables(runs, dltrain):
    answer = dltrain(*PLAIN)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"{runs[0].name}: 30 samples of test\n")
    for word in ("accuracy", "f1", "true class in rows, predicted in columns", "setosa", "versicolor", "virginica"):
        assert word in answer.out
    assert (runs[0] / "evaluation.json").exists()


def test_data_that_is_not_split_says_so(runs, dltrain):
    assert "11 samples of validation (the training data)" in dltrain("evaluate", "last").out


def test_json_is_what_the_file_holds_and_the_training_saw(runs, dltrain):
    evaluation = figures(dltrain(*PLAIN, "--json"))
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
    last = figures(dltrain(*PLAIN, "--json", "--split", "validation", "--checkpoint", "last"))
    assert last["figures"]["loss"] == pytest.approx(rows[-1]["val/loss"])
    result = json.loads((runs[0] / "result.json").read_text())
    assert last["checkpoint"] == f"step-{rows[-1]['step']:08d}"
    best = figures(dltrain(*PLAIN, "--json", "--split", "validation"))
    assert best["figures"]["loss"] == pytest.approx(min(row["val/loss"] for row in rows))
    assert best["checkpoint"] == result["best"]["checkpoint"]
    train = figures(dltrain(*PLAIN, "--json", "--split", "train"))
    assert train["samples"] == 90


def test_a_split_that_the_data_has_not_is_told(runs, dltrain):
    answer = dltrain("evaluate", "last", "--split", "test")
    assert answer.code == 2
    assert "--split test: this data has none. There is: train, validation" in answer.err
    answer = dltrain("evaluate", "last", "--split", "tset")
    assert answer.code == 2 and "invalid choice: 'tset'" in answer.err


# --- how sure the figures are -----------------------------------------------------------------------------


def test_figures_have_intervals(runs, dltrain):
    evaluation = figures(dltrain(*PLAIN, "--json"))
    assert evaluation["confidence"] == 0.95 and evaluation["resamples"] == 1000
    assert evaluation["intervals"].keys() == evaluation["figures"].keys()
    low, high = evaluation["intervals"]["accuracy"]
    value = evaluation["figures"]["accuracy"]
    assert 0 <= low <= value <= high <= 1
    out = dltrain(*PLAIN).out
    assert f"│ accuracy  │ {value:.4f}  [{low:.4f}, {high:.4f}] │" in out
    assert "in brackets: 95 % intervals, by the bootstrap with 1,000 resamples" in out


def test_how_many_draws_and_how_sure(runs, dltrain):
    evaluation = figures(dltrain(*PLAIN, "--json", "--resamples", "150", "--confidence", "0.5"))
    assert evaluation["confidence"] == 0.5 and evaluation["resamples"] == 150
    out = dltrain(*PLAIN, "--resamples", 150, "--confidence", 0.5).out
    assert "50 % intervals, by the bootstrap with 150 resamples" in out
    evaluation = figures(dltrain(*PLAIN, "--json", "--resamples", "0"))
    assert "intervals" not in evaluation and "resamples" not in evaluation
    assert "in brackets" not in dltrain(*PLAIN, "--resamples", 0).out


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--resamples", "-1", "--resamples -1: give a number from 100 to 100,000, or 0 for no intervals"),
        ("--resamples", "99", "give a number from 100 to 100,000, or 0 for no intervals"),
        ("--resamples", "1000000", "give a number from 100 to 100,000, or 0 for no intervals"),
        ("--confidence", "95", "--confidence 95: give a share between 0 and 1, such as 0.95"),
        ("--confidence", "0", "give a share between 0 and 1, such as 0.95"),
        ("--worst", "0", "--worst 0: give a number from 1 to 1,000"),
        ("--worst", "ten", "invalid int value: 'ten'"),
    ],
)
def test_flags_with_values_that_they_cannot_have(flag, value, expected, runs, dltrain):
    answer = dltrain(*PLAIN, flag, value)
    assert answer.code == 2 and answer.out == ""
    assert expected in answer.err


def test_the_help_says_the_defaults(capsys):
    assert cli.run(["evaluate", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"draws of the bootstrap that gives intervals ({evaluating.RESAMPLES}); 0: none" in text
    assert f"of the draws that an interval holds ({evaluating.CONFIDENCE})" in text


# --- classes, calibration, pictures -----------------------------------------------------------------------


def test_classes_and_calibration_are_told(runs, dltrain):
    out = dltrain(*PLAIN).out
    assert "┃ class      ┃ precision ┃ recall ┃     f1 ┃ support ┃  auroc ┃ average precision ┃" in out
    assert "calibration: expected error 0." in out and "Brier score 0." in out
    evaluation = figures(dltrain(*PLAIN, "--json"))
    assert [row["name"] for row in evaluation["classes"]] == ["setosa", "versicolor", "virginica"]
    assert sum(one["count"] for one in evaluation["calibration"]["bins"]) == 30


def test_pictures_are_drawn_anew_each_time(runs, dltrain):
    answer = dltrain("evaluate", "iris", "--resamples", 0, "--worst", 2)
    folder = runs[0] / "evaluation"
    drawn = ["calibration.svg", "confusion_matrix.png", "precision_recall.svg", "roc.svg"]
    assert sorted(path.name for path in folder.iterdir()) == [*drawn, "worst_errors.csv"]
    assert "evaluation: confusion_matrix.png, calibration.svg, precision_recall.svg, roc.svg, worst_" in answer.out
    dltrain("evaluate", "iris", "--resamples", 0, "--json")
    assert sorted(path.name for path in folder.iterdir()) == drawn
    answer = dltrain(*PLAIN)
    assert list(folder.iterdir()) == [] and answer.out.endswith("evaluation.json\n")


def test_a_link_in_place_of_the_folder_is_not_followed(runs, dltrain, work):
    (work / "elsewhere").mkdir()
    (work / "elsewhere" / "mine.svg").touch()
    (runs[0] / "evaluation").symlink_to(work / "elsewhere")
    answer = dltrain("evaluate", "iris")
    assert answer.code == 5 and "is a link to" in answer.err
    assert (work / "elsewhere" / "mine.svg").exists()


def test_language_has_a_perplexity_and_no_table_of_classes(runs, dltrain):
    evaluation = figures(dltrain("evaluate", "last", "--json", "--baselines", "--no-pictures"))
    low, high = evaluation["intervals"]["perplexity"]
    assert low <= evaluation["figures"]["perplexity"] <= high
    assert "classes" not in evaluation and "confusion" not in evaluation
    (unigram,) = evaluation["baselines"]
    assert unigram["name"] == "unigram" and unigram["difference"]["perplexity"][0] < 0


# --- simple guesses, the worst errors ---------------------------------------------------------------------


def test_baselines_stand_beside_the_model(runs, dltrain):
    answer = dltrain(*PLAIN, "--baselines")
    assert answer.code == 0, answer.err
    lines = [line for line in answer.out.splitlines() if "majority" in line]
    assert re.fullmatch(r"│ +│ majority +│ 0.3333  \[0.\d{4}, 0.\d{4}\] │ [+-]0.\d{4}  \[.*\] │", lines[0])
    evaluation = json.loads((runs[0] / "evaluation.json").read_text())
    guess, linear = evaluation["baselines"]
    assert guess["name"] == "majority" and linear["name"] == "logistic regression"
    assert guess["figures"]["accuracy"] == pytest.approx(1 / 3)
    assert guess["difference"]["accuracy"][0] == pytest.approx(evaluation["figures"]["accuracy"] - 1 / 3)


def test_the_worst_errors_are_listed(runs, dltrain):
    answer = dltrain(*PLAIN, "--worst", 4)
    assert "the 4 largest losses" in answer.out
    with (runs[0] / "evaluation" / "worst_errors.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and list(rows[0])[:5] == ["index", "true", "predicted", "probability", "loss"]
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    answer = dltrain(*PLAIN, "--worst", 1000, "--json")
    with (runs[0] / "evaluation" / "worst_errors.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert sum(float(row["loss"]) for row in rows) / 30 == pytest.approx(figures(answer)["figures"]["loss"], rel=1e-5)


def test_the_worst_images_are_shown(dltrain, work):
    assert dltrain("data=digits", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1", *QUICK).code == 0
    answer = dltrain("evaluate", "run", "--worst", 3, "--resamples", 0, "--no-pictures")
    assert "worst_errors.csv, worst_errors.png" in answer.out
    with Image.open(work / "run" / "evaluation" / "worst_errors.png") as picture:
        assert picture.width > 100


def test_of_many_classes_the_worst_and_the_best_are_told(dltrain, work):
    generator = np.random.default_rng(0)
    rows = [f"{kind + generator.normal(0, 0.7):.3f},[{kind}]" for kind in range(25) for _ in range(12)]
    (work / "table.csv").write_text("\n".join(["x,kind", *rows]) + "\n")
    words = ("data=csv", "data.path=table.csv", "data.target=kind", "model=mlp", "trainer.max_epochs=3")
    assert dltrain(*words, *QUICK).code == 0
    out = dltrain("evaluate", "run", "--resamples", 0, "--no-pictures").out
    assert "the 5 worst and the 5 best of 25 classes by F1" in out
    assert len(re.findall(r"│ \[\d+\] ", out)) == 10  # whose names are no markup
    assert "true class in rows" not in out


def test_values_have_residuals_and_coefficients(dltrain, work):
    assert dltrain("data=diabetes", "model=linear_regression", *QUICK).code == 0
    answer = dltrain("evaluate", "run", "--baselines")
    assert "errors, predicted - true: mean " in answer.out and "nine in ten from -" in answer.out
    assert "what each output adds for one more of a feature, in the data's own units" in answer.out
    evaluation = json.loads((work / "run" / "evaluation.json").read_text())
    assert {"median_absolute_error", "max_error"} <= set(evaluation["figures"])
    assert [one["name"] for one in evaluation["baselines"]] == ["mean", "ridge regression"]
    assert "(intercept)" in evaluation["coefficients"]["output"]
    assert (work / "run" / "evaluation" / "residuals.svg").exists()


# --- averages of checkpoints ------------------------------------------------------------------------------

SEVERAL = ("data=iris", "model.hidden=[6]", "trainer.max_epochs=6", "callbacks.checkpoint.min_seconds=0", *QUICK)


def test_the_average_of_checkpoints_is_that_of_their_weights(dltrain, work):
    assert dltrain(*SEVERAL, "callbacks.checkpoint.keep_last=4", "optimizer=adam", "optimizer.lr=0.1").code == 0
    store = CheckpointStore(work / "run" / "checkpoints")
    names = [name for name in store.names() if name.startswith("step-")]
    assert len(names) == 4
    for word, taken in (("average", names), ("average:4", names), ("average:2", names[-2:])):
        evaluation = figures(dltrain("evaluate", "run", "--json", "--no-pictures", "--checkpoint", word))
        assert evaluation["checkpoint"] == f"average of {', '.join(taken)}"
        models = [store.load(name)["model"] for name in taken]
        mean = {name: torch.stack([model[name].double() for model in models]).mean(0).float() for name in models[0]}
        store.save("step-99999999", {"progress": {}, "model": mean, "callbacks": {}})
        of_the_mean = figures(dltrain("evaluate", "run", "--json", "--no-pictures", "--checkpoint", "step-99999999"))
        store.remove("step-99999999")
        assert evaluation["figures"] == pytest.approx(of_the_mean["figures"], rel=1e-6)
    last = figures(dltrain("evaluate", "run", "--json", "--no-pictures", "--checkpoint", "last"))
    assert evaluation["figures"] != last["figures"]


def test_an_average_of_batch_statistics_is_warned_of(dltrain, work):
    assert dltrain(*SEVERAL, "model.norm=batch", "callbacks.checkpoint.keep_every_epochs=2").code == 0
    answer = dltrain("evaluate", "run", "--json", "--no-pictures", "--checkpoint", "average")
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
    answer = dltrain(*PLAIN, "--checkpoint", word)
    assert answer.code == 4 and answer.out == ""
    assert f"--checkpoint {word}: {expected}" in answer.err and "keeps 1 (step-000000" in answer.err
    assert f"callbacks.checkpoint.keep_last={5 if word == 'average' else 7}" in answer.err


@pytest.mark.parametrize("word", ["average:", "average:1", "average:0", "average:-2", "average:two", "average:²"])
def test_an_average_of_what_is_no_number_is_refused(word, runs, dltrain):
    answer = dltrain(*PLAIN, "--checkpoint", word)
    assert answer.code == 2
    assert f"--checkpoint {word}: give average for all checkpoints that are kept, or average:N" in answer.err


# --- what goes wrong on the way ---------------------------------------------------------------------------


def test_outputs_that_are_no_number_are_told(runs, dltrain):
    folder = runs[0] / "checkpoints"
    described = folder / f"{json.loads((folder / 'best.json').read_text())['checkpoint']}.json"
    weights = described.with_suffix(".safetensors")
    with safe_open(weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        metadata = file.metadata()
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
    save_file(tensors, weights, metadata)
    content = weights.read_bytes()
    known = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    described.write_text(json.dumps(json.loads(described.read_text()) | known))
    answer = dltrain(*PLAIN)
    assert answer.code == 0
    assert answer.err == (
        "warning: the model gives outputs that are no number (NaN): only the loss tells, the other figures do not\n"
    )


def test_figures_are_told_where_they_cannot_be_kept(runs, dltrain):
    (runs[0] / "evaluation" / "old.svg").mkdir(parents=True)  # in the place of a picture
    answer = dltrain(*PLAIN)
    assert answer.code == 5 and "accuracy" in answer.out
    assert answer.err == f"error: {runs[0]}/evaluation/old.svg cannot be removed: Is a directory\n"


@pytest.mark.slow
@pytest.mark.parametrize("verb", [("evaluate", "iris", "--no-pictures"), ("summary", "data=iris")])
def test_a_reader_that_has_seen_enough_takes_nothing_away(verb, runs, work):
    with start(*verb, cwd=work) as process:
        process.stdout.close()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert (runs[0] / "evaluation.json").exists() == (verb[0] == "evaluate")
