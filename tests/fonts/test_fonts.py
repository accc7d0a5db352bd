"""The Korean letters of a page come with it."""

from __future__ import annotations

import base64
import io
import re

from fontTools.ttLib import TTFont

from dltrain import fonts


def letters_in(css):
    found = re.search(r"base64,([A-Za-z0-9+/=]+)\)", css)
    with TTFont(io.BytesIO(base64.b64decode(found[1]))) as font:
        return {chr(code) for code in font.getBestCmap()}


def test_a_page_gets_the_korean_letters_of_its_text_and_no_others():
    css = fonts.font_face("학습 곡선: loss 뷁, 2026년")
    assert css.startswith('@font-face { font-family: "dltrain-hangul"; src: url(data:font/woff;base64,')
    assert letters_in(css) == set("학습곡선뷁년")
    assert len(css) < 20_000


def test_a_page_without_korean_gets_no_font():
    assert fonts.font_face("loss = 0.5, café, 猫") == ""


def test_the_font_has_every_syllable_and_its_licence_beside_it():
    with TTFont(fonts.HANGUL) as font:
        assert {chr(code) for code in range(0xAC00, 0xD7A4)} <= {chr(code) for code in font.getBestCmap()}
    licence = fonts.HANGUL.with_name("OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE" in licence and "NAVER Corporation" in licence
