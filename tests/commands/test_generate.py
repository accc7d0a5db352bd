"""Text from a trained model."""

from __future__ import annotations

import pytest


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
        (["last", "그의", "--seed", "-1"], ["--seed -1: must be at least 0 and below 2^63"]),
        (["last", "그의", "--seed", str(2**63)], ["must be at least 0 and below 2^63"]),
        (["last", "그의", "-n", "x"], ["invalid int value: 'x'"]),
        (["iris", "그의"], ["is trained for multiclass", "generate needs a next_token run"]),
    ],
)
def test_what_cannot_be_written_is_told(arguments, words, runs, dltrain):
    answer = dltrain("generate", *arguments)
    assert answer.code == 2
    assert answer.out == ""
    for word in words:
        assert word in answer.err
