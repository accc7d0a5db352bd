"""Cutting text into tokens, and numbering them."""

from __future__ import annotations

import json
import unicodedata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dltrain.data.tokens import TOKEN_KINDS, UNKNOWN, TextCodec, Vocabulary, join, tokenize
from dltrain.errors import ConfigError

KOREAN = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3) | st.sampled_from(" \tab1.,"), max_size=20)


@pytest.mark.parametrize(
    ("text", "kind", "tokens"),
    [
        ("  그의  말이\t법이다 ", "word", ["그의", "말이", "법이다"]),
        ("그의  말이", "syllable", ["그", "의", " ", "말", "이"]),
        ("말이", "jamo", ["ᄆ", "ᅡ", "ᆯ", "ᄋ", "ᅵ"]),
        ("", "word", []),
        (" \n", "syllable", []),
        ("가 a", "jamo", ["ᄀ", "ᅡ", " ", "a"]),
    ],
)
def test_text_is_cut_into_tokens(text, kind, tokens):
    assert tokenize(text, kind) == tokens


@pytest.mark.parametrize("kind", TOKEN_KINDS)
@given(text=KOREAN)
def test_tokens_join_to_the_text_again_but_for_runs_of_space(kind, text):
    assert join(tokenize(text, kind), kind) == " ".join(text.split())


@pytest.mark.parametrize("kind", TOKEN_KINDS)
@given(text=KOREAN)
def test_decomposed_hangul_gives_the_same_tokens(kind, text):
    assert tokenize(unicodedata.normalize("NFD", text), kind) == tokenize(text, kind)


def test_numbers_go_by_frequency_then_by_first_appearance():
    vocabulary = Vocabulary.count([["b", "a"], ["c", "a"], ["b", "d"]], size=None, min_count=1, unknown=False)
    assert vocabulary.tokens == ("b", "a", "c", "d")
    assert len(vocabulary) == 5  # and 0, the padding
    assert vocabulary.encode(["a", "b", "c", "d"]) == [2, 1, 3, 4]
    assert vocabulary.unknown is None
    assert vocabulary.encode(["e"]) == [-1]


@pytest.mark.parametrize(
    ("size", "min_count", "unknown", "tokens"),
    [
        (2, 1, False, ("a", "b", UNKNOWN)),
        (None, 2, False, ("a", "b", UNKNOWN)),
        (None, 1, True, ("a", "b", "c", UNKNOWN)),
        (9, 1, False, ("a", "b", "c")),
        (None, 9, False, (UNKNOWN,)),
    ],
)
def test_what_is_not_kept_is_the_unknown_token(size, min_count, unknown, tokens):
    lines = [["a", "a", "a", "b", "b", "c"]]
    vocabulary = Vocabulary.count(lines, size=size, min_count=min_count, unknown=unknown)
    assert vocabulary.tokens == tokens
    if UNKNOWN in tokens:
        assert vocabulary.unknown == len(tokens)
        assert vocabulary.encode(["zzz"]) == [len(tokens)]


@given(st.lists(st.lists(KOREAN, min_size=1, max_size=5), min_size=1, max_size=5))
def test_numbers_decode_to_their_tokens_and_padding_to_nothing(lines):
    vocabulary = Vocabulary.count(lines, size=None, min_count=1, unknown=False)
    for line in lines:
        numbers = vocabulary.encode(line)
        assert min(numbers) >= 1 and max(numbers) < len(vocabulary)
        assert vocabulary.decode([0, *numbers, 0]) == line


def codec(tokens: tuple[str, ...] = ("말이", "경마장에", "있는")) -> TextCodec:
    return TextCodec("word", Vocabulary(tokens), context=3)


def test_a_codec_survives_the_way_through_a_file():
    saved = json.loads(json.dumps(codec().to_dict(), ensure_ascii=False))
    assert TextCodec.from_dict(saved) == codec()


@pytest.mark.parametrize(
    ("numbers", "window"),
    [([], [0, 0, 0]), ([1], [0, 0, 1]), ([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 1], [2, 3, 1])],
)
def test_a_window_is_the_last_tokens_padded_on_the_left(numbers, window):
    tensor = codec().window(numbers)
    assert tensor.dtype == torch.int64
    assert tensor.tolist() == [window]


def test_a_prompt_becomes_numbers():
    assert codec().encode_prompt(" 경마장에  있는 ") == [2, 3]


def test_an_empty_prompt_is_refused():
    with pytest.raises(ConfigError, match=r"^the prompt is empty: give at least one word$"):
        codec().encode_prompt("  ")


MANY = tuple(f"w{i:03}" for i in range(99))


@pytest.mark.parametrize(
    ("tokens", "prompt", "word", "hint"),
    [
        (("말이", "경마장에"), "말이 경마장이", "경마장이", " Did you mean '경마장에'?"),
        (("말이", "법이다"), "cat", "cat", " There is: 말이, 법이다."),
        (MANY, "cat", "cat", ""),  # too many to list
        (MANY, "w055 w0055", "w0055", " Did you mean 'w055'?"),
    ],
)
def test_a_word_that_the_model_has_not_seen_is_named(tokens, prompt, word, hint):
    with pytest.raises(ConfigError) as caught:
        codec(tokens).encode_prompt(prompt)
    assert str(caught.value) == f"the model has not seen the word '{word}' of the prompt.{hint}"


def test_an_unseen_word_is_the_unknown_token_where_there_is_one():
    assert codec(("말이", UNKNOWN)).encode_prompt("말이 cat") == [1, 2]
