"""A text that is shown while it is written: never a piece that has to be taken back."""

from __future__ import annotations

import random
import sys
import unicodedata

import pytest

from dltrain.data.text.tokenizing import train_byte_pairs
from dltrain.data.text.tokens import END, TextCodec, Vocabulary, join, tokenize
from dltrain.unfolding import Unfolding, certain

LINES = [
    "경마장에 있는 말이 뛰고 있다",
    "걸었던 길을 걷지 못했다. 추워서 못 나갔는데, 고마워!",
    "café naïve Ｗｉｄｅ 1,234.5 é ㅋㅋㅋ",
    "값어치 없는 닭을 볶았다",
]


def unfolded(kind: str, tokens: list[str]) -> tuple[list[str], str]:
    """Returns the pieces that are shown, and what is returned at the end."""
    codec = TextCodec(kind, Vocabulary(tuple(dict.fromkeys(tokens))), 9)
    pieces: list[str] = []
    unfolding = Unfolding(codec, pieces.append)
    for number in codec.vocabulary.encode(tokens):
        unfolding.add(number)
    return pieces, unfolding.finish()


def streams(kind: str, count: int) -> list[list[str]]:
    """Returns tokens of real lines, and of no sense at all."""
    tokenizer = train_byte_pairs(LINES, 60, "<unk>") if kind == "bpe" else None
    real = [tokenize(line, kind, tokenizer) for line in LINES]
    chance = random.Random(0)
    known = sorted({token for line in real for token in line} | {END})
    return [*real, *([chance.choice(known) for _ in range(chance.randrange(1, 40))] for _ in range(count))]


@pytest.mark.parametrize("kind", ["word", "syllable", "jamo", "bpe"])
def test_the_pieces_together_are_the_text(kind):
    for tokens in streams(kind, 300):
        pieces, whole = unfolded(kind, tokens)
        assert whole == join(tokens, kind)
        assert "".join(pieces) == whole
        assert all(pieces)


def test_morphemes_come_out_as_the_words_that_they_are():
    pytest.importorskip("kiwipiepy")
    for tokens in streams("morpheme", 60):
        pieces, whole = unfolded("morpheme", tokens)
        assert "".join(pieces) == whole == join(tokens, "morpheme")


@pytest.mark.parametrize(
    ("kind", "line", "shown"),
    [
        ("word", ["그의", "말이"], "그의 말이"),
        ("syllable", ["말", "이"], "말"),
        ("syllable", ["말"], ""),
        ("jamo", list(unicodedata.normalize("NFD", "말이")), "말"),
        ("jamo", list(unicodedata.normalize("NFD", "마")), ""),  # a final consonant may follow
        ("jamo", ["e", "x", "\u0301"], "e"),
        ("bpe", ["▁말", "이", "▁"], "말이"),  # a space at the end of a line would go
        ("bpe", ["▁말", "이", "▁", "가"], "말이 가"),
    ],
)
def test_what_is_certain_of_a_line(kind, line, shown):
    assert certain(line, kind) == shown


def test_an_ending_that_melts_into_its_word_is_waited_for():
    pytest.importorskip("kiwipiepy")
    assert certain(["나/NP", "는/JX", "춥/VA-I"], "morpheme") == "나는 "
    assert certain(["나/NP", "는/JX", "춥/VA-I", "어/EC"], "morpheme") == "나는 "  # 추워


def test_nothing_that_is_shown_is_ever_taken_back_silently(monkeypatch):
    """Where what is certain were not so, the right text stands below."""
    monkeypatch.setattr("dltrain.unfolding.certain", lambda line, kind: "".join(line))
    pieces, whole = unfolded("word", ["가", "나"])
    assert whole == "가 나" and pieces == ["가", "나", "\n가 나"]


@pytest.mark.slow
def test_all_that_joins_the_character_before_it_is_a_mark_or_a_jamo():
    for code in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (chr(int(part, 16)) for part in parts)
            if unicodedata.normalize("NFC", first + second) == chr(code):
                assert unicodedata.category(second).startswith("M")
    for syllable in range(0xAC00, 0xD7A4):
        assert all(0x1160 <= ord(jamo) < 0x1200 for jamo in unicodedata.normalize("NFD", chr(syllable))[1:])
