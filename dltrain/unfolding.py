"""A text that comes token by token: how much of it is certain already, so that it can be shown while it is written."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from dltrain.data.text.tokens import END, TextCodec, join

# Vowels and final consonants of Hangul, which join the letter before them.
_JOINING_JAMO = range(0x1160, 0x1200)


class Unfolding:
    """Passes on a text piece by piece, never more of it than no later token can change.

    All pieces together are the text that ``tokens.join`` makes of all tokens.
    """

    def __init__(self, codec: TextCodec, tell: Callable[[str], None]) -> None:
        """
        Args:
            tell: is given each piece.
        """
        self._codec, self._tell = codec, tell
        self._tokens: list[str] = []
        self._line: list[str] = []  # of them, those behind the last line break
        self._before = ""  # what stands before that line
        self._shown = ""

    def add(self, *numbers: int) -> None:
        """Takes the next tokens."""
        for token in self._codec.vocabulary.decode(numbers):
            self._tokens.append(token)
            self._line.append(token)
            if token == END:
                self._before += join(self._line[:-1], self._codec.kind) + "\n"
                self._line = []
        self._pass_on(self._before + certain(self._line, self._codec.kind))

    def finish(self) -> str:
        """Passes on the rest, and returns the whole text."""
        whole = join(self._tokens, self._codec.kind)
        if whole.startswith(self._shown):
            self._pass_on(whole)
        else:  # so that what stands there last is right, whatever the tokens' library does
            self._tell(f"\n{whole}")
        return whole

    def _pass_on(self, text: str) -> None:
        if len(text) > len(self._shown) and text.startswith(self._shown):
            self._tell(text[len(self._shown) :])
            self._shown = text


def certain(line: list[str], kind: str) -> str:
    """Returns the beginning of a line's text that stays as it is, whatever tokens follow these."""
    if kind in ("syllable", "jamo"):
        # Marks, vowels and final consonants join the character before them: that is certain when another begins.
        begins = [place for place, token in enumerate(line) if place and _begins(token)]
        return join(line[: begins[-1]], kind) if begins else ""
    text = join(line, kind)
    if kind == "morpheme":  # an ending may melt into the word before it; a word that is followed by a space is over
        return text[: text.rfind(" ") + 1]
    return text


def _begins(token: str) -> bool:
    """Tells whether a character stands by itself whatever stands before it, in Unicode NFC.

    All characters that NFC joins to the one before them are marks, or vowels and final consonants of Hangul.
    """
    first = token[:1]
    return not (unicodedata.category(first).startswith("M") or ord(first) in _JOINING_JAMO) if first else False
