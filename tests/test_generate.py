"""Text from a model that was really trained."""

from __future__ import annotations

import unicodedata

import pytest
import torch
from training import train

from dltrain.data.text.tokens import TextCodec, tokenize
from dltrain.errors import ConfigError
from dltrain.generate import generate

LINES = ["경마장에 있는 말이 뛰고 있다", "그의 말이 법이다", "가는 말이 고와야 오는 말이 곱다"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns a model by name, trained for 200 epochs on three lines, and its codec."""
    known = {}

    def model(name: str):
        if name not in known:
            folder = tmp_path_factory.mktemp("runs") / name
            outcome = train(folder, "data=korean_text", f"model={name}", "optimizer=adam", "trainer.max_epochs=200")
            assert outcome.trainer.row["val/accuracy"] == 1.0
            known[name] = outcome.parts.model, TextCodec.from_dict(outcome.folder.read_task()["preprocessing"])
        return known[name]

    return model


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_greedy_text_is_the_line_that_was_learnt(name, trained):
    model, codec = trained(name)
    for line in LINES:
        words = line.split()
        assert generate(model, codec, words[0], len(words) - 1, temperature=0) == line


def test_a_prompt_may_have_several_words(trained):
    model, codec = trained("lstm")
    assert generate(model, codec, "  가는   말이 ", 4, temperature=0) == LINES[2]


def test_draws_repeat_with_a_seed_and_differ_without(trained):
    model, codec = trained("lstm")

    def draws(seed):
        return [generate(model, codec, "그의", 12, temperature=3.0, seed=s) for s in seed]

    assert draws(range(5)) == draws(range(5))
    assert len(set(draws(range(5)))) == 5
    assert len(set(draws([None] * 5))) > 1


def test_draws_leave_the_global_generator_alone(trained):
    model, codec = trained("lstm")
    before = torch.get_rng_state()
    generate(model, codec, "그의", 5, temperature=2.0, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_low_temperature_comes_near_to_the_likeliest(trained):
    model, codec = trained("lstm")
    assert generate(model, codec, "경마장에", 4, temperature=0.01, seed=3) == LINES[0]


def test_padding_and_the_unknown_token_are_never_written(trained):
    model, codec = trained("lstm")
    words = generate(model, codec, "그의", 300, temperature=1000.0, seed=0).split()
    assert len(words) == 301 and set(words) == set(codec.vocabulary.tokens)


@pytest.mark.parametrize(("kind", "epochs"), [("syllable", 25), ("jamo", 2)])
def test_syllables_and_jamo_are_put_together(kind, epochs, tmp_path):
    outcome = train(
        tmp_path / kind, "data=korean_text", f"data.tokens={kind}", "model=gru", "model.hidden=32",
        "optimizer=adam", "optimizer.lr=0.03", f"trainer.max_epochs={epochs}",
    )  # fmt: skip
    codec = TextCodec.from_dict(outcome.folder.read_task()["preprocessing"])
    missing = len(tokenize(LINES[1], kind)) - len(tokenize("그의", kind))
    text = generate(outcome.parts.model, codec, "그의", missing, temperature=0)
    assert text.startswith("그의") and unicodedata.is_normalized("NFC", text)
    if kind == "syllable":
        assert text == LINES[1]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("강아지가", "the model has not seen the word '강아지가' of the prompt. There is: "),
        ("그의 말", "the model has not seen the word '말' of the prompt"),
        ("경마장에서", "the model has not seen the word '경마장에서' of the prompt. Did you mean '경마장에'?"),
        ("  ", "the prompt is empty: give at least one word"),
    ],
)
def test_a_prompt_that_the_model_cannot_read_is_refused(prompt, message, trained):
    model, codec = trained("lstm")
    with pytest.raises(ConfigError) as caught:
        generate(model, codec, prompt, 3, temperature=0)
    assert str(caught.value).startswith(message)
