"""The font that comes with dltrain: the Hangul that a machine may lack.

NanumSquareRound has all 11,172 syllables and Latin letters in one megabyte; ``OFL.txt`` beside it is its licence, the
SIL Open Font License 1.1, which lets it be passed on with any software and be put into any document.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

HANGUL = Path(__file__).with_name("NanumSquareRoundR.ttf")

# What a page calls the font by. It stands first in the list of fonts, for it has Korean letters alone: last, Chromium
# would draw boxes for a cell of Hangul, which it does not lay out again once the font is there.
FAMILY = "dltrain-hangul"


def font_face(text: str) -> str:
    """Returns the CSS that gives a page the Korean letters of its text; "" where it has none.

    Only these letters are put in, a few kilobytes, so that the page needs neither a network nor a font of the machine.
    """
    letters = {letter for letter in text if _is_korean(letter)}
    if not letters:
        return ""
    from fontTools import subset

    options = subset.Options()
    options.flavor, options.layout_features, options.notdef_outline = "woff", [], True
    stream = io.BytesIO()
    with subset.load_font(str(HANGUL), options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(text="".join(sorted(letters)))
        subsetter.subset(font)
        subset.save_font(font, stream, options)
    content = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'@font-face {{ font-family: "{FAMILY}"; src: url(data:font/woff;base64,{content}) format("woff") }}'


def _is_korean(letter: str) -> bool:
    """Tells whether a letter is a Hangul syllable or letter, or of the punctuation that is written with them."""
    return "\uac00" <= letter <= "\ud7a3" or "\u3130" <= letter <= "\u318f" or "\u3000" <= letter <= "\u303f"
