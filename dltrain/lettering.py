"""Letters in pictures: a font that has the letters of given words, Hangul for one, or numbers in place of the words.

Pillow brings a font of Latin letters, and dltrain one of Hangul. For others the fonts of this machine are looked
through; nothing is downloaded.
"""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dltrain import fonts
from dltrain.console import log

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

# Fonts that are looked at first: plain ones with the letters of Chinese and Japanese too, as their files are named.
_FIRST = ("nanumgothic", "nanumbarungothic", "notosanskr", "notosanscjk", "sourcehansans", "malgun", "applesdgothic",
          "applegothic", "undotum", "baekmuk", "dejavusans", "droidsansfallback", "unifont")  # fmt: skip
_MOST_FONTS = 500
_ENDINGS = (".ttf", ".otf", ".ttc")

# No font has a letter at this place, so what a font draws for it stands for every letter that it lacks.
_NO_LETTER = "\uffff"


class Lettering:
    """The words of a picture as they can be drawn.

    Attributes:
        labels: the words, composed to Unicode NFC; where no font has all their letters, the place of each instead,
            from 0, except for those that Pillow's own font can draw.
    """

    def __init__(self, words: Sequence[str]) -> None:
        words = [unicodedata.normalize("NFC", word) for word in words]
        letters = frozenset(letter for word in words for letter in word if not letter.isspace())
        found = _font_with(letters)
        self._path = found or None
        self.labels = list(words)
        if found is None:
            lacking = [_lacking(_font(None, 16), frozenset(word)) for word in words]
            self.labels = [str(place) if lacking[place] else word for place, word in enumerate(words)]
            _say_missing(next(letter for letter in lacking if letter))

    def font(self, size: int) -> Font:
        return _font(self._path, size)


def _font_with(letters: frozenset[str]) -> str | None:
    """Returns the file of a font that has the letters, "" for Pillow's own, or None."""
    if not _lacking(_font(None, 16), letters):
        return ""
    if not _lacking(_font(str(fonts.HANGUL), 16), letters):
        return str(fonts.HANGUL)
    return _file_with(letters, tuple(_folders()))


@functools.lru_cache(maxsize=64)
def _file_with(letters: frozenset[str], folders: tuple[Path, ...]) -> str | None:
    for path in sorted(_files(folders), key=_rank)[:_MOST_FONTS]:
        try:
            font = _font(str(path), 16)
        except OSError:  # no font, or one that FreeType cannot read
            continue
        if not _lacking(font, letters):
            return str(path)
    return None


def _folders() -> Iterator[Path]:
    """Yields where fonts lie on Linux and macOS, the user's own first, and those of Windows below it."""
    home = Path.home()
    yield Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "fonts"
    yield home / ".fonts"
    for shared in (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":"):
        yield Path(shared) / "fonts"
    for other in (home / "Library/Fonts", "/Library/Fonts", "/System/Library/Fonts", "/mnt/c/Windows/Fonts"):
        yield Path(other)


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        for root, _, names in os.walk(folder):  # which passes over what is missing or may not be read
            yield from (Path(root, name) for name in names if name.lower().endswith(_ENDINGS))


def _rank(path: Path) -> tuple[int, bool, int, str]:
    """Orders fonts: known ones first, then plain before bold, then short names, which have no further style."""
    name = path.stem.lower().replace("-", "").replace("_", "").replace(" ", "")
    known = [place for place, start in enumerate(_FIRST) if name.startswith(start)]
    styled = any(style in name for style in ("bold", "italic", "oblique", "light", "thin", "black"))
    return min(known, default=len(_FIRST)), styled, len(name), str(path)


def _lacking(font: Font, letters: frozenset[str]) -> str | None:
    """Returns a letter that a font does not have, or None."""
    missing = _drawn(font, _NO_LETTER)
    for letter in sorted(letters):
        drawn = _drawn(font, letter)
        if not letter.isspace() and (drawn == missing or not any(drawn[1])):
            return letter
    return None


def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@functools.lru_cache(maxsize=64)
def _font(path: str | None, size: int) -> Font:
    from PIL import ImageFont

    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


@functools.cache
def _say_missing(letter: str) -> None:
    log.warning(
        "no font of this machine has the letter %s: pictures name such classes by their number. Install one that has "
        "it, such as fonts-noto-cjk (apt install fonts-noto-cjk), or put a .ttf file into ~/.local/share/fonts",
        letter,
    )
