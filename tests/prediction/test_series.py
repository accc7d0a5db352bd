"""New rows of a series: which window each is predicted from, in what order, and which have none."""

from __future__ import annotations

import numpy as np
import predicting
import pytest

import dltrain as package


@pytest.fixture
def series(new_files):
    """The series of the files, as rows."""
    return (new_files / "series.csv").read_text(encoding="utf-8").splitlines()


def predicted(answer):
    return [row["prediction"] for row in predicting.rows_of(answer.out)]


def test_a_row_is_predicted_from_the_rows_up_to_it(run_of, series, dltrain, work):
    run = run_of("rises")
    (work / "a.csv").write_text("\n".join(series[:30]), encoding="utf-8")
    whole = dltrain("predict", run, "a.csv")
    assert whole.code == 0
    assert whole.err == ("a row's window is the 5 rows up to it and with it; the first 4 have none\n")
    assert predicted(whole)[:4] == [""] * 4 and all(predicted(whole)[4:])
    (work / "a.csv").write_text("\n".join([series[0], *series[11:16]]), encoding="utf-8")
    last = predicting.rows_of(dltrain("predict", run, "a.csv").out)[-1]
    assert last == predicting.rows_of(whole.out)[14]


def test_rows_in_another_order_are_predicted_in_order_of_time(run_of, series, dltrain, work):
    run = run_of("rises")
    (work / "a.csv").write_text("\n".join(series[:30]), encoding="utf-8")
    expected = predicting.rows_of(dltrain("predict", run, "a.csv", "--keep", "날짜").out)
    order = np.random.default_rng(0).permutation(29)
    (work / "a.csv").write_text("\n".join([series[0], *(series[1 + place] for place in order)]), encoding="utf-8")
    answer = dltrain("predict", run, "a.csv", "--keep", "날짜")
    assert predicting.rows_of(answer.out) == [expected[place] for place in order]
    assert "rows are not in the order of '날짜'" in answer.err


def test_a_bad_cell_costs_the_windows_that_hold_it(run_of, series, dltrain, work):
    lines = series[:20]
    lines[10] = "2025-01-10,warm,100"
    (work / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    answer = dltrain("predict", run_of("rises"), "a.csv")
    rows = predicting.rows_of(answer.out)
    reason = "column '온도' holds 'warm', which is no number"
    assert [bool(row["prediction"]) for row in rows] == [False] * 4 + [True] * 5 + [False] * 5 + [True] * 5
    assert rows[9]["error"] == reason and rows[10]["error"] == f"in its window, row 11: {reason}"
    assert rows[3]["error"] == ""
    assert answer.err.splitlines()[0] == f"warning: row 11 of a.csv: {reason}"


def test_an_empty_cell_where_the_training_had_none(run_of, series, dltrain, work):
    lines = series[:20]
    lines[10] = "2025-01-10,,100"
    (work / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    rows = predicting.rows_of(dltrain("predict", run_of("rises"), "a.csv").out)
    assert [row["error"] for row in rows][9:14] == ["its window has an empty cell, which nothing fills"] * 5
    assert [bool(row["prediction"]) for row in rows][4:] == [True] * 5 + [False] * 5 + [True] * 5


def test_fewer_rows_than_a_window(run_of, series, dltrain, work):
    (work / "a.csv").write_text("\n".join(series[:4]), encoding="utf-8")
    answer = dltrain("predict", run_of("rises"), "a.csv")
    assert answer.code == 0 and predicted(answer) == ["", "", ""]
    assert "the model sees 5 rows at once, and there are 3" in answer.err


def test_the_predicted_column_is_needed_where_changes_count_from_it(run_of, series, dltrain, work):
    lines = [line.rpartition(",")[0] for line in series[:20]]
    (work / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    answer = dltrain("predict", run_of("changes"), "a.csv")
    assert answer.code == 3
    assert answer.err == "error: a.csv: there is no column '전력'. The columns are: 날짜, 온도\n"


def test_steps_have_names_of_their_own(run_of, series, dltrain, work):
    (work / "a.csv").write_text("\n".join(series[:20]), encoding="utf-8")
    answer = dltrain("predict", run_of("series"), "a.csv")
    assert answer.err == (
        "a row's window is the 5 rows up to it and with it; the first 4 have none. Predicted is row +1, +2 after it\n"
    )
    rows = predicting.rows_of(answer.out)
    assert list(rows[0]) == [
        "prediction: 온도 +1", "prediction: 전력 +1", "prediction: 온도 +2", "prediction: 전력 +2", "error",
    ]  # fmt: skip


def test_rows_and_windows_in_memory(run_of, new_files):
    import pandas as pd

    frame = pd.read_csv(new_files / "series.csv")
    for name in ("series", "changes"):
        run = package.load(run_of(name))
        of_path = run.predict(new_files / "series.csv")
        of_frame = run.predict(frame)
        assert len(of_frame) == len(frame) and np.array_equal(of_path, of_frame, equal_nan=True)
    run = package.load(run_of("series"))
    values = frame[["온도", "전력"]].to_numpy()
    of_rows = run.predict(values)
    windows = np.stack([values[start : start + 5] for start in range(len(values) - 4)])
    assert of_rows[4:] == pytest.approx(run.predict(windows), rel=1e-5)
    assert np.isnan(of_rows[:4]).all() and of_rows.shape == (120, 4)


@pytest.mark.parametrize("empty", ["previous", "interpolate"])
def test_empty_cells_and_gaps_are_filled_as_in_training(empty, new_files, series, dltrain, work):
    """The rows of the test part, some cells and a row of which are missing: each window as the split has it."""
    holes = [line for number, line in enumerate(series) if number not in (60, 110)]
    for number in (40, 41, 80, 108, 113):
        day, _, power = holes[number].split(",")
        holes[number] = f"{day},,{power}"
    (work / "holes.csv").write_text("\n".join(holes) + "\n", encoding="utf-8")
    arguments = [
        "data=series_csv", "data.path=holes.csv", f"data.empty={empty}", "data.gaps=fill", "data.window=4",
        "report=false", "data.columns=[온도]", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=1",
        "callbacks=checkpoint",
        "data.test_fraction=0.2", "callbacks.checkpoint.min_seconds=0", "run_dir=run",
    ]  # fmt: skip
    assert dltrain(*arguments).code == 0
    split = dltrain("predict", "run", "--split", "test")
    expected = [float(row["prediction"]) for row in predicting.rows_of(split.out)]
    first = round(120 * 0.8)  # rows that are added count
    part = [line for line in holes[1:] if line.split(",")[0] >= series[1 + first].split(",")[0]]
    (work / "part.csv").write_text("\n".join([series[0], *part]) + "\n", encoding="utf-8")
    answer = dltrain("predict", "run", "part.csv")
    assert answer.code == 0, answer.err
    rows = predicting.rows_of(answer.out)
    own = [float(row["prediction"]) for row in rows if row["prediction"]]
    assert len(rows) == len(part) and len(own) >= 10
    # The split leaves windows out before a target that was not measured; all that it has are among ours.
    missing = [value for value in expected if not np.isclose(own, value, rtol=1e-5).any()]
    added = 1  # the window that ends with a row that is not in the file has none to stand in
    assert len(missing) <= added
