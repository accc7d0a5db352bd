"""The evaluation as a part of a report, from what ``evaluation.json`` holds."""

from __future__ import annotations

import pytest
from reading_pages import Page

from dltrain.report import evaluation, page
from dltrain.report.subject import Looking, Subject
from dltrain.run_folder import RunFolder, write_file, write_json


@pytest.fixture
def shown(tmp_path):
    """Returns a function that gives the page of an evaluation that lies in a run's folder."""

    def show(found):
        write_file(tmp_path / "config.yaml", "data: {name: iris}\nmodel: {name: mlp}\n")
        write_json(tmp_path / "evaluation.json", {"split": "test", "samples": 30, "checkpoint": "best-step-9", **found})
        section = evaluation.section(Subject(RunFolder(tmp_path), None, "", Looking()))
        return Page(page.text("t", [], [section]))

    return show


def confusion(counts, names=None):
    names = names or [f"반 {place}" for place in range(len(counts))]
    return {"classes": names, "rows_true_columns_predicted": counts}


def test_figures_have_intervals_where_there_are_some(shown):
    part = shown({"figures": {"loss": 0.5, "accuracy": 0.75}}).parts["Evaluation"]
    assert part.tables[0] == [["metric", "value"], ["loss", "0.5000"], ["accuracy", "0.7500"]]
    assert "30 samples of test, checkpoint best-step-9" in part.text
    found = {"figures": {"loss": 0.5, "f1": None}, "confidence": 0.9, "intervals": {"loss": [0.25, 0.75]}}
    part = shown(found).parts["Evaluation"]
    assert part.tables[0] == [
        ["metric", "value", "90% interval"],
        ["loss", "0.5000", "0.2500 to 0.7500"],
        ["f1", "not a number", ""],
    ]


def test_figures_of_outputs_that_are_no_numbers_are_not_to_be_trusted(shown):
    for loss, is_told in ((None, True), (0.5, False)):
        part = shown({"figures": {"loss": loss, "accuracy": 0.75}}).parts["Evaluation"]
        assert ("outputs that are no number (NaN) or infinite: only the loss tells" in part.text) == is_told


def test_confusions_are_a_map_and_a_list_the_largest_first(shown):
    found = shown({"figures": {}, "confusion": confusion([[8, 2, 0], [0, 5, 5], [1, 0, 9]], ["개", "<b>", "개"])})
    right, wrong = found.figures["evaluation-confusion"]["data"]
    assert right["x"] == right["y"] == ["개", "&lt;b&gt;", "개 (2)"]
    assert right["text"] == [["8", "", ""], ["", "5", ""], ["", "", "9"]]
    assert wrong["text"] == [["", "2", ""], ["", "", "5"], ["1", "", ""]]
    assert wrong["z"][1] == [0, None, pytest.approx(0.5**0.6, abs=1e-5)]
    (table,) = [table for table in found.parts["Evaluation"].tables if table[0][0] == "true class"]
    assert table[1:] == [["<b>", "개", "5", "50.0%"], ["개", "<b>", "2", "20.0%"], ["개", "개", "1", "10.0%"]]


def test_of_very_many_classes_only_the_list_is_shown(shown):
    size = 60
    counts = [[10 if i == j else int(j == i + 1) for j in range(size)] for i in range(size)]
    classes = [{"name": str(i), "precision": 1.0, "recall": 1.0, "f1": i / size, "support": 11} for i in range(size)]
    found = shown({"figures": {}, "confusion": confusion(counts), "classes": classes})
    assert "evaluation-confusion" not in found.figures
    assert "the 15 largest of 59" in found.parts["Evaluation"].text
    (table,) = [table for table in found.parts["Evaluation"].tables if table[0][0] == "class"]
    assert [row[0] for row in table[1:4]] == ["0", "1", "2"] and len(table) == 51
    assert "The 50 of 60 classes with the lowest F1." in found.parts["Evaluation"].text


def test_a_model_without_mistakes_is_said_to_have_none(shown):
    text = shown({"figures": {}, "confusion": confusion([[5, 0], [0, 5]])}).parts["Evaluation"].text
    assert "No sample is taken for another class than its own." in text


def test_curves_and_calibration_are_drawn(shown):
    bins = [
        {"from": 0.0, "to": 0.5, "confidence": None, "accuracy": None, "count": 0},
        {"from": 0.5, "to": 1.0, "confidence": 0.75, "accuracy": 0.5, "count": 30},
    ]
    found = shown(
        {
            "figures": {},
            "classes": [{"name": "꽃", "f1": 0.5, "support": 3, "auroc": 0.875, "average_precision": None}],
            "calibration": {"expected_error": 0.25, "maximum_error": 0.25, "brier": 0.125, "bins": bins},
            "curves": {"roc": {"꽃": [[0, 0], [0, 1], [1, 1]]}, "precision_recall": {"꽃": [[0, 1], [1, 0.5]]}},
        }
    )
    assert found.traces("evaluation-roc")["꽃 (AUROC 0.875)"]["y"] == [0, 1, 1]
    assert found.traces("evaluation-precision-recall")["꽃"]["y"] == [1, 0.5]
    (bar,) = [trace for trace in found.figures["evaluation-calibration"]["data"] if trace["type"] == "bar"]
    assert (bar["x"], bar["y"], bar["width"]) == ([0.75], [0.5], [0.5])
    assert found.parts["Evaluation"].facts["Brier score"] == "0.1250"


def test_residuals_are_drawn_and_told(shown):
    found = shown(
        {
            "figures": {"mae": 1.0},
            "residuals": {
                "true": [1.0, 2.0, None],
                "predicted": [1.5, 1.0, 2.0],
                "mean": -0.25,
                "std": 0.75,
                "quantiles": {"0.5": -0.25},
            },
        }
    )
    points = found.figures["evaluation-residuals-over-true"]["data"][0]
    assert (points["x"], points["y"]) == ([1, 2], [1.5, 1])
    assert found.figures["evaluation-residuals-spread"]["data"][0]["x"] == [0.5, -1]
    assert found.parts["Evaluation"].facts["50% are below"] == "-0.2500"


def test_how_many_of_the_values_are_drawn_is_told(shown):
    found = shown({"figures": {}, "residuals": {"true": [1.0, 2.0], "predicted": [1.5, 1.0], "values": 4128}})
    assert "predicted over true values, 2 of 4,128 values" in found.source
    assert found.figures["evaluation-residuals-spread"]["layout"]["yaxis"]["title"]["text"] == "values"


def test_other_data_and_other_levels_are_told(shown):
    found = {"figures": {"loss": 0.5}, "confidence": 0.995, "intervals": {"loss": [0.25, 0.75]}}
    part = shown({**found, "overrides": ["data.path=my other.csv"]}).parts["Evaluation"]
    assert "30 samples of test of other data ('data.path=my other.csv'), checkpoint best-step-9" in part.text
    assert part.tables[0][0] == ["metric", "value", "99.5% interval"]
    kept = evaluation._completed({"confidence": 0.95}, {"confidence": 0.5, "baselines": [1]})
    assert kept == {"confidence": 0.95}
    assert evaluation._completed({"confidence": 0.5}, {"confidence": 0.5, "baselines": [1]})["baselines"] == [1]


def test_of_very_many_classes_those_with_samples_come_first(shown):
    classes = [{"name": f"rare{n}", "f1": 0.0, "support": 0} for n in range(60)]
    classes += [{"name": f"often{n}", "f1": 0.9, "support": 9} for n in range(5)]
    part = shown({"figures": {}, "classes": classes}).parts["Evaluation"]
    names = [row[0] for row in part.tables[-1][1:]]
    assert len(names) == 50 and names[:5] == [f"often{n}" for n in range(5)]


def test_simple_guesses_stand_beside_the_model(shown):
    baseline = {"name": "majority", "figures": {"accuracy": 0.5}, "difference": {"accuracy": [0.25, 0.125, 0.375]}}
    part = shown({"figures": {"loss": 0.5, "accuracy": 0.75}, "baselines": [baseline]}).parts["Evaluation"]
    assert part.tables[1] == [
        ["", "accuracy"],
        ["this model", "0.7500"],
        ["majority", "0.5000"],
        ["the model is larger by", "0.2500 (0.1250 to 0.3750)"],
    ]


def test_each_target_has_a_part_of_its_own(shown):
    targets = {
        "가격": {"figures": {"mae": 2.0}, "residuals": {"true": [1.0], "predicted": [2.0]}},
        "종류": {"figures": {"accuracy": 0.5}, "confusion": confusion([[1, 1], [1, 1]])},
    }
    found = shown({"figures": {"loss": 1.0}, "targets": targets})
    assert [h for h in found.parts["Evaluation"].headings if h.startswith("Target")] == ["Target 가격", "Target 종류"]
    assert {"evaluation-0-residuals-over-true", "evaluation-1-confusion"} <= set(found.figures)


def test_coefficients_are_a_table(shown):
    part = shown({"figures": {}, "coefficients": {"output": {"rooms": 1.5, "(intercept)": -2.0}}}).parts["Evaluation"]
    assert part.tables[-1] == [["feature", "output"], ["rooms", "1.5000"], ["(intercept)", "-2.0000"]]
    found = {"figures": {}, "coefficients": {"output": {"rooms": 1.5}}, "coefficients_of": "logarithm"}
    headings = shown(found).parts["Evaluation"].headings
    assert headings[-1] == "What the logarithm of each prediction adds for one more of a feature"


def test_a_damaged_evaluation_is_none(tmp_path):
    write_file(tmp_path / "evaluation.json", "{")
    assert evaluation.section(Subject(RunFolder(tmp_path), None, "", Looking())) is None
