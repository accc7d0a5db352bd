"""The class of a text: real reviews and questions, and files of every layout."""

from __future__ import annotations

import gzip
import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import realdata
import torch

from dltrain import registry
from dltrain.data import Data
from dltrain.data.text.tokens import UNKNOWN, TextCodec

ROWS = [("a b b", "x"), ("b c", "y"), ("a d", "x"), ("", "y"), ("c c", "z"), ("e", "z")] * 5
LAYOUTS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}


@pytest.fixture
def load(settings_of):
    def build(path: Path | str | None = None, name: str = "text_csv", **changes: Any) -> Data:
        given = {} if path is None else {"path": str(path)}
        return registry.build("data", settings_of("data", name, **given, **changes))

    return build


@pytest.fixture
def table(tmp_path):
    def write(rows=ROWS, name: str = "reviews.csv", delimiter: str = ",", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        lines = [delimiter.join(row) for row in [("text", "label"), *rows]]
        content = ("\n".join(lines) + "\n").encode(encoding)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def texts(data: Data, split: str = "train") -> Counter[tuple[str, str]]:
    """Returns the texts of a split as its tokens give them, each with its class."""
    vocabulary = TextCodec.from_dict(data.preprocessing).vocabulary
    batch = data.splits[split].head(10**6)
    rows = zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)
    return Counter((" ".join(vocabulary.decode(row)), data.task.class_names[target]) for row, target in rows)


def test_texts_become_numbers_and_classes(load, table):
    data = load(table(), validation_fraction=0, test_fraction=0)
    assert data.task.kind == "multiclass" and data.task.class_names == ("x", "y", "z")
    assert data.task.input.dtype == "int64" and data.task.input.padding == "right" and data.task.input.shape == (3,)
    assert data.preprocessing["vocabulary"] == ["b", "c", "a", "d", "e", UNKNOWN]
    assert data.task.input.vocabulary_size == 7
    assert texts(data) == {(text or UNKNOWN, label): 5 for text, label in ROWS}
    assert data.notes[0] == "5 of 30 texts are empty: each stands as one unknown token"


@pytest.mark.parametrize("delimiter", LAYOUTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
@pytest.mark.parametrize("name", ["reviews.csv", "reviews.csv.gz"])
def test_every_layout_gives_the_same_texts(load, table, tmp_path, delimiter, encoding, name):
    rows = [(f"말이 {text}", label) for text, label in ROWS]
    data = load(table(rows, name, LAYOUTS[delimiter], encoding), validation_fraction=0, test_fraction=0)
    assert texts(data) == {(f"말이 {text}".strip(), label): 5 for text, label in ROWS}
    is_plain = encoding.startswith("utf-8")
    assert data.notes[:-1] == (() if is_plain else (f"{tmp_path / name} is read as {encoding.upper()}",))


def test_quotes_hold_a_cell_together_or_are_characters(load, tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text('text,label\n"a, ""b""\nc",x\nd,y\n', encoding="utf-8")
    data = load(path, validation_fraction=0, test_fraction=0)
    assert texts(data) == {('a, "b" c', "x"): 1, ("d", "y"): 1}
    path = tmp_path / "plain.tsv"
    path.write_text('text\tlabel\n"a b\tx\nd" c\ty\n', encoding="utf-8")
    data = load(path, validation_fraction=0, test_fraction=0, quoting=False)
    assert texts(data) == {('"a b', "x"): 1, ('d" c', "y"): 1}


def test_numbers_as_classes_stand_in_their_order(load, table):
    data = load(table([("a", "10"), ("b", "9"), ("c", "-1")]), validation_fraction=0, test_fraction=0)
    assert data.task.class_names == ("-1", "9", "10")


def test_the_longest_training_text_or_the_setting_cuts(load, table):
    path, test = table([("a b", "x"), ("b", "y")]), table([("a b b b", "x"), ("a", "y")], "test.csv")
    data = load(path, test_path=str(test), validation_fraction=0, test_fraction=0)
    assert texts(data, "test") == {("a b", "x"): 1, ("a", "y"): 1}
    assert data.notes[0] == "1 of 4 texts are cut to their first 2 tokens"
    data = load(path, max_length=1, validation_fraction=0, test_fraction=0)
    assert texts(data) == {("a", "x"): 1, ("b", "y"): 1}


@pytest.mark.parametrize("form", ["multi_hot", "counts"])
def test_rows_of_floats_have_a_column_for_each_token_that_is_kept(load, table, form):
    data = load(table(), form=form, vocabulary_size=2, validation_fraction=0, test_fraction=0)
    assert data.task.input.shape == (2,) and data.task.input.dtype == "float32"
    assert data.preprocessing["vocabulary"] == ["b", "c", UNKNOWN]
    twice = 1.0 if form == "multi_hot" else 2.0
    assert data.train.head(5).inputs.tolist() == [[twice, 0], [1, 1], [0, 0], [0, 0], [0, twice]]


def test_changing_the_test_file_changes_nothing_that_is_learned(load, table):
    path = table(ROWS)
    first = load(path, test_path=str(table([("a", "x"), ("q q q q q q", "y")], "test.csv")))
    other = load(path, test_path=str(table([("z c e", "z")] * 9, "test.csv")))
    assert first.preprocessing == other.preprocessing and first.task == other.task
    for split in ("train", "validation"):
        both = (data.splits[split].split(batch_size=4, seed=1, device="cpu").batches(0) for data in (first, other))
        for batch, same in zip(*both, strict=True):
            assert torch.equal(batch.inputs, same.inputs) and torch.equal(batch.targets, same.targets)
    assert texts(first, "test") == {("a", "x"): 1, (" ".join([UNKNOWN] * 3), "y"): 1}


def test_the_vocabulary_and_the_order_of_equals_are_those_of_the_training_rows(load, table):
    rows = [(f"w{number}", "xy"[number % 2]) for number in range(40)]
    data = load(table(rows), validation_fraction=0.2, test_fraction=0.2)
    seen = [text for text, _ in texts(data)]
    assert data.preprocessing["vocabulary"] == [*seen, UNKNOWN] and len(seen) == 24
    assert set(texts(data, "validation")) == {(UNKNOWN, "x"), (UNKNOWN, "y")}


def test_byte_pairs_are_learnt_from_the_training_rows_alone(load, table):
    path = table([("바나나 나나", "x"), ("나나 바나나나", "y")] * 10)
    few, many = [("바", "x")], [("사과 사과 사과", "x")] * 50
    first = load(path, tokens="bpe", vocabulary_size=12, test_path=str(table(few, "test.csv")))
    other = load(path, tokens="bpe", vocabulary_size=12, test_path=str(table(many, "test.csv")))
    assert first.preprocessing == other.preprocessing
    assert json.loads(first.preprocessing["tokenizer"])["model"]["type"] == "BPE"
    assert sorted(first.preprocessing["vocabulary"]) == sorted(["▁나나", "▁바나나", "▁바나나나", UNKNOWN])


def test_classes_that_no_training_row_has_are_told(load, table):
    note = load(table([*ROWS, ("once", "w")]), validation_fraction=0.0, test_fraction=0.0).notes[0]
    assert "in no training row" not in note
    numbers = [(f"text {number}", f"{number}.5") for number in range(20)]
    assert load(table(numbers)).notes[0].startswith("4 of 20 classes are in no training row, such as '")
    assert load(table(numbers)).notes[0].endswith("', so no model can learn them: is label the column of the classes?")


def test_decomposed_texts_are_composed_and_counted(load, table):
    path = table([("말이", "x"), (unicodedata.normalize("NFD", "말이"), "y"), ("a", "y")])
    data = load(path, validation_fraction=0, test_fraction=0)
    assert data.preprocessing["vocabulary"] == ["말이", "a", UNKNOWN]
    assert data.notes[0] == "1 text is composed to Unicode NFC first, as from decomposed Hangul"


def test_a_text_that_looks_like_a_token_of_ours_is_unknown(load, table):
    data = load(table([("a <unk>", "x"), ("<s> b </s>", "y")]), validation_fraction=0, test_fraction=0)
    assert data.preprocessing["vocabulary"] == ["a", "b", UNKNOWN]


def test_a_second_reading_comes_from_the_cache_and_is_the_same(load, table, tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    path = table()
    first = load(path)
    kept = sorted((tmp_path / "cache").rglob("*.safetensors"))
    times = [file.stat().st_mtime_ns for file in kept]
    again = load(path)
    assert [file.stat().st_mtime_ns for file in kept] == times and len(kept) == 2
    assert again.preprocessing == first.preprocessing and again.notes == first.notes
    for split in first.splits:
        both = [b"".join(map(bytes, data.splits[split].content())) for data in (first, again)]
        assert both[0] == both[1]
    first = load(table(name="one.csv", encoding="utf-16"))
    again = load(table(name="two.csv", encoding="utf-16"))
    assert first.notes[0] == f"{tmp_path / 'one.csv'} is read as UTF-16"
    assert again.notes[0] == f"{tmp_path / 'two.csv'} is read as UTF-16"
    changed = load(table([("new", "x"), *ROWS]), validation_fraction=0, test_fraction=0)
    assert "new" in changed.preprocessing["vocabulary"]


@pytest.mark.slow
@pytest.mark.parametrize("tokens", ["word", "syllable"])
def test_real_reviews_become_tensors(load, tokens):
    realdata.need("nsmc_rebuilt/ratings_train.txt.gz")
    data = load(name="nsmc", root=str(realdata.folder() / "nsmc_rebuilt"), tokens=tokens, min_count=5)
    assert {name: len(source) for name, source in data.splits.items()} == {
        "train": 135_000,
        "validation": 15_000,
        "test": 50_000,
    }
    assert data.task.class_names == ("0", "1")
    assert data.test.targets.float().mean().item() == pytest.approx(0.5, abs=0.01)
    with gzip.open(realdata.folder() / "nsmc_rebuilt" / "ratings_test.txt.gz", "rt", encoding="utf-8") as file:
        review = file.readlines()[1].split("\t")[1]
    codec = TextCodec.from_dict(data.preprocessing)
    row = data.test.head(1).inputs[0]
    assert row[row != 0].tolist() == codec.encode(review)


def test_real_questions_train_through_the_command_line(dltrain):
    path = realdata.need("korean/ChatbotData.csv")
    answer = dltrain(
        "data=text_csv", f"data.path={path}", "data.text=Q", "data.target=label", "data.form=multi_hot",
        "data.vocabulary_size=1000", "model=linear", "trainer.max_epochs=2", "report=false",
        "~callbacks.tensorboard",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "text_csv: 3 classes from 1000" in answer.out + answer.err
    (result,) = Path("runs").glob("*/*/result.json")
    assert json.loads(result.read_text())["test"]["test/accuracy"] > 0.6
