"""``dltrain predict`` as a person calls it: words in any order, pipes, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time

import pytest
from commandline import DLTRAIN, environment

from dltrain import cli

HEADER = "sepal_length,sepal_width,petal_length,petal_width"
FLOWERS = f"id,{HEADER},종\n7,5.1,3.5,1.4,0.2,붓꽃\n8,6.3,2.5,5,1.9,\n"


@pytest.fixture(scope="module")
def sure(tmp_path_factory):
    """A run of iris that has learned the flowers below."""
    run = tmp_path_factory.mktemp("sure") / "iris"
    assert cli.run(["data=iris", "~callbacks.tensorboard", "report=false", "device.threads=1", f"run_dir={run}"]) == 0
    return run


@pytest.fixture
def flowers(sure, work):
    (work / "flowers.csv").write_text(FLOWERS, encoding="utf-8")
    return shutil.copytree(sure, work / "runs" / "2026-01-01" / "iris-sure")


def test_a_table_is_printed_as_csv(flowers, dltrain):
    answer = dltrain("predict", "iris", "flowers.csv")
    assert (answer.code, answer.err) == (0, "")
    header, *rows = answer.out.splitlines()
    assert header == ("prediction,probability,probability: setosa,probability: versicolor,probability: virginica,error")
    assert len(rows) == 2 and rows[0].startswith("setosa,0.") and rows[0].endswith(",")
    assert dltrain("predict", "iris", "flowers.csv", "-o", "-").out == answer.out


def test_words_may_stand_in_any_order(flowers, dltrain):
    plain = dltrain("predict", "iris", "flowers.csv", "--no-probabilities").out
    assert plain.splitlines()[0] == "prediction,probability,error"
    for words in (
        ("iris", "device=cpu", "flowers.csv", "--no-probabilities"),
        ("iris", "--no-probabilities", "flowers.csv", "device=cpu", "data.scaling=standard"),
        ("--no-probabilities", "iris", "--batch-size", "1", "flowers.csv"),
    ):
        assert dltrain("predict", *words).out == plain


def test_what_belongs_to_the_run_is_not_written_over(flowers, dltrain, work):
    (work / "rows.csv").write_text("a,b\n" + "1,2\n2,3\n" * 20, encoding="utf-8")
    trained = dltrain("data=csv", "data.path=rows.csv", "data.target=b", "run_dir=runs/x", "trainer.max_epochs=1")
    assert trained.code == 0
    for words in (("x", "--split", "train", "-o", "rows.csv"), ("x", "rows.csv", "-o", "runs/x/task.json")):
        before = (work / words[-1]).read_bytes()
        answer = dltrain("predict", *words)
        assert answer.code == 2 and (work / words[-1]).read_bytes() == before
        assert answer.err.startswith(f"error: -o {words[-1]}: ")
        assert answer.err.endswith(f"{words[-1]} belongs to the run, which would lose it. Name another file\n")
    assert dltrain("predict", "x", "rows.csv", "-o", "runs/x/new.csv").code == 0
    assert dltrain("predict", "x", "rows.csv", "-o", "runs/x/new.csv").code == 0


def test_columns_to_keep(flowers, dltrain):
    kept = dltrain(
        "predict", "iris", "flowers.csv", "--no-probabilities", "--keep", "종", "--keep", "id", "--row-numbers"
    )
    assert [line.split(",")[:4] for line in kept.out.splitlines()] == [
        ["row", "종", "id", "prediction"],
        ["2", "붓꽃", "7", "setosa"],
        ["3", "", "8", "virginica"],
    ]
    every = dltrain("predict", "iris", "flowers.csv", "--keep", "all", "--no-probabilities").out
    assert every.splitlines()[0] == f"id,{HEADER},종,prediction,probability,error"
    assert dltrain("predict", "iris", "flowers.csv", "--keep", "id,종").out.startswith("id,종,prediction,")
    answer = dltrain("predict", "iris", "flowers.csv", "--keep", "petal_with")
    assert answer.code == 2
    assert answer.err == "error: --keep petal_with: flowers.csv has no such column. Did you mean 'petal_width'?\n"


def test_a_kept_column_with_the_name_of_an_answer(flowers, dltrain, work):
    (work / "a.csv").write_text(FLOWERS.replace("id,", "prediction,", 1), encoding="utf-8")
    answer = dltrain("predict", "iris", "a.csv", "--keep", "prediction", "--no-probabilities")
    assert answer.out.splitlines()[0] == "prediction (input),prediction,probability,error"


def test_an_output_file(flowers, dltrain, work):
    answer = dltrain("predict", "iris", "flowers.csv", "-o", "out.jsonl", "--keep", "종")
    assert (answer.code, answer.out, answer.err) == (0, "2 rows written to out.jsonl\n", "")
    first, second = map(json.loads, (work / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert first["종"] == "붓꽃" and first["prediction"] == "setosa" and first["error"] is None
    assert second["종"] is None and 0 < second["probability: virginica"] < 1


def test_nothing_of_the_data_is_needed(flowers, dltrain, work):
    """What a run keeps is enough: its data may be gone, or changed."""
    expected = dltrain("predict", "iris", "flowers.csv").out
    task = json.loads((flowers / "task.json").read_text())
    task["fingerprint"] = "of other data"
    (flowers / "task.json").write_text(json.dumps(task))
    assert dltrain("predict", "iris", "flowers.csv").out == expected


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["iris"], "nothing to predict: give INPUT, which is a table, a folder of images, a text or - for standard"),
        (["iris", "device=cpu"], "nothing to predict: give INPUT"),
        (["iris", "a.csv", "b.csv"], "'b.csv': one INPUT is predicted at a time, and 'a.csv' is one already"),
        (["iris", "flowers.csv", "--split", "test"], "--split test predicts the run's own data, so INPUT"),
        (["iris", "--split", "test", "--strict"], "--split test predicts the run's own data, so --strict does not go"),
        (["iris", "flowers.csv", "--batch-size", "0"], "--batch-size 0: must be at least 1"),
        (["iris", "flowers.csv", "-o", "out"], "-o out: the ending says the format"),
        (["iris", "flowers.csv", "-o", "flowers.csv"], "-o flowers.csv: this is the file that is read"),
        (["iris", "flowers.csv", "model.hidden=[3]"], "model.hidden: [256, 128] -> [3]. The model stays as it"),
        (["iris", "flowers.csv", "data.scaling=none"], "data.scaling: standard -> none. The model stays as it was"),
        (["iris", "flowers.csv", "devic.name=cpu"], "no setting 'devic.name'. Did you mean 'device.name'?"),
        (["nothing", "flowers.csv"], "no run is named 'nothing'."),
    ],
)  # fmt: skip
def test_command_lines_that_cannot_be(words, error, flowers, dltrain):
    answer = dltrain("predict", *words)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith(f"error: {error}")


def test_a_file_whose_name_looks_like_a_setting(flowers, dltrain, work):
    (work / "a=b.csv").write_text(FLOWERS, encoding="utf-8")
    assert dltrain("predict", "iris", "a=b.csv").out == dltrain("predict", "iris", "flowers.csv").out


@pytest.mark.parametrize(
    ("change", "code", "error"),
    [
        (
            lambda run: (run / "task.json").unlink(),
            4,
            "has lost its task.json. Take it from a copy of the run; or 'dltrain resume ",
        ),
        (
            lambda run: (run / "task.json").write_text("{"),
            4,
            "(char 1). Take it from a copy of the run. Or remove it: ",
        ),
        (
            lambda run: (run / "task.json").write_text('{"task": {}}'),
            4,
            "task.json is damaged: its task cannot be read",
        ),
        (lambda run: (run / "checkpoints" / "best.json").write_text("{}"), 4, "best.json is damaged"),
    ],
)
def test_damaged_runs(change, code, error, flowers, dltrain):
    change(flowers)
    answer = dltrain("predict", "iris", "flowers.csv")
    assert answer.code == code and error in answer.err


def test_a_preprocessing_that_is_damaged(flowers, dltrain):
    task = json.loads((flowers / "task.json").read_text())
    for damaged in ({"shift": ["a", 0, 0, 0], "scale": [1] * 4}, {"shift": [0] * 4, "scale": [1] * 3}, {"table": 7}):
        task["preprocessing"] = damaged
        (flowers / "task.json").write_text(json.dumps(task))
        answer = dltrain("predict", "iris", "flowers.csv")
        assert answer.code == 4 and "task.json is damaged: its preprocessing cannot be read" in answer.err


def test_checkpoints(flowers, dltrain):
    best = dltrain("predict", "iris", "flowers.csv")
    last = dltrain("predict", "iris", "flowers.csv", "--checkpoint", "last")
    assert last.code == 0 and last.out.splitlines()[0] == best.out.splitlines()[0]
    answer = dltrain("predict", "iris", "flowers.csv", "--checkpoint", "step-7")
    assert answer.code == 4 and "has no checkpoint 'step-7'. There is: best, last, " in answer.err


# --- pipes ------------------------------------------------------------------------------------------------


def test_rows_are_predicted_as_they_come_until_the_reader_has_seen_enough(flowers, work):
    process = subprocess.Popen(
        [*DLTRAIN, "predict", "iris", "-", "--no-probabilities"], cwd=work, env=environment(), text=True, bufsize=1,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(f"{HEADER}\n5.1,3.5,1.4,0.2\n")
    assert process.stdout.readline() == "prediction,probability,error\n"
    assert process.stdout.readline().startswith("setosa,")
    process.stdin.write("abc,3.5,1.4,0.2\n6.3,2.5,5,1.9\n")
    assert process.stdout.readline() == ",,\"column 'sepal_length' holds 'abc', which is no number\"\n"
    assert process.stdout.readline().startswith("virginica,")
    process.stdout.close()  # as 'head -4' does
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write("5.1,3.5,1.4,0.2\n" * 200_000)
        pytest.fail("all rows are taken, though nobody reads what they give")
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert errors == "warning: row 3 of standard input: column 'sepal_length' holds 'abc', which is no number\n"
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stderr.close()


def test_ctrl_c_leaves_no_file_behind(flowers, work):
    process = subprocess.Popen(
        [*DLTRAIN, "predict", "iris", "-", "-o", "out.csv"], cwd=work, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    process.stdin.write(f"{HEADER}\n5.1,3.5,1.4,0.2\n")
    process.stdin.flush()
    while not list(work.glob(".out.csv.*")) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "stopped\n")
    assert not list(work.glob("*out.csv*")) and not list(work.glob(".out*"))


def test_it_is_quiet_where_nobody_listens(flowers, dltrain):
    answer = dltrain("predict", "iris", "flowers.csv")
    assert answer.code == 0 and answer.err == "" and len(answer.out.splitlines()) == 3
