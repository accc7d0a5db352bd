"""A folder of Parquet files is one table: its rows in the order of the files' names, numbered through."""

from __future__ import annotations

import pandas as pd
import predicting
import pytest


@pytest.fixture
def people(new_files):
    frame = pd.read_csv(new_files / "사람_시험.csv")
    return frame.astype({"나이": "float64"})


@pytest.fixture
def folder(people, work):
    """Nine rows in two files, with one that has none between them; the last has an empty cell."""
    (work / "parts").mkdir()
    for name, rows in (("a-1.parquet", people[:5]), ("a-10.pq", people[:0]), ("a-2.parquet", people[5:9])):
        rows.to_parquet(work / "parts" / name)
    (work / "parts" / "_SUCCESS").write_text("")
    (work / "parts" / ".a-0.parquet").write_text("half written")
    people[:9].to_parquet(work / "whole.parquet")
    return work / "parts"


def test_rows_are_those_of_one_file(run_of, predict, folder):
    words = ("--keep", "all", "--row-numbers", "--batch-size", "2")
    rows = predict(run_of("korean"), "parts", *words)
    assert rows == predict(run_of("korean"), "whole.parquet", *words)
    assert [row["row"] for row in rows] == [str(number) for number in range(1, 10)]


def test_shards_of_the_training_are_predicted(run_of, new_files, predict):
    rows = predict(run_of("shards"), new_files / "shards", "--keep", "id")
    assert [row["id"] for row in rows] == [str(number) for number in range(200)]
    second = predict(run_of("shards"), new_files / "shards" / "part-001.parquet", "--keep", "id")
    assert rows[100:] == second


def test_a_bad_row_is_named_in_the_folder_and_in_its_file(run_of, dltrain, folder):
    answer = dltrain("predict", run_of("strict_cells"), "parts")
    reason = "column '나이' is empty, and the model was trained on rows without empty cells"
    assert answer.code == 0
    assert answer.err == f"warning: row 8 (row 3 of a-2.parquet) of parts: {reason}\n"
    assert [row["error"] for row in predicting.rows_of(answer.out)] == [""] * 7 + [reason, ""]
    strict = dltrain("predict", run_of("strict_cells"), "parts", "--strict")
    assert strict.code == 3
    assert strict.err == f"error: row 8 (row 3 of a-2.parquet) of parts: {reason}\n"


def test_a_series_and_texts_in_several_files(run_of, new_files, predict, folder, work):
    series = pd.read_csv(new_files / "series.csv")
    (work / "days").mkdir()
    series[:7].to_parquet(work / "days" / "1.parquet")
    series[7:20].to_parquet(work / "days" / "2.parquet")
    series[:20].to_parquet(work / "days.parquet")
    assert predict(run_of("series"), "days") == predict(run_of("series"), "days.parquet")
    assert len(predict(run_of("reviews"), "parts", "--column", "이름")) == 9


def test_files_that_are_no_one_table(run_of, dltrain, folder, people, work):
    last = folder / "b.parquet"

    def told():
        answer = dltrain("predict", run_of("korean"), "parts")
        assert answer.code == 3 and answer.out == ""
        return answer.err

    people[:2].drop(columns="이름").to_parquet(last)
    assert told() == (
        "error: parts/a-1.parquet has a column '이름' and parts/b.parquet has not: the files of a folder are one table "
        "and have the same columns. Give the files one by one, or move those that are no part of it\n"
    )
    people[:2].astype({"소득": "float32"}).to_parquet(last)
    assert told() == (
        "error: column '소득' is double in parts/a-1.parquet and float in parts/b.parquet: the files of a folder are "
        "one table. Write them with the same types, or give them one by one\n"
    )
    last.write_text("a,b\n1,2\n")
    assert told() == ("error: parts/b.parquet: this is no Parquet file, though it is called so. Move it elsewhere\n")
    last.unlink()
    last.symlink_to("nothing")
    assert told() == "error: parts/b.parquet: this is a link to nothing, which is not there\n"


def test_folders_without_a_row(run_of, dltrain, people, work):
    (work / "none").mkdir()
    answer = dltrain("predict", run_of("korean"), "none")
    assert answer.code == 3
    assert answer.err == (
        "error: none: this is a folder without a Parquet file (*.parquet or *.pq): it is empty. Give a file\n"
    )
    (work / "none" / "a.csv").write_text("a\n")
    assert "it holds a.csv. Give a file" in dltrain("predict", run_of("korean"), "none").err
    people[:0].to_parquet(work / "none" / "a.parquet")
    assert dltrain("predict", run_of("korean"), "none").err == "error: none: there are columns and no row\n"


def test_a_file_that_is_read_is_not_written_over(run_of, dltrain, folder):
    before = (folder / "a-1.parquet").read_bytes()
    answer = dltrain("predict", run_of("korean"), "parts", "-o", "parts/a-1.parquet")
    assert answer.code == 2
    assert answer.err == "error: -o parts/a-1.parquet: this is one of the files that are read. Name another one\n"
    assert (folder / "a-1.parquet").read_bytes() == before
    assert dltrain("predict", run_of("korean"), "parts", "-o", "parts/out.csv").code == 0
