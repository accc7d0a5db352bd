"""Rows that cannot be used: each is empty in its place, with the reason, and the others are as they would be."""

from __future__ import annotations

import predicting
import pytest

HEADER = "sepal_length,sepal_width,petal_length,petal_width\n"
GOOD = "5.1,3.5,1.4,0.2\n"


@pytest.fixture
def iris(run_of, dltrain, work):
    """Returns a function that predicts rows of iris below their header, and gives the answer and its rows."""

    def run(content, *arguments, header=HEADER):
        content = content.encode() if isinstance(content, str) else content
        (work / "rows.csv").write_bytes(header.encode() + content)
        answer = dltrain("predict", run_of("iris"), "rows.csv", *arguments)
        return answer, predicting.rows_of(answer.out)

    return run


# Bad rows, with the reason of each, between two good ones.
BAD = {
    "a word": ("abc,3,1,0.2", "column 'sepal_length' holds 'abc', which is no number"),
    "an empty cell": (
        "5,,1,0.2",
        "column 'sepal_width' is empty, and the model was trained on rows without empty cells",
    ),
    "NA": ("5,3,NA,0.2", "column 'petal_length' is empty, and the model was trained on rows without empty cells"),
    "infinite": ("5,3,1,inf", "column 'petal_width' holds inf, which is no finite number"),
    "too large": ("5,3,1e200,0.2", "column 'petal_length' holds 1e+200, which is too large to compute with"),
    "few cells": ("5,3", "it has 2 cells, and the header has 4"),
    "one cell": ("5", "it has 1 cell, and the header has 4"),
    "many cells": ("5,3,1,0.2,9", "it has 5 cells, and the header has 4"),
    "an open quote": ('5,"3,1,0.2', 'a quotation mark (") is left open in it'),
    "an open quote at the end": ('5,3,1,"0.2', 'a quotation mark (") is left open in it'),
    "not UTF-8": (b"5,3,1,\xff", "it holds bytes that are not UTF-8"),
    "a long word": (f"{'x' * 60},3,1,1", f"column 'sepal_length' holds '{'x' * 37}...', which is no number"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_empty_in_its_place_and_told_with_its_line(kind, iris):
    bad, reason = BAD[kind]
    bad = bad if isinstance(bad, bytes) else bad.encode()
    answer, rows = iris(GOOD.encode() + bad + b"\n" + GOOD.encode() + b"6,3,5,1.8\n")
    assert answer.code == 0
    assert answer.err == f"warning: row 3 of rows.csv: {reason}\n"
    assert [row["prediction"] for row in rows] == ["setosa", "", "setosa", "virginica"]
    assert [row["error"] for row in rows] == ["", reason, "", ""]
    assert set(rows[1].values()) == {"", reason}
    alone, others = iris(GOOD.encode() * 2 + b"6,3,5,1.8\n")
    assert (alone.err, others) == ("", [rows[0], rows[2], rows[3]])


def test_the_number_is_that_of_the_line_in_which_a_row_begins(iris):
    answer, rows = iris('\n"5.1\n",3,1,0.2\n\nabc,3,1,0.2\n', "--row-numbers")
    assert answer.err == "warning: row 6 of rows.csv: column 'sepal_length' holds 'abc', which is no number\n"
    assert [row["row"] for row in rows] == ["3", "6"] and rows[0]["prediction"]


def test_of_many_bad_rows_the_first_are_told_and_all_are_counted(iris):
    answer, rows = iris("x,3,1,0.2\n" * 1200 + GOOD)
    lines = answer.err.splitlines()
    assert answer.code == 0 and len(rows) == 1201 and len(lines) == 6
    assert lines[4] == "warning: row 6 of rows.csv: column 'sepal_length' holds 'x', which is no number"
    assert lines[5] == "warning: 1,200 of 1,201 rows have no prediction"


def test_strict_stops_at_the_first(iris):
    answer, _ = iris(GOOD + "abc,3,1,0.2\n" + "5,3\n", "--strict")
    assert answer.code == 3
    assert answer.err == "error: row 3 of rows.csv: column 'sepal_length' holds 'abc', which is no number\n"
    answer, rows = iris(GOOD, "--strict")
    assert answer.code == 0 and rows[0]["prediction"] == "setosa"


def test_where_no_row_can_be_used_it_is_an_error(iris):
    answer, rows = iris("a,b,c,d\n" * 2)
    assert answer.code == 3 and len(rows) == 2
    assert answer.err.splitlines()[-1] == (
        "error: none of the 2 rows can be predicted. The first: row 2 of rows.csv: column 'sepal_length' holds 'a', "
        "which is no number"
    )


def test_a_strict_output_file_is_not_left_behind(iris, work):
    answer, _ = iris(GOOD + "abc,3,1,0.2\n", "--strict", "-o", "out.csv")
    assert answer.code == 3
    assert {path.name for path in work.iterdir()} == {"rows.csv"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "rows.csv: the file is empty"),
        (" \n\n", "rows.csv: there is nothing but blank lines"),
        (HEADER, "rows.csv: there is a header and no row below it"),
        (
            HEADER.replace("petal_length", "petal_lenght") + GOOD,
            "rows.csv: there is no column 'petal_length'. Did you mean 'petal_lenght'? The columns are: sepal_length, "
            "sepal_width, petal_lenght, petal_width",
        ),
        (
            "sepal_length,b\n1,2\n",
            "rows.csv: there is no column 'sepal_width' (and 2 more that the model needs). Did you mean "
            "'sepal_length'? The columns are: sepal_length, b",
        ),
        (
            "a,b\n1,2\n",
            "rows.csv: its first row names no column that the model needs. It begins with: a, b. The model needs: "
            "sepal_length, sepal_width, petal_length, petal_width",
        ),
        (
            "a\0b\n",
            "rows.csv: holds NUL characters, so it is not a text file, or one in UTF-16 without its mark: save it as "
            "UTF-8",
        ),
        ("PK\x03\x04", "rows.csv: this is a ZIP archive or a spreadsheet (.xlsx): unpack it, or save the sheet as CSV"),
        ("\x1f\x8b\x08", "rows.csv: the gzip file is cut off or damaged: get or make it again"),
        ("PAR1 PAR1", "rows.csv: the Parquet file is damaged: Parquet file size is 9 bytes"),
    ],
)
def test_files_that_are_no_table_of_the_model(content, error, run_of, dltrain, work):
    (work / "rows.csv").write_bytes(content.encode("latin1"))
    answer = dltrain("predict", run_of("iris"), "rows.csv")
    assert answer.code == 3 and answer.out == ""
    assert answer.err.startswith(f"error: {error}")


@pytest.mark.parametrize(
    ("name", "header", "row", "reason"),
    [
        (
            "korean",
            "나이,도시,소득,회원",
            "30,서울,300,maybe",
            "column '회원' holds 'maybe', which is neither yes nor no",
        ),
        ("korean", "나이,도시,소득,회원", "30,서울,300,7", "column '회원' holds '7', which is neither yes nor no"),
        ("korean", "나이,도시,소득,회원", "서른,서울,300,Y", "column '나이' holds '서른', which is no number"),
        (
            "strict_cells",
            "나이,도시,회원,등급",
            "30,,Y,상",
            "column '도시' is empty, and the model was trained on rows without empty cells",
        ),
    ],
)
def test_bad_cells_of_other_kinds(name, header, row, reason, run_of, dltrain, work):
    cells = {"나이": "30", "도시": "서울", "소득": "300", "회원": "Y", "등급": "상"}
    good = ",".join(cells[column] for column in header.split(","))
    (work / "rows.csv").write_text(f"{header}\n{good}\n{row}\n", encoding="utf-8")
    answer = dltrain("predict", run_of(name), "rows.csv")
    assert answer.code == 0
    assert answer.err == f"warning: row 3 of rows.csv: {reason}\n"


def test_cells_that_training_takes_too(run_of, dltrain, work):
    """Empty cells are filled, numbers are read as spreadsheets write them, and unknown words are other words."""
    rows = ["나이,도시,소득,회원", ",,,", '40,제주,"1,300.5",n', "40,제주,1300.5,No", "40 ,  독도,1300.50,f"]
    (work / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    answer = dltrain("predict", run_of("korean"), "rows.csv")
    assert answer.code == 0
    assert answer.err == "column '도시' has words that the model does not know, and takes for 'other': 제주, 독도\n"
    found = predicting.rows_of(answer.out)
    assert all(row["prediction"] for row in found) and found[1] == found[2] == found[3] != found[0]


def test_a_column_of_dates_where_numbers_were(run_of, dltrain, work):
    import pandas as pd

    frame = pd.DataFrame({name: pd.to_datetime(["2026-01-31"]) for name in HEADER.strip().split(",")})
    frame.to_parquet(work / "dates.parquet")
    answer = dltrain("predict", run_of("iris"), "dates.parquet")
    assert answer.code == 3
    assert answer.err == (
        "error: dates.parquet: column 'sepal_length' holds dates, where the model was trained on numbers\n"
    )


def test_a_model_that_went_wrong_has_no_predictions(run_of, dltrain, work, tmp_path):
    import shutil

    import torch

    from dltrain.checkpoint import CheckpointStore

    run = shutil.copytree(run_of("iris"), tmp_path / "nan")
    store = CheckpointStore(run / "checkpoints")
    state = store.load(store.pointed("last"))
    state["model"] = {name: torch.full_like(tensor, torch.nan) for name, tensor in state["model"].items()}
    store.save("step-99999999", state)
    (work / "rows.csv").write_text(HEADER + GOOD)
    answer = dltrain("predict", run, "rows.csv", "--checkpoint", "step-99999999")
    assert answer.code == 3
    assert "the model's output is no number (NaN)" in answer.err
    assert [row["prediction"] for row in predicting.rows_of(answer.out)] == [""]
