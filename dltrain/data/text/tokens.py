"""Tokens of a text, and the vocabulary that numbers them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from dltrain.data.text.tokenizing import SPACE, cutter, join_morphemes, normalized
from dltrain.errors import ConfigError, did_you_mean

PADDING = 0
UNKNOWN = "<unk>"
START, END = "<s>", "</s>"
SPECIAL = (UNKNOWN, START, END)

TOKEN_KINDS = ("word", "syllable", "jamo", "bpe", "morpheme")
TOKENS_MEANING = (
    "What a token is: word (between white space), syllable (character), jamo (letter), bpe (pieces that are learnt "
    "from the training texts; needs vocabulary_size) or morpheme (Korean; needs kiwipiepy)."
)


def tokenize(text: str, kind: str, tokenizer: str | None = None) -> list[str]:
    """Cuts a line into tokens.

    ``word`` cuts at white space, ``syllable`` gives each character (a Hangul syllable is one; a run of white
    space is one space), ``jamo`` gives the consonants and vowels of which the syllables are made, ``bpe`` the pieces
    of a trained tokenizer, ``morpheme`` Korean morphemes with their tag, such as "말/NNG". The text is first composed
    to Unicode NFC, so that decomposed Hangul from a Mac gives the same tokens.

    Args:
        tokenizer: of ``bpe``, as JSON.

    Raises:
        DataError: the library that this kind needs is not installed.
    """
    return next(iter(cutter(kind, tokenizer)([normalized(text)])))


def join(tokens: Iterable[str], kind: str) -> str:
    """Puts tokens together to a text again, with a line break for each ``END``; jamo become syllables where they can.

    Raises:
        DataError: the library that this kind needs is not installed.
    """
    lines: list[list[str]] = [[]]
    for token in tokens:
        if token == END:
            lines.append([])
        else:
            lines[-1].append(token)
    return "\n".join(_join_line(line, kind) for line in lines)


def _join_line(tokens: list[str], kind: str) -> str:
    if kind == "morpheme":
        return join_morphemes(tokens)
    if kind == "bpe":
        return "".join(tokens).replace(SPACE, " ").strip()
    return unicodedata.normalize("NFC", (" " if kind == "word" else "").join(tokens))


def _called(kind: str) -> str:
    """Returns what a person calls a token of this kind."""
    return "piece" if kind == "bpe" else kind


@dataclass(frozen=True)
class Vocabulary:
    """Tokens numbered from 1 in order of frequency, then of first appearance; 0 is padding.

    Attributes:
        tokens: the token of number i + 1 at place i. Where the vocabulary has an unknown token, it is the last.
    """

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {token: i + 1 for i, token in enumerate(self.tokens)})

    def __len__(self) -> int:
        """Returns the number of numbers, padding included."""
        return len(self.tokens) + 1

    @property
    def unknown(self) -> int | None:
        """The number of the unknown token, if there is one."""
        return len(self.tokens) if self.tokens and self.tokens[-1] == UNKNOWN else None

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Returns the tokens' numbers; -1 for a token that has none, where there is no unknown token."""
        index: dict[str, int] = self._index  # type: ignore[attr-defined]
        other = self.unknown if self.unknown is not None else -1
        return [index.get(token, other) for token in tokens]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        return [self.tokens[number - 1] for number in numbers if number != PADDING]


@dataclass(frozen=True)
class TextCodec:
    """Turns a text into a model's input, and its output into text, as the training did.

    Attributes:
        context: T, the most tokens that the model sees.
        tokenizer: of ``bpe``, as JSON.
        form: how the model gets them: windows (padded to T on the left), stream or sequence (no padding), multi_hot
            or counts (a row of numbers).
    """

    kind: str
    vocabulary: Vocabulary
    context: int
    tokenizer: str | None = None
    form: str = "windows"

    def to_dict(self) -> dict[str, Any]:
        values = {"tokens": self.kind, "vocabulary": list(self.vocabulary.tokens), "context": self.context}
        if self.form != "windows":
            values["form"] = self.form
        if self.tokenizer is not None:
            values["tokenizer"] = self.tokenizer
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TextCodec:
        vocabulary = Vocabulary(tuple(values["vocabulary"]))
        context, tokenizer = int(values["context"]), values.get("tokenizer")
        return cls(values["tokens"], vocabulary, context, tokenizer, values.get("form", "windows"))

    def encode(self, text: str) -> list[int]:
        """Returns the numbers of a text's tokens; -1 for one that the vocabulary lacks.

        Raises:
            DataError: the library that the tokens need is not installed.
        """
        return self.vocabulary.encode(tokenize(text, self.kind, self.tokenizer))

    def cut_prompt(self, prompt: str) -> list[str]:
        """Returns a prompt's tokens. Where a space is a token, one at the end stays: the next word is to be written."""
        tokens = tokenize(prompt, self.kind, self.tokenizer)
        goes_on = self.form != "sequence" and self.kind in ("syllable", "jamo") and prompt[-1:].isspace()
        return [*tokens, " "] if tokens and goes_on and " " in self.vocabulary.tokens else tokens

    def encode_prompt(self, prompt: str) -> list[int]:
        """Returns the prompt's token numbers.

        Raises:
            ConfigError: the prompt is empty or holds a token that the vocabulary lacks.
            DataError: the library that the tokens need is not installed.
        """
        tokens = self.cut_prompt(prompt)
        if not tokens:
            raise ConfigError(f"the prompt is empty: give at least one {_called(self.kind)}")
        numbers = self.vocabulary.encode(tokens)
        unknown = [token for token, number in zip(tokens, numbers, strict=True) if number < 0]
        if unknown:
            known = self.vocabulary.tokens
            hint = did_you_mean(unknown[0], known)
            if len(known) > 30:  # too many to list
                hint = hint.partition(" There is:")[0]
            raise ConfigError(f"the model has not seen the {_called(self.kind)} '{unknown[0]}' of the prompt.{hint}")
        return numbers

    def window(self, numbers: list[int]) -> torch.Tensor:
        """Returns the last T numbers as (1, T) int64, padded on the left; of a stream no more than there are."""
        recent = numbers[-self.context :]
        padding = [] if self.form == "stream" else [PADDING] * (self.context - len(recent))
        return torch.tensor([padding + recent])
