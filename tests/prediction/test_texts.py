"""New texts: lines, columns and lists; classes, next tokens and answers."""

from __future__ import annotations

import io

import predicting
import pytest
import torch

from dltrain import averages, cli, registry, saved
from dltrain.checkpoint import load_state
from dltrain.data.text.tokens import TextCodec
from dltrain.generate import Choice, answered
from dltrain.prediction.answering import answers
from dltrain.prediction.texts import LinesTable, open_texts
from dltrain.prediction.wanted import ANY_FORMAT, Wanted
from dltrain.run_folder import RunFolder
from dltrain.weights import load_weights

WANTED = Wanted(["text"])


@pytest.fixture
def piped(monkeypatch, dltrain):
    """Returns a function that predicts what comes through standard input."""

    def run(text, *arguments):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        answer = dltrain("predict", *arguments)
        return answer, predicting.rows_of(answer.out)

    return run


# --- what a text is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "as_lines", "expected"),
    [
        ("a.txt", "가 나\n\n다\n", False, ["가 나", "", "다"]),
        ("a.txt", "id\ttext\tlabel\n1\t가 나\t0\n", False, ["가 나"]),
        ("a.txt", "id,text\n1,가 나\n", True, ["id,text", "1,가 나"]),
        ("a.txt", "the text, and more\n나\n", False, ["the text, and more", "나"]),
        ("a.txt", 'text\n"줄\n바꿈"\n', False, ["줄\n바꿈"]),
        ("a.txt", 'text\n"줄"\n', True, ["text", '"줄"']),
        ("a.csv", "text\n가 나\n", False, ["가 나"]),
        ("a.csv", 'label,text\n0,"가, ""나"""\n', False, ['가, "나"']),
        ("a.txt", "마지막 줄", False, ["마지막 줄"]),
        ("a.txt", "\r\n가\r\n", False, ["", "가"]),
    ],
)
def test_lines_and_tables_are_told_apart(name, content, as_lines, expected, tmp_path):
    (tmp_path / name).write_bytes(content.encode())
    table, column = open_texts(tmp_path / name, WANTED, ANY_FORMAT, as_lines=as_lines)
    rows = [row for part in table.rows([column], 2) for row in part.cells[column].to_pylist()]
    table.close()
    assert rows == expected


def test_without_quoting_quotes_are_characters(tmp_path):
    (tmp_path / "a.txt").write_text('id\tdocument\tlabel\n1\t"좋다\t1\n2\t좋"다"\t1\n', encoding="utf-8")
    table, column = open_texts(tmp_path / "a.txt", Wanted(["document"], quoting=False), ANY_FORMAT)
    assert [row for part in table.rows([column], 9) for row in part.cells[column].to_pylist()] == ['"좋다', '좋"다"']
    table.close()


def test_a_column_of_another_name(run_of, new_files, dltrain, work):
    lines = (new_files / "평_시험.csv").read_text(encoding="utf-8").replace("text,", "후기,", 1)
    (work / "a.csv").write_text(lines, encoding="utf-8")
    run = run_of("reviews")
    answer = dltrain("predict", run, "a.csv")
    assert answer.code == 3
    assert answer.err == (
        "error: a.csv: its first row names no column that the model needs. It begins with: 후기, label. The model "
        "needs: text. Where the texts stand in another column, name it with --column\n"
    )
    named = dltrain("predict", run, "a.csv", "--column", "후기")
    assert named.code == 0 and named.out == dltrain("predict", run, new_files / "평_시험.csv").out


def test_a_parquet_file_of_texts(run_of, new_files, predict, work):
    import pandas as pd

    pd.read_csv(new_files / "평_시험.csv").to_parquet(work / "a.parquet")
    run = run_of("reviews")
    assert predict(run, "a.parquet") == predict(run, new_files / "평_시험.csv")


# --- classes ----------------------------------------------------------------------------------------------


def test_an_empty_text_and_unknown_ones_have_a_class_as_in_training(run_of, piped):
    answer, rows = piped("\n   \nzzz\n", run_of("reviews"), "-")
    assert answer.code == 0
    assert answer.err == (
        "1 text has no syllable that the model knows and 2 texts are empty: what is predicted there hangs on nothing "
        "in the text\n"
    )
    assert rows[0] == rows[1] and all(row["prediction"] in ("좋음", "나쁨") for row in rows)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("reviews", "가나\n가z\n", ""),
        ("reviews", "zz\n가\n\n", "1 text has no syllable that the model knows and 1 text is empty"),
        ("reviews", "zz\ny x\n", "2 texts have no syllable that the model knows"),
        ("bag", "무슨 말\n", "1 text has no word that the model knows"),
    ],
)
def test_texts_of_which_the_model_knows_nothing_are_told_once(name, text, told, run_of, piped):
    answer, rows = piped(text, run_of(name), "-", "--batch-size", "1")
    assert answer.code == 0 and len(rows) == text.count("\n")
    assert all(row["prediction"] and not row["error"] for row in rows)
    assert answer.err == (f"{told}: what is predicted there hangs on nothing in the text\n" if told else "")


def test_row_numbers_and_all_columns_where_they_are_asked_for(run_of, piped):
    _, rows = piped("가\n나\n", run_of("reviews"), "-", "--row-numbers", "--keep", "all", "--no-probabilities")
    assert [list(row.values())[:2] for row in rows] == [["1", "가"], ["2", "나"]]
    assert list(rows[0]) == ["row", "text", "prediction", "probability", "error"]


def test_a_line_that_is_no_text(run_of, dltrain, work):
    (work / "a.txt").write_bytes("가\n".encode() + b"\xff\xff\n" + "나\n".encode())
    answer = dltrain("predict", run_of("reviews"), "a.txt")
    assert answer.code == 0
    assert answer.err.splitlines()[0] == "warning: row 2 of a.txt: it holds bytes that are not UTF-8"
    assert [bool(row["prediction"]) for row in predicting.rows_of(answer.out)] == [True, False, True]


# --- next tokens ------------------------------------------------------------------------------------------


def test_the_next_word_of_a_line(run_of, piped):
    answer, rows = piped("경마장에 있는\n\n없는단어\n", run_of("three_lines"), "-", "--probabilities")
    assert answer.err.splitlines() == [
        "warning: row 2 of standard input: the text is empty",
        "warning: row 3 of standard input: the model has not seen '없는단어' in its training",
    ]
    words = [column.removeprefix("probability: ") for column in rows[0] if column.startswith("probability: ")]
    assert words[0] == "<pad>" and rows[0]["prediction"] in words
    assert sum(float(rows[0][f"probability: {word}"]) for word in words) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["next", "stream"])
def test_the_next_token_is_the_one_with_which_generate_goes_on(name, run_of, new_files, piped, dltrain):
    lines = (new_files / "lines.txt").read_text(encoding="utf-8").splitlines()[:6]
    _, rows = piped("\n".join(lines), run_of(name), "-")
    compared = 0
    for line, row in zip(lines, rows, strict=True):
        if row["prediction"] not in ("<pad>", "<unk>"):  # which generate never writes
            written = dltrain("generate", run_of(name), line, "-n", "1").out.removesuffix("\n")
            assert written == line + row["prediction"].replace("</s>", "\n")
            compared += 1
    assert compared >= 3


# --- answers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A run that has learnt twelve answers of several lengths."""
    folder = tmp_path_factory.mktemp("talk")
    pairs = [(f"{'아주 ' * (k % 4)}질문{k}", " ".join(f"답{k}{n}" for n in range(1 + k % 5))) for k in range(12)]
    text = "source,target\n" + "".join(f"{q},{a}\n" for q, a in pairs)
    (folder / "pairs.csv").write_text(text, encoding="utf-8")
    arguments = [
        "data=pairs_csv", f"data.path={folder / 'pairs.csv'}", "data.min_count=1", "data.validation_fraction=0",
        "data.test_fraction=0", "model=seq2seq", "model.hidden=32", "model.embedding=16", "optimizer.lr=0.02",
        "trainer.max_epochs=60", "callbacks=checkpoint", "report=false", "device=cpu", f"run_dir={folder / 'run'}",
    ]  # fmt: skip
    assert cli.run(arguments) == 0
    return folder / "run", pairs


def test_all_answers_at_once_are_those_that_generate_gives_one_by_one(talk):
    run, pairs = talk
    folder = RunFolder(run)
    config = saved.load_config(saved.saved_config(folder), folder)
    kept, task = folder.read_task()["preprocessing"], saved.saved_task(folder)
    model = registry.build("model", config.model, task=task).eval()
    load_weights(model, averages.weights_in(load_state(folder, "best")[1]))
    source, target = (TextCodec.from_dict(kept[side]) for side in ("source", "target"))
    numbers = [source.encode(question) for question, _ in pairs]
    width = max(map(len, numbers))
    padded = torch.tensor([row + [0] * (width - len(row)) for row in numbers])
    for longest in (1, 3, task.inputs["target"].shape[0]):
        with torch.inference_mode():
            alone = [answered(model, source, target, row, longest, Choice()) for row in numbers]
        assert answers(model, padded, target, longest) == alone
    assert sum(own == answer for own, (_, answer) in zip(alone, pairs, strict=True)) > 8


def test_questions_of_a_file_and_of_a_pipe(talk, piped, predict, work):
    run, pairs = talk
    questions = [question for question, _ in pairs]
    answer, rows = piped("\n".join([*questions, "", "모름"]), run, "-", "--batch-size", "5")
    assert answer.err.splitlines() == [
        "warning: row 13 of standard input: the text is empty",
        "warning: row 14 of standard input: the model has seen nothing of it in its training",
    ]
    (work / "q.csv").write_text("n,source\n" + "".join(f"{n},{q}\n" for n, q in enumerate(questions)), encoding="utf-8")
    kept = predict(run, "q.csv", "--keep", "source")
    assert [row["prediction"] for row in kept] == [row["prediction"] for row in rows[:12]]
    assert [row["source"] for row in kept] == questions


def test_lines_that_are_no_utf_8_and_their_note(tmp_path):
    (tmp_path / "a.txt").write_bytes("가나다\n".encode("cp949"))
    table, _ = open_texts(tmp_path / "a.txt", WANTED, ANY_FORMAT)
    assert isinstance(table, LinesTable) and table.notes == [f"{tmp_path / 'a.txt'} is read as CP949"]
    table.close()
