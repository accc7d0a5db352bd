"""Cutting text into tokens, and numbering them."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dltrain.data.text.corpus import corpus_of, numbering
from dltrain.data.text.tokenizing import train_byte_pairs
from dltrain.data.text.tokens import END, TOKEN_KINDS, UNKNOWN, TextCodec, Vocabulary, join, tokenize
from dltrain.errors import ConfigError

PLAIN = ("word", "syllable", "jamo")  # which need no library
KOREAN = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3) | st.sampled_from(" \tab1.,"), max_size=20)


def counted(lines: list[list[str]], *, size: int | None, min_count: int, unknown: bool) -> Vocabulary:
    """Numbers tokens the plain way, against which the quick one is held: by frequency, then by first appearance."""
    counts = Counter(token for line in lines for token in line)
    ranked = sorted(counts, key=lambda token: -counts[token])  # stable
    kept = [token for token in ranked if counts[token] >= min_count][:size]
    return Vocabulary((*kept, UNKNOWN) if unknown or len(kept) < len(ranked) else tuple(kept))


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


@pytest.mark.parametrize("kind", PLAIN)
@given(text=KOREAN)
def test_tokens_join_to_the_text_again_but_for_runs_of_space(kind, text):
    assert join(tokenize(text, kind), kind) == " ".join(text.split())


@pytest.mark.parametrize("kind", PLAIN)
@given(text=KOREAN)
def test_decomposed_hangul_gives_the_same_tokens(kind, text):
    assert tokenize(unicodedata.normalize("NFD", text), kind) == tokenize(text, kind)


def test_numbers_go_by_frequency_then_by_first_appearance():
    vocabulary = counted([["b", "a"], ["c", "a"], ["b", "d"]], size=None, min_count=1, unknown=False)
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
    vocabulary = counted(lines, size=size, min_count=min_count, unknown=unknown)
    assert vocabulary.tokens == tokens
    if UNKNOWN in tokens:
        assert vocabulary.unknown == len(tokens)
        assert vocabulary.encode(["zzz"]) == [len(tokens)]


@given(st.lists(st.lists(KOREAN, min_size=1, max_size=5), min_size=1, max_size=5))
def test_numbers_decode_to_their_tokens_and_padding_to_nothing(lines):
    vocabulary = counted(lines, size=None, min_count=1, unknown=False)
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


# --- byte pairs and morphemes -----------------------------------------------------------------------------

LINES = ["경마장에 있는 말이 뛰고 있다", "그의 말이 법이다", "가는 말이 고와야 오는 말이 곱다"]


@pytest.fixture(scope="module")
def byte_pairs() -> str:
    return train_byte_pairs(LINES * 3, 60, UNKNOWN)


def test_byte_pairs_join_to_the_text_again(byte_pairs):
    for line in LINES:
        pieces = tokenize(f" {line}  ", "bpe", byte_pairs)
        assert len(pieces) < len(line) and join(pieces, "bpe") == line
    assert tokenize(unicodedata.normalize("NFD", LINES[0]), "bpe", byte_pairs) == tokenize(LINES[0], "bpe", byte_pairs)
    assert "▁말이" in tokenize(LINES[0], "bpe", byte_pairs)
    assert UNKNOWN in tokenize("z", "bpe", byte_pairs)


def test_byte_pairs_are_the_same_whenever_they_are_learnt(byte_pairs):
    assert train_byte_pairs(LINES * 3, 60, UNKNOWN) == byte_pairs


def test_morphemes_have_their_tags_and_join_to_words():
    pytest.importorskip("kiwipiepy")
    tokens = tokenize("그의 말이 법이다", "morpheme")
    assert tokens == ["그/NP", "의/JKG", "말/NNG", "이/JKS", "법/NNB", "이/VCP", "다/EF"]
    assert join(tokens, "morpheme") == "그의 말이 법이다"
    assert join([*tokens, END, "말/NNG"], "morpheme") == "그의 말이 법이다\n말"
    assert tokenize("1/2", "morpheme") == ["1/2/W_SERIAL"] and join(["1/2/W_SERIAL"], "morpheme") == "1/2"
    assert join([], "morpheme") == ""


@pytest.mark.parametrize("kind", TOKEN_KINDS)
def test_a_codec_of_any_tokens_survives_the_way_through_a_file(kind, byte_pairs):
    if kind == "morpheme":
        pytest.importorskip("kiwipiepy")
    tokenizer = byte_pairs if kind == "bpe" else None
    tokens = tokenize(LINES[1], kind, tokenizer)
    known = counted([tokens], size=None, min_count=1, unknown=False)
    codec = TextCodec(kind, known, 4, tokenizer, "stream")
    again = TextCodec.from_dict(json.loads(json.dumps(codec.to_dict())))
    assert again == codec
    numbers = again.encode_prompt(LINES[1])
    assert numbers == codec.encode(LINES[1])
    assert join(again.vocabulary.decode(numbers), kind) == LINES[1]


def test_a_stream_is_not_padded_and_its_line_ends_are_line_breaks():
    codec = TextCodec("word", Vocabulary((END, "가", "나")), 3, form="stream")
    assert codec.window([2]).tolist() == [[2]] and codec.window([2, 3, 1, 2]).tolist() == [[3, 1, 2]]
    assert join(codec.vocabulary.decode([2, 3, 1, 2]), "word") == "가 나\n가"


# --- a whole corpus ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLAIN)
@given(lines=st.lists(KOREAN, min_size=1, max_size=12), size=st.none() | st.integers(1, 5), least=st.integers(1, 3))
def test_a_corpus_has_the_vocabulary_and_numbers_of_a_plain_count(kind, lines, size, least):
    import numpy as np

    training = np.arange(len(lines)) % 3 != 1
    corpus = corpus_of(lambda: lines, kind, total=len(lines))
    chosen = numbering(corpus, training, size=size, min_count=least, unknown=True)
    tokens = [tokenize(line, kind) for line in lines]
    seen = [line for line, trains in zip(tokens, training, strict=True) if trains]
    assert chosen.vocabulary == counted(seen, size=size, min_count=least, unknown=True)
    ragged = chosen.encode(corpus, fill_empty=True)
    unknown = [chosen.vocabulary.unknown]
    for number, line in enumerate(tokens):
        row = ragged.take(torch.tensor([number])).padded(torch.tensor([0]), ragged.longest)[0]
        assert row[row != 0].tolist() == (chosen.vocabulary.encode(line) or unknown)


def test_types_are_numbered_over_chunks_as_over_one():
    lines = [f"w{number * number % 7919} w{number}" for number in range(10_000)]
    corpus = corpus_of(lambda: lines, "word", total=len(lines))
    names = bytes(corpus.types).decode().split("\n")
    words = [word for line in lines for word in line.split()]
    assert [names[number] for number in corpus.tokens] == words
    assert names[:-1] == list(dict.fromkeys(words))


@pytest.mark.parametrize(
    ("kind", "form", "tokens", "expected"),
    [
        ("syllable", "stream", ("영", "화", " "), [1, 2, 3]),
        ("syllable", "windows", ("영", "화", " "), [1, 2, 3]),
        ("syllable", "sequence", ("영", "화", " "), [1, 2]),  # of a question it says nothing
        ("syllable", "stream", ("영", "화"), [1, 2]),
        ("word", "stream", ("영화",), [1]),
    ],
)
def test_a_space_at_the_end_of_a_prompt_is_a_token_where_spaces_are(kind, form, tokens, expected):
    found = TextCodec(kind, Vocabulary(tokens), 5, form=form)
    assert found.encode_prompt("영화  ") == expected
    assert found.encode_prompt(" 영화") == [number for number in expected if number != 3]
