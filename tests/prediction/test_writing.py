"""What is written: each format read back, whole or not at all."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from dltrain.errors import ConfigError, DataError, MachineError
from dltrain.prediction.writing import FORMATS, check_target, writing

PARTS = [
    {
        "이름": ["가", 'a "b", c\nd', None],
        "prediction": np.array(["좋음", None, "나쁨"], dtype=object),
        "probability": np.array([0.25, np.nan, 1e-7]),
        "row": [2, 3, 5],
    },
    {
        "이름": ["라"],
        "prediction": np.array(["좋음"], dtype=object),
        "probability": np.array([1.0]),
        "row": [9],
    },
]
NAMES = ["가", 'a "b", c\nd', None, "라"]


def read(path):
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return pd.read_parquet(path)
    if name.endswith((".json", ".jsonl")):
        return pd.read_json(path, lines=name.endswith("l"))
    return pd.read_csv(path, sep="\t" if name.endswith(".tsv") else ",")


@pytest.mark.parametrize("ending", [*FORMATS, ".csv.gz", ".tsv.gz", ".jsonl.gz", ".json.gz"])
def test_each_format_is_read_back(ending, tmp_path):
    path = tmp_path / f"예측{ending}"
    with writing(str(path)) as writer:
        for part in PARTS:
            writer.write(part)
        assert not path.exists()
    frame = read(path)
    assert list(frame) == ["이름", "prediction", "probability", "row"]
    assert frame["이름"].fillna("-").tolist() == [name or "-" for name in NAMES]
    assert frame["prediction"].fillna("-").tolist() == ["좋음", "-", "나쁨", "좋음"]
    assert frame["probability"].fillna(-1).tolist() == [0.25, -1, 1e-7, 1.0]
    assert frame["row"].tolist() == [2, 3, 5, 9]
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_text_is_written_as_it_is_and_numbers_short(tmp_path):
    with writing(str(tmp_path / "a.csv")) as writer:
        writer.write(PARTS[1])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "이름,prediction,probability,row\n라,좋음,1,9\n"
    with writing(str(tmp_path / "a.jsonl")) as writer:
        writer.write(PARTS[1])
    line = '{"이름": "라", "prediction": "좋음", "probability": 1.0, "row": 9}\n'
    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8") == line
    with writing(str(tmp_path / "b.json.gz")) as writer:
        writer.write(PARTS[1])
    packed = (tmp_path / "b.json.gz").read_bytes()
    assert json.loads(gzip.decompress(packed)) == [json.loads(line)]


@pytest.mark.parametrize("ending", FORMATS)
def test_what_fails_half_way_leaves_the_old_file(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    path.write_text("old")
    with pytest.raises(DataError), writing(str(path)) as writer:
        writer.write(PARTS[0])
        raise DataError("row 7")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_told(tmp_path):
    expected = r"a.csv cannot be written: No space left on device: [\d.]+ MB are free"
    with pytest.raises(MachineError, match=expected), writing(str(tmp_path / "a.csv")) as writer:
        writer.write(PARTS[0])
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "out.xlsx",
            "the ending says the format, and must be one of .csv, .tsv, .jsonl, .json, .parquet, or these with",
        ),
        ("out", "the ending says the format"),
        ("out.parquet.gz", "the ending says the format"),
        ("folder.csv", "this is a folder; name a file"),
        ("in.csv", "this is the file that is read. Name another one"),
        ("nowhere/out.csv", "there is no folder nowhere. Make it first"),
    ],
)
def test_targets_that_cannot_be(target, message, work):
    (work / "folder.csv").mkdir()
    (work / "in.csv").write_text("a")
    with pytest.raises(ConfigError) as error:
        check_target(target, work / "in.csv")
    assert str(error.value).startswith(f"-o {target}: {message}")


def test_a_folder_that_may_not_be_written(work, monkeypatch):
    from pathlib import Path

    def refused(self, *arguments, **named):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(MachineError, match=r"out.csv cannot be written: Permission denied"), writing("out.csv"):
        pass


def test_cells_that_are_lists_or_bytes_are_texts_in_parquet(tmp_path):
    import pyarrow as pa

    cells = {
        "list": pa.array([[1, 2], None]),
        "struct": pa.array([{"a": 1}, {"a": 2}]),
        "bytes": pa.array([b"x", b"y"]),
    }
    with writing(str(tmp_path / "p.parquet")) as writer:
        writer.write(cells)
        writer.write(cells)
    table = pd.read_parquet(tmp_path / "p.parquet")
    assert table["list"][0] == "[1, 2]" and pd.isna(table["list"][1]) and len(table) == 4
