"""New tables: how they are written, which columns are which, and what stands in their cells."""

from __future__ import annotations

import io
from dataclasses import replace

import pandas as pd
import pytest

from dltrain.errors import DataError
from dltrain.prediction.inputs_table import plain_name
from dltrain.prediction.tables import open_new_table
from dltrain.prediction.typed_tables import FrameTable, ParquetTable
from dltrain.prediction.wanted import ANY_FORMAT, Wanted


def read(path, wanted=("a", "b"), form=ANY_FORMAT, **options):
    table = open_new_table(path, Wanted(list(wanted), **options), form)
    rows = list(table.rows(wanted, 2))
    table.close()
    return table, [
        list(row) for part in rows for row in zip(*(part.cells[name].to_pylist() for name in wanted), strict=True)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp949"])
def test_the_wanted_columns_tell_the_delimiter(delimiter, encoding, tmp_path):
    rows = [["이름", "b", "a", "c,d"], ["가; 나", "1", "", "x"], ["다", "2", "5", ""]]
    (tmp_path / "t.csv").write_text("\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows), encoding)
    table, found = read(tmp_path / "t.csv", ["a", "b", "이름"])
    assert found == [[None, "1", "가; 나"], ["5", "2", "다"]]
    assert table.names == ["이름", "b", "a", "c,d"]


@pytest.mark.parametrize(
    ("content", "decimal"),
    [
        ("a;b\n1,5;2\n", ","),
        ("a,b\n1.5,2\n", "."),
        ("a,b\n1,2\n", None),
        ('a,b\n"1.234,5",2\n', ","),
        ("a,b\n1,5", None),
    ],
)
def test_the_decimal_mark(content, decimal, tmp_path):
    (tmp_path / "t.csv").write_text(content)
    assert read(tmp_path / "t.csv")[0].decimal == decimal
    assert read(tmp_path / "t.csv", form=replace(ANY_FORMAT, decimal=","))[0].decimal == ","


def test_decimal_commas_are_read_as_such(run_of, predict, work):
    header = "sepal_length;sepal_width;petal_length;petal_width\n"
    (work / "comma.csv").write_text(header + "5,1;3,5;1,4;0,2\n6,3;2,5;5,0;1,9\n")
    (work / "point.csv").write_text(header.replace(";", ",") + "5.1,3.5,1.4,0.2\n6.3,2.5,5.0,1.9\n")
    assert predict(run_of("iris"), "comma.csv") == predict(run_of("iris"), "point.csv")


def test_columns_of_one_name_and_of_none(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,a,\n1,2,3,4\n")
    table, found = read(tmp_path / "t.csv", ["a", "a_2", "column_4"])
    assert found == [["1", "3", "4"]]
    assert table.notes == ["there are two columns 'a': the second one is called 'a_2' here"]


def test_a_single_column(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n\n2\n")
    assert read(tmp_path / "t.csv", ["a"])[1] == [["1"], ["2"]]


def test_columns_by_their_place_where_there_is_no_header(tmp_path):
    (tmp_path / "t.csv").write_text("1,2,x\n3,4,y\n")
    table, found = read(tmp_path / "t.csv", by_place=True)
    assert found == [["1", "2"], ["3", "4"]] and table.names == ["a", "b", "column_3"]
    assert table.notes == [f"{tmp_path / 't.csv'} has no header: its columns are taken in this order: a, b"]
    (tmp_path / "t.csv").write_text("1,x\n3,4\n")
    with pytest.raises(DataError, match=r"names no column that the model needs\. It begins with: 1, x"):
        read(tmp_path / "t.csv", by_place=True)
    for first, count in (("7,1,2", 3), ("1", 1), ("1,2,3,4", 4)):  # an index in front would move the others by a place
        (tmp_path / "t.csv").write_text(f"{first}\n")
        with pytest.raises(DataError) as error:
            read(tmp_path / "t.csv", by_place=True)
        told = f"has no header and {count} columns, and the model needs 2, in the order of the training"
        assert told in str(error.value)
    (tmp_path / "t.csv").write_text("1,2,x\n3,4,y\n")
    assert read(tmp_path / "t.csv", ["column_1", "column_3"])[1] == [["1", "x"], ["3", "y"]]


def test_parquet_is_read_a_piece_at_a_time_and_typed(tmp_path):
    frame = pd.DataFrame({"b": range(5), "a": [" x", "NA", None, "y", "z"], "list": [[1]] * 5})
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=3)
    table, found = read(tmp_path / "t.parquet")
    assert isinstance(table, ParquetTable) and table.is_typed
    assert found == [[" x", 0], ["NA", 1], [None, 2], ["y", 3], ["z", 4]]
    numbers = [number for part in table.rows(["a"], 2) for number in part.numbers]
    assert numbers == [1, 2, 3, 4, 5]
    frame[:0].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="there are columns and no row"):
        read(tmp_path / "none.parquet")


def test_frames_of_every_type_of_column():
    frame = pd.DataFrame({
        "a": [1, "b", None], "b": pd.Categorical(["x", None, "y"]), "c": pd.array([1, None, 3], dtype="Int64"),
        "d": [True, False, True], 7: [0.5, float("nan"), 1],
    })  # fmt: skip
    table = FrameTable(frame, Wanted(["a", "b", "c", "d", "7"]))
    (rows,) = table.rows(table.names, 10)
    assert rows.cells["a"].to_pylist() == ["1", "b", None]
    assert rows.cells["b"].to_pylist() == ["x", None, "y"] and rows.cells["c"].to_pylist() == [1, None, 3]
    assert rows.cells["d"].to_pylist() == [True, False, True] and rows.cells["7"].to_pylist() == [0.5, None, 1.0]


def test_a_table_through_a_pipe_is_like_a_file(tmp_path, monkeypatch):
    content = "a,b\n1,2\n3,4\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    table, found = read(None)
    (tmp_path / "t.csv").write_text(content)
    assert found == read(tmp_path / "t.csv")[1] and table.where == "standard input"


@pytest.mark.parametrize("name", ["sepal_length", "sepal length (cm)", "SepalLengthCm", "Sepal.Length", "SEPAL LENGTH"])
def test_names_of_measures_in_every_spelling(name):
    assert plain_name(name, ["sepal_length", "sepal_width"]) == "sepal_length"
    assert plain_name("length", ["sepal_length"]) == "length"


@pytest.mark.parametrize("one_hot", [True, False])
def test_the_codes_of_streamed_categories(one_hot, run_of, dltrain, work):
    """Words that are unknown, and empty cells, have the code 0; truth values are numbers."""
    import torch

    from dltrain.data.streams.parquet_blocks import Category, Number, RowGroup, TableReader, Target
    from dltrain.prediction.inputs_table import TableInputs, of_streamed
    from dltrain.prediction.wanted import EMPTY_WORDS

    frame = pd.DataFrame({
        "x": [1.5, None, 3.0], "t": [True, False, True], "c": ["서울", None, "제주"], "y": [1.0, 2, 3],
    })  # fmt: skip
    frame.to_parquet(work / "t.parquet")
    numbers = (Number("x", 1.0, 2.0, 1.0), Number("t", 0.5, 0.5, 0.0))
    reader = TableReader(numbers, (Category("c", ("서울", "부산")),), Target(Number("y", 0, 1, None), ()), one_hot)
    expected = reader.read([RowGroup("t.parquet", 0)]).inputs
    kept = {
        "numbers": [vars(number) for number in numbers],
        "categories": [{"name": "c", "words": ["서울", "부산"]}],
        "one_hot": one_hot,
    }
    frame.to_csv(work / "t.csv", index=False)
    for name in ("t.parquet", "t.csv"):
        table = open_new_table(work / name, Wanted(["x", "t", "c"]))
        inputs = TableInputs(table, of_streamed(kept), empty_words=EMPTY_WORDS, one_hot_of_all=one_hot)
        (rows,) = inputs.rows([], 10)
        found = [(places.tolist(), batch) for places, batch in inputs.batches(rows, 2)]
        inputs.close()
        assert [places for places, _ in found] == [[0, 1], [2]] and not rows.problems
        assert torch.equal(torch.cat([batch for _, batch in found]), expected)
        assert list(inputs.notes()) == [
            "column 'c' has a word that the model does not know, and takes for 'other': 제주"
        ]
