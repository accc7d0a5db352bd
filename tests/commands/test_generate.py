"""Text from a trained model."""

from __future__ import annotations

import pytest

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
        (["last", "그의", "--seed", "-1"], ["--seed -1: must be at least 0 and below 2^63"]),
        (["last", "그의", "--seed", str(2**63)], ["must be at least 0 and below 2^63"]),
        (["last", "그의", "-n", "x"], ["invalid int value: 'x'"]),
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
