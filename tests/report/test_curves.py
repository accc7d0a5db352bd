"""The curves of a run: by epochs or steps, with gaps where a figure is no number, of one row and of thousands."""

from __future__ import annotations

import json

import pytest

from dltrain.report import curves
from dltrain.report.subject import Looking, Subject
from dltrain.run_folder import RunFolder, write_file

CONFIG = "seed: 0\ndata: {name: iris}\nmodel: {name: mlp}\n"


@pytest.fixture
def drawn(tmp_path):
    """Returns a function that gives the figures of a run with these rows, by their names, and the section's text."""

    def draw(rows, **files):
        write_file(tmp_path / "config.yaml", CONFIG)
        write_file(tmp_path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        for name, content in files.items():
            write_file(tmp_path / f"{name}.json", json.dumps(content))
        section = curves.section(Subject(RunFolder(tmp_path), None, "", Looking()))
        text = "\n".join(str(block) for block in section.blocks if isinstance(block, str))
        return {chart.name: json.loads(chart.figure) for chart in section.charts}, text

    return draw


def row(epoch, step, **figures):
    return {"epoch": epoch, "step": step, "lr": 0.1, **{name.replace("_", "/", 1): v for name, v in figures.items()}}


def xs(figure):
    return [trace["x"] for trace in figure["data"]]


def test_they_stand_at_the_epochs_that_are_over(drawn):
    figures, _ = drawn([row(1, 10, train_loss=0.5, val_loss=0.6), row(3, 30, train_loss=0.25, val_loss=0.5)])
    assert xs(figures["loss"]) == [[1, 3], [1, 3]]
    assert [trace["name"] for trace in figures["loss"]["data"]] == ["training", "validation"]


def test_of_several_rows_an_epoch_they_stand_at_the_steps(drawn):
    figures, _ = drawn([row(0, 5, train_loss=0.5), row(1, 10, train_loss=0.4), row(1, 15, train_loss=0.3)])
    assert xs(figures["loss"]) == [[5, 10, 15]]
    assert figures["loss"]["layout"]["xaxis"]["title"]["text"] == "step"


def test_one_row_is_a_point_with_room_around_it(drawn):
    figures, _ = drawn([row(1, 10, train_loss=0.5, val_loss=0.6)])
    assert figures["loss"]["layout"]["xaxis"]["range"] == [0, 2]
    assert figures["loss"]["data"][0]["mode"] == "lines+markers"


def test_a_loss_that_is_no_number_is_a_gap_and_is_told(drawn):
    figures, text = drawn([row(1, 10, train_loss=0.5, val_loss=0.5), row(2, 20, train_loss=None, val_loss=None)])
    assert figures["loss"]["data"][0]["y"] == [0.5, None]
    assert "The loss of 1 evaluation is NaN or infinite: a gap in the curves." in text


def test_the_best_epoch_is_marked_on_its_metric_alone(drawn):
    best = {"status": "done", "best": {"metric": "val/accuracy", "value": 0.75, "epoch": 2}}
    rows = [row(n, n, train_loss=0.5, val_loss=0.5, val_accuracy=0.25 * n) for n in (1, 2, 3)]
    figures, _ = drawn(rows, result=best)
    assert [trace["name"] for trace in figures["loss"]["data"]] == ["training", "validation"]
    mark = figures["metric-0"]["data"][-1]
    assert (mark["name"], mark["x"], mark["y"]) == ("best", [2], [0.75])


def test_where_an_epoch_has_several_rows_the_best_step_is_marked(drawn):
    best = {"status": "done", "best": {"metric": "val/loss", "value": 0.5, "epoch": 0, "step": 10}}
    figures, _ = drawn(
        [row(0, 5, train_loss=1.0, val_loss=0.75), row(0, 10, train_loss=0.5, val_loss=0.5)], result=best
    )
    mark = figures["loss"]["data"][-1]
    assert (mark["name"], mark["x"], mark["y"]) == ("best", [10], [0.5])


def test_each_output_and_each_group_of_parameters_has_its_own(drawn):
    figures, _ = drawn([{**row(1, 1, train_loss=1.0), "train/가격/mae": 2.0, "val/가격/mae": 3.0, "lr/layers.*": 0.01}])
    assert figures["metric-0"]["layout"]["yaxis"]["title"]["text"] == "가격/mae"
    assert [trace["name"] for trace in figures["learning-rate"]["data"]] == ["lr", "lr/layers.*"]


def test_what_a_callback_adds_has_a_curve_of_its_own(drawn):
    figures, _ = drawn([{**row(n, n, train_loss=1.0), "val_to_train/loss": 1.5} for n in (1, 2)])
    (ratio,) = figures["metric-0"]["data"]
    assert (ratio["name"], ratio["y"]) == ("value", [1.5, 1.5])
    assert figures["metric-0"]["layout"]["yaxis"]["title"]["text"] == "val_to_train/loss"


def test_what_is_no_figure_is_left_out(drawn):
    rows = [row(1, 1, train_loss="high", val_loss=True), {"epoch": "x", "train/loss": [1]}, {"train/loss": 0.5}]
    figures, _ = drawn(rows)
    assert [trace["y"] for trace in figures["loss"]["data"]] == [[None, None, 0.5], [None, None, None]]


def test_a_run_without_rows_says_so(drawn):
    figures, text = drawn([])
    assert figures == {} and "the run ended before its first evaluation" in text


def test_a_long_run_has_a_page_of_usual_size(drawn):
    rows = [row(n, n, train_loss=1 / n, val_loss=1 / n, val_accuracy=1 - 1 / n) for n in range(1, 20_001)]
    figures, _ = drawn(rows)
    assert len(json.dumps(figures)) < 300_000
