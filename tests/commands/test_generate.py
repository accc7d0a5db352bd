"""Text from a trained model."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys

import pytest
from commandline import DLTRAIN, at_terminal, environment

from dltrain import cli

PAIRS = {
    "어디 가니": "학교에 간다",
    "뭐 먹니": "밥을 먹는다",
    "언제 오니": "내일 온다",
    "왜 가니": "그냥 간다",
}


@pytest.fixture(scope="module")
def pair_run(tmp_path_factory):
    """A folder with a run that has learnt the answers to four questions by heart."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "pairs.csv").write_text("Q,A\n" + "".join(f"{q},{a}\n" for q, a in PAIRS.items()), encoding="utf-8")
    arguments = [
        "data=pairs_csv", f"data.path={folder / 'pairs.csv'}", "data.source=Q", "data.target=A", "data.tokens=word",
        "data.min_count=1", "data.validation_fraction=0", "data.test_fraction=0", "model=seq2seq", "model.embedding=16",
        "model.hidden=32", "optimizer.lr=0.02", "trainer.max_epochs=40", "callbacks=checkpoint",
        "callbacks.checkpoint.min_seconds=0", "callbacks.checkpoint.every_epochs=40", f"run_dir={folder / 'answers'}",
    ]  # fmt: skip
    assert cli.run(arguments) == 0
    return folder / "answers"


@pytest.mark.parametrize("how", [[], ["--beam", "4"], ["-t", "0.01", "--seed", "1"], ["-n", "3"]])
def test_a_model_of_pairs_answers(pair_run, dltrain, how):
    for question, words in PAIRS.items():
        answer = dltrain("generate", pair_run, question, *how)
        assert answer.code == 0, answer.err
        assert (answer.out, answer.err) == (f"{words}\n", "")


def test_an_answer_has_no_more_tokens_than_are_asked_for(pair_run, dltrain):
    assert dltrain("generate", pair_run, "뭐 먹니", "-n", "1").out == "밥을\n"


def test_what_is_unknown_of_a_question_is_told_beside_the_answer(pair_run, dltrain):
    answer = dltrain("generate", pair_run, "어디 가니 친구")
    assert answer.code == 0 and answer.err == (
        "unknown to the model, from the prompt: 친구\nof 3 tokens of the prompt the first 2 are read, as in training\n"
    )


def test_a_question_of_unknown_words_is_refused(pair_run, dltrain):
    answer = dltrain("generate", pair_run, "hello there")
    assert answer.code == 2
    assert answer.err == (
        "error: the model has seen nothing of the prompt 'hello there' in its training. Give one with other words\n"
    )


def test_a_beam_for_a_language_model(runs, dltrain):
    assert dltrain("generate", "last", "경마장에", "-n", "4", "--beam", "3").out == "경마장에 있는 말이 뛰고 있다\n"


def test_a_trained_model_writes_its_text(runs, dltrain):
    answer = dltrain("generate", "last", "경마장에", "-n", "4")
    assert answer.code == 0, answer.err
    assert answer.out == "경마장에 있는 말이 뛰고 있다\n"
    assert answer.err == ""


def test_temperature_and_seed(runs, dltrain):
    texts = {dltrain("generate", "last", "그의", "-n", "8", "-t", "3", "--seed", seed).out for seed in (1, 1, 2, 3, 4)}
    assert 2 <= len(texts) <= 4  # the same seed writes the same, others something else
    assert all(text.startswith("그의 ") and len(text.split()) == 9 for text in texts)


@pytest.mark.parametrize("bounds", [["-t", "0.001", "--seed", "0"], ["-t", "1000", "--seed", str(2**63 - 1)]])
def test_the_bounds_of_temperature_and_seed_can_be_used(bounds, runs, dltrain):
    answer = dltrain("generate", "last", "그의", "-n", "1", *bounds)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("그의 ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["last", "없는말"], ["has not seen the word '없는말'"]),
        (["last", ""], ["the prompt is empty"]),
        (["last", "그의", "-n", "0"], ["-n 0: must be at least 1"]),
        (["last", "그의", "-t", "-1"], ["--temperature -1.0: must be 0, or from 0.001 to 1000"]),
        (["last", "그의", "-t", "nan"], ["--temperature nan: must be 0, or from 0.001 to 1000"]),
        (["last", "그의", "-t", "0.0009"], ["must be 0, or from 0.001 to 1000"]),
        (["last", "그의", "-t", "1001"], ["must be 0, or from 0.001 to 1000"]),
        (["last", "그의", "--beam", "0"], ["--beam 0: must be from 1 to 1000"]),
        (["last", "그의", "--beam", "1001"], ["--beam 1001: must be from 1 to 1000"]),
        (
            ["last", "그의", "--beam", "3", "-t", "0.5"],
            ["--beam 3 with --temperature 0.5: a beam searches the likeliest text, and a temperature draws one. "],
        ),
        (
            ["last", "그의", "--beam", "3", "--top-k", "5"],
            ["--beam 3 with --top-k 5: a beam searches the likeliest text, and --top-k draws one. Give one of the two"],
        ),
        (
            ["last", "그의", "--beam", "3", "--top-p", "0.5"],
            ["--beam 3 with --top-p 0.5: a beam searches the likeliest text, and --top-p draws one. "],
        ),
        (
            ["last", "그의", "-t", "0", "--top-p", "0.5"],
            ["--top-p 0.5 with --temperature 0: at 0 the likeliest token is taken, and nothing is drawn. Leave one of"],
        ),
        (["last", "그의", "--top-k", "0"], ["--top-k 0: must be at least 1"]),
        (["last", "그의", "--top-p", "0"], ["--top-p 0.0: must be above 0 and at most 1"]),
        (["last", "그의", "--top-p", "1.01"], ["--top-p 1.01: must be above 0 and at most 1"]),
        (["last", "그의", "--top-p", "nan"], ["--top-p nan: must be above 0 and at most 1"]),
        (["last", "그의", "--samples", "0"], ["--samples 0: must be from 1 to 10000"]),
        (["last", "그의", "-t", "1", "--samples", "10001"], ["--samples 10001: must be from 1 to 10000"]),
        (
            ["last", "그의", "--samples", "3"],
            ["--samples 3: the likeliest text is one. Give --temperature, --top-k or --top-p, which draw, or --beam 3"],
        ),
        (
            ["last", "그의", "--samples", "5", "--beam", "3"],
            ["--samples 5 with --beam 3: a beam finds as many texts as it is wide. Give --beam 5 or more"],
        ),
        (["last", "그의", "--stream", "--beam", "2"], ["--stream with --beam 2: a single text can be printed while"]),
        (["last", "그의", "--stream", "-k", "2", "-s", "2"], ["--stream with --samples 2: a single text can be"]),
        (["last", "그의", "--stream", "--json"], ["--stream with --json: a single text can be printed while it is"]),
        (["last", "그의", "--seed", "-1"], ["--seed -1: must be at least 0 and below 2^63"]),
        (["last", "그의", "--seed", str(2**63)], ["must be at least 0 and below 2^63"]),
        (["last", "그의", "-n", "x"], ["invalid int value: 'x'"]),
        (["last", "그의", "-n", "1000001"], ["-n 1000001: must be at most 1,000,000"]),
        (
            ["iris", "그의"],
            ["is trained for multiclass", "generate needs a run that is trained for next_token or seq2seq"],
        ),
    ],
)
def test_what_cannot_be_written_is_told(arguments, words, runs, dltrain):
    answer = dltrain("generate", *arguments)
    assert answer.code == 2
    assert answer.out == ""
    for word in words:
        assert word in answer.err


# --- several texts, several prompts -----------------------------------------------------------------------


def given(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_several_draws_stand_below_each_other_with_their_numbers(runs, dltrain):
    answer = dltrain("generate", "last", "그의", "-n", "6", "-p", "0.95", "-s", "10", "--seed", "5")
    lines = answer.out.splitlines()
    assert [line[:5] for line in lines] == [f" [{i}] " for i in range(1, 10)] + ["[10] "]
    for number, line in enumerate(lines):
        alone = dltrain("generate", "last", "그의", "-n", "6", "-p", "0.95", "--seed", 5 + number).out
        assert line[5:] == alone.rstrip("\n")


def test_the_best_of_a_beam_as_json(runs, dltrain):
    answer = dltrain("generate", "last", "경마장에", "-n", "4", "-b", "3", "-s", "3", "--json")
    told = json.loads(answer.out)
    assert told["prompt"] == "경마장에" and len(set(told["texts"])) == 3
    assert told["texts"][0] == "경마장에 있는 말이 뛰고 있다"
    assert "경마장에" in answer.out and answer.out.count("\n") == 1


def test_a_closed_standard_input_is_told(runs, dltrain, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    answer = dltrain("generate", "last", "-")
    assert (answer.code, answer.err) == (3, "error: standard input is closed, so there are no prompts to read\n")


def test_each_line_of_the_input_is_a_prompt(runs, dltrain, monkeypatch):
    given(monkeypatch, "\ufeff경마장에\r\n그의\n".encode())
    answer = dltrain("generate", "last", "-", "-n", "2")
    assert (answer.code, answer.out, answer.err) == (0, "경마장에 있는 말이\n그의 말이 법이다\n", "")


def test_prompts_may_be_cp949_as_the_files_of_training_may(runs, dltrain, monkeypatch):
    given(monkeypatch, "경마장에\r\n그의\r\n".encode("cp949"))
    answer = dltrain("generate", "last", "-", "-n", "2")
    assert (answer.code, answer.out, answer.err) == (0, "경마장에 있는 말이\n그의 말이 법이다\n", "")


@pytest.mark.parametrize(
    ("given_bytes", "told"),
    [
        (b"", "error: standard input is empty\n"),
        (b"\x89PNG\r\n\x1a\n", "error: standard input: this is an image, and this run's model takes no images\n"),
    ],
)
def test_what_holds_no_prompts_is_told(runs, dltrain, monkeypatch, given_bytes, told):
    given(monkeypatch, given_bytes)
    answer = dltrain("generate", "last", "-")
    assert (answer.code, answer.out, answer.err) == (3, "", told)


def test_a_line_that_is_no_prompt_is_told_with_its_number_and_has_a_line(runs, dltrain, monkeypatch):
    given(monkeypatch, "경마장에\n\n그의".encode() + b"\xff\n" + "뭐지\n그의".encode())
    answer = dltrain("generate", "last", "-", "-n", "2")
    assert answer.code == 3
    assert answer.out == "경마장에 있는 말이\n\n\n\n그의 말이 법이다\n"
    lines = answer.err.splitlines()
    assert lines[:2] == [
        "warning: line 2: the prompt is empty: give at least one word",
        "warning: line 3: it is no UTF-8 text",
    ]
    assert lines[2].startswith("warning: line 4: the model has not seen the word '뭐지' of the prompt")


def test_several_texts_of_several_prompts_and_an_object_for_each(runs, dltrain, monkeypatch):
    given(monkeypatch, "경마장에\n뭐지\n".encode())
    answer = dltrain("generate", "last", "-", "-n", "1", "-k", "2", "-s", "2", "--json")
    first, second = map(json.loads, answer.out.splitlines())
    assert list(first) == ["prompt", "texts"] and len(first["texts"]) == 2
    assert second["prompt"] == "뭐지" and second["error"].startswith("the model has not seen the word '뭐지'")
    given(monkeypatch, "경마장에\n그의\n".encode())
    answer = dltrain("generate", "last", "-", "-n", "1", "-b", "2", "-s", "2")
    assert [line[:4] for line in answer.out.split("\n")] == ["[1] ", "[2] ", "", "[1] ", "[2] ", ""]


def test_a_seed_that_changes_nothing_is_told(runs, dltrain):
    answer = dltrain("generate", "last", "그의", "-n", "1", "--seed", "3")
    assert answer.out == "그의 말이\n"
    assert answer.err == "--seed 3 changes nothing: at temperature 0 nothing is drawn\n"


def test_a_text_that_is_streamed_is_the_same(runs, dltrain):
    for how in (["-n", "9"], ["-n", "9", "-t", "2", "--seed", "4"]):
        assert (
            dltrain("generate", "last", "그의", *how, "--stream").out == dltrain("generate", "last", "그의", *how).out
        )


@pytest.mark.slow
def test_a_terminal_sees_the_text_while_it_is_written(runs, work):
    screen = at_terminal("generate", "last", "경마장에", "-n", "4", cwd=work)
    assert screen.code == 0 and screen.text == "경마장에 있는 말이 뛰고 있다\r\n"
    screen = at_terminal("generate", "last", "그의", "-n", "300", "-t", "1", cwd=work)
    assert len(screen.pieces) > 20


@pytest.mark.slow
def test_ctrl_c_ends_a_text_on_a_line_of_its_own(runs, work):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*DLTRAIN, "generate", "last", "그의", "-n", "1000000", "-t", "1"],
        cwd=work,
        env=environment(TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    content = os.read(ours, 65536)  # it has begun
    os.killpg(process.pid, signal.SIGINT)
    with pytest.raises(OSError):  # which Linux raises when the other end is closed
        while piece := os.read(ours, 65536):
            content += piece
    os.close(ours)
    assert process.wait() == 130
    text = content.decode()
    assert text.startswith("그의") and text.endswith("\r\nstopped\r\n") and "Traceback" not in text
