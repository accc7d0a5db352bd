"""What is told of how to read new inputs: it holds where it applies, and is refused where it does not."""

from __future__ import annotations

import io

import pandas as pd
import predicting
import pytest

HEADER = "나이,도시,소득,회원"
PEOPLE = f"{HEADER}\n30,서울,300,Y\n40,부산,200,N\n"
NAMES = "and finds every column by its name; --column names the one with texts, or with paths of images. Call the "


@pytest.fixture
def files(work):
    """Files of every kind in the working folder."""
    (work / "people.csv").write_text(PEOPLE, encoding="utf-8")
    (work / "korean.csv").write_bytes(PEOPLE.encode("cp949"))
    (work / "semicolons.csv").write_text(PEOPLE.replace(",", ";"), encoding="utf-8")
    (work / "series.csv").write_text("온도,전력\n1,2\n", encoding="utf-8")
    (work / "texts.csv").write_text("글;label\n가나;0\n다라;1\n", encoding="utf-8")
    (work / "old.csv").write_bytes("text,label\n가나,0\n다라,1\n".encode("cp949"))
    pd.DataFrame({"text": ["가"], "나이": [1.0]}).to_parquet(work / "some.parquet")
    pixels = {f"pixel_{place // 8}_{place % 8}": [0] for place in range(64)}
    pd.DataFrame(pixels).to_csv(work / "pixels.csv", index=False)
    return work


@pytest.mark.parametrize(
    ("name", "words", "error"),
    [
        (
            "korean",
            ["people.csv", "--column", "나이"],
            f"--column 나이: this run's model takes a table {NAMES}columns as in the training, and leave out --column",
        ),
        (
            "korean",
            ["people.csv", "--lines"],
            "--lines: this run's model takes a table, and only texts can stand one a line. Leave out --lines",
        ),
        (
            "korean",
            ["people.csv", "--invert"],
            "--invert: this run's model takes a table, and only images have black and white to change. Leave out "
            "--invert",
        ),
        (
            "series",
            ["series.csv", "--column", "온도"],
            f"--column 온도: this run's model takes a series, which is a table {NAMES}columns as in the training, and "
            "leave out --column",
        ),
        (
            "series",
            ["series.csv", "--invert"],
            "--invert: this run's model takes a series, which is a table, and only images have black and white to "
            "change. Leave out --invert",
        ),
        (
            "images",
            [".", "--column", "file"],
            "--column file: . has no columns; --column names the one with the paths of images in a .csv, .tsv or "
            ".parquet. Give such a list, or leave out --column",
        ),
        (
            "images",
            ["-", "--column", "file"],
            "--column file: standard input has no columns; --column names the one with the paths of images in a .csv, "
            ".tsv or .parquet. Give such a list, or leave out --column",
        ),
        (
            "images",
            ["-", "--lines"],
            "--lines: this run's model takes images, and only texts can stand one a line; paths from standard input "
            "are a line each anyway. Leave out --lines",
        ),
        (
            "digits",
            ["pixels.csv", "--invert"],
            "--invert: pixels.csv is no list of images but a table of pixels, which is taken as it stands. Leave out "
            "--invert",
        ),
        (
            "reviews",
            ["old.csv", "--invert"],
            "--invert: this run's model takes texts, and only images have black and white to change. Leave out "
            "--invert",
        ),
        (
            "reviews",
            ["old.csv", "--lines", "--column", "text"],
            "--lines and --column text: a line is one text and has no columns. Give one of them",
        ),
        (
            "reviews",
            ["old.csv", "--lines", "data.delimiter=tab"],
            "--lines and data.delimiter: a line is one text and is not cut. Give one of them",
        ),
        (
            "reviews",
            ["some.parquet", "--lines"],
            "--lines: some.parquet is Parquet, which has no lines. Leave out --lines",
        ),
        (
            "korean",
            ["some.parquet", "data.delimiter=tab"],
            "data.delimiter='tab': some.parquet is Parquet, which has no delimiter to be told. Leave out "
            "data.delimiter",
        ),
        (
            "reviews",
            ["some.parquet", "data.encoding=cp949"],
            "data.encoding='cp949': some.parquet is Parquet, which has no encoding to be told. Leave out data.encoding",
        ),
        (
            "strict_cells",
            ["people.csv", "--probabilities"],
            "--probabilities: this run's model predicts numbers, and only classes have probabilities. Leave out "
            "--probabilities",
        ),
        (
            "strict_cells",
            ["--split", "test", "--probabilities"],
            "--probabilities: this run's model predicts numbers, and only classes have probabilities. Leave out "
            "--probabilities",
        ),
        (
            "pairs",
            ["old.csv", "--probabilities"],
            "--probabilities: this run's model predicts texts, and only classes have probabilities. Leave out "
            "--probabilities",
        ),
        (
            "pairs",
            ["--split", "train", "--probabilities"],
            "--probabilities: this run's model predicts texts, and only classes have probabilities. Leave out "
            "--probabilities",
        ),
        (
            "images",
            ["--split", "test", "--keep", "all"],
            "--keep all: what this model was given, such as images, cannot stand in a table. Leave it out",
        ),
        (
            "korean",
            [""],
            "INPUT is an empty text: is a variable of the shell not set? Give a file, a folder or -",
        ),
    ],
)
def test_what_cannot_apply_is_refused(name, words, error, run_of, dltrain, files):
    answer = dltrain("predict", run_of(name), *words)
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {error}\n")


def test_what_asks_for_no_more_than_there_is_goes_through(run_of, predict, files):
    assert list(predict(run_of("wine"), "--split", "test", "--no-probabilities")[0])[:3] == [
        "true", "prediction", "probability",
    ]  # fmt: skip
    assert list(predict(run_of("diabetes"), "--split", "test", "--no-probabilities")[0]) == ["true", "prediction"]
    assert "등급: probability: 상" in predict(run_of("two_targets"), "people.csv", "--probabilities")[0]


# --- columns ----------------------------------------------------------------------------------------------


def test_the_column_of_paths_is_named(run_of, new_files, predict, dltrain, work):
    """Beside another one that is called as paths are, and with columns of any name to keep."""
    paths = sorted((new_files / "images" / "test").rglob("*.png"))[:3]
    rows = (f"x{number},{path},글{number}" for number, path in enumerate(paths))
    (work / "list.csv").write_text("\n".join(["file,사진,text", *rows]) + "\n", encoding="utf-8")
    run = run_of("images")
    whole = predict(run, new_files / "images" / "test")[:3]
    found = predict(run, "list.csv", "--column", "사진", "--keep", "text,사진")
    assert [row["prediction"] for row in found] == [row["prediction"] for row in whole]
    assert [(row["text"], row["사진"]) for row in found] == [(f"글{n}", str(path)) for n, path in enumerate(paths)]
    answer = dltrain("predict", run, "list.csv", "--column", "그림")
    assert answer.code == 3
    assert answer.err == (
        "error: list.csv: its first row has no column '그림', which --column names. It begins with: file, 사진, text\n"
    )


def test_texts_with_a_named_column_are_a_table(run_of, dltrain, monkeypatch):
    """What comes through a pipe is no text a line where the column is not in its first one."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("글,label\n가나,0\n".encode())))
    answer = dltrain("predict", run_of("reviews"), "-", "--column", "후기")
    assert answer.code == 3
    assert answer.err == (
        "error: standard input: its first row has no column '후기', which --column names. It begins with: 글, label\n"
    )


# --- what is given holds ----------------------------------------------------------------------------------


def test_a_delimiter_that_is_given_is_the_only_one(run_of, predict, dltrain, files):
    run = run_of("korean")
    expected = predict(run, "people.csv")
    assert predict(run, "semicolons.csv", "data.delimiter=;") == expected
    assert predict(run, "semicolons.csv", "data.delimiter=auto") == expected
    answer = dltrain("predict", run, "semicolons.csv", "data.delimiter=tab")
    assert answer.code == 3
    assert answer.err == (
        "error: semicolons.csv: its first row names no column that the model needs. It begins with: "
        "나이;도시;소득;회원. The model needs: 나이, 도시, 소득, 회원. It is read with data.delimiter='tab', as was "
        "given: leave that out, and it is told from the file\n"
    )
    texts = predict(run_of("reviews"), "texts.csv", "--column", "글", "data.delimiter=semicolon")
    assert len(texts) == 2


def test_what_the_training_was_given_is_tried_first_and_no_more(files, dltrain, predict):
    """A value that stands in the settings is a hint, for the new file may be another."""
    people = [f"{20 + n % 30},{['서울', '부산'][n % 2]},{['a', 'b'][n // 3 % 2]}" for n in range(40)]
    (files / "train.csv").write_bytes("\n".join(["나이;도시;y", *people]).replace(",", ";").encode("cp949"))
    words = [
        "data=csv", "data.path=train.csv", "data.target=y", "data.delimiter=;", "data.encoding=cp949", "report=false",
        "model=linear", "trainer.max_epochs=1", "callbacks=checkpoint", "device=cpu", "run_dir=run",
    ]  # fmt: skip
    assert dltrain(*words).code == 0
    assert len(predict("run", "people.csv")) == 2
    answer = dltrain("predict", "run", "people.csv", "data.delimiter=;")
    assert answer.code == 3 and "It is read with data.delimiter=';', as was given" in answer.err
    answer = dltrain("predict", "run", "people.csv", "data.encoding=cp949")
    assert answer.code == 3 and "It is read with data.encoding='cp949', as was given" in answer.err


def test_an_encoding_that_is_given_is_the_only_one(run_of, predict, dltrain, files):
    run = run_of("reviews")
    assert len(predict(run, "old.csv", "data.encoding=cp949")) == 2
    answer = dltrain("predict", run, "old.csv", "data.encoding=utf-8")
    assert answer.code == 3
    assert [row["error"] for row in predicting.rows_of(answer.out)] == ["it holds bytes that are not UTF-8"] * 2
    answer = dltrain("predict", run, "old.csv", "data.encoding=utf-16")
    assert answer.code == 3
    assert answer.err == "error: old.csv: it is not UTF-16-LE, or damaged (truncated data): save it as UTF-8\n"


def test_an_encoding_that_is_given_holds_for_a_pipe(run_of, dltrain, monkeypatch):
    for encoding, code in (("cp949", 0), ("utf-8", 3)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PEOPLE.encode("cp949"))))
        assert dltrain("predict", run_of("korean"), "-", f"data.encoding={encoding}").code == code


def test_a_header_that_is_given(run_of, predict, dltrain, files):
    answer = dltrain("predict", run_of("korean"), "people.csv", "data.header=false")
    assert answer.code == 3
    assert answer.err == (
        "error: people.csv: there is no column '나이' (and 3 more that the model needs). The columns are: column_1, "
        "column_2, column_3, column_4. With data.header=false its columns have no names: leave that out, or give a "
        "first row with the names. It is read with data.header='false', as was given: leave that out, and it is told "
        "from the file\n"
    )
    (files / "plain.csv").write_text("1,2\n3,4\n")
    (files / "named.csv").write_text("x,y\n1,2\n3,4\n")
    run = run_of("no_header")
    assert predict(run, "named.csv", "data.header=true") == predict(run, "plain.csv")


# --- a strict new user ------------------------------------------------------------------------------------


def test_a_text_in_place_of_a_file(run_of, dltrain, work):
    answer = dltrain("predict", run_of("reviews"), "가나다")
    assert answer.code == 3
    assert answer.err == (
        f"error: 가나다: there is no such file in {work}. A text itself is given through a pipe: echo 'TEXT' | "
        "dltrain predict RUN -\n"
    )


@pytest.mark.parametrize("words", [("Y", "N"), ("true", "False"), ("yes", "no"), ("1", "0")])
def test_kept_cells_stand_as_they_are_written(words, run_of, predict, work):
    """A model sees truth values as 1 and 0, and a person what is in the file."""
    rows = PEOPLE.replace("Y", words[0]).replace("N", words[1])
    (work / "truths.csv").write_text(rows, encoding="utf-8")
    for kept in ("all", "회원"):
        found = predict(run_of("korean"), "truths.csv", "--keep", kept)
        assert [row["회원"] for row in found] == [*words]


def test_kept_truth_values_stay_such_in_parquet(run_of, dltrain, work):
    frame = pd.read_csv(io.StringIO(PEOPLE)).assign(회원=[True, False])
    frame.to_parquet(work / "truths.parquet")
    assert dltrain("predict", run_of("korean"), "truths.parquet", "--keep", "all", "-o", "out.parquet").code == 0
    kept = pd.read_parquet(work / "out.parquet")[list(frame)]
    pd.testing.assert_frame_equal(kept, frame)


def test_all_columns_among_others(run_of, predict, files):
    rows = predict(run_of("korean"), "people.csv", "--keep", "회원,all", "--no-probabilities")
    assert list(rows[0])[:5] == ["회원", "나이", "도시", "소득", "prediction"]


def test_a_single_row_that_is_bad_has_a_name(run_of, dltrain, work, monkeypatch):
    (work / "a.png").write_text("no image")
    answer = dltrain("predict", run_of("images"), "a.png")
    reason = "a.png: this is no JPEG, PNG, BMP, GIF or WebP image"
    assert answer.code == 3
    assert answer.err == f"warning: {reason}\nerror: the only row cannot be predicted: {reason}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\nnone.png\n")))
    answer = dltrain("predict", run_of("images"), "-")
    assert answer.err.splitlines()[0] == "warning: row 1 of standard input: it names no file"
