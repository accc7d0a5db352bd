"""Letters in pictures are letters, not boxes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dltrain import lettering
from dltrain.lettering import Lettering


@pytest.fixture(autouse=True)
def _no_fonts_of_this_machine(tmp_path, monkeypatch):
    """Fonts are looked for in a folder of the test alone."""
    monkeypatch.setattr(lettering, "_folders", lambda: iter([tmp_path / "fonts"]))
    lettering._say_missing.cache_clear()
    (tmp_path / "fonts").mkdir()


def test_latin_letters_need_no_font_of_the_machine(caplog):
    assert Lettering(["T-shirt/top", "Ankle boot", "x_1 (2) & 50%"]).labels == [
        "T-shirt/top",
        "Ankle boot",
        "x_1 (2) & 50%",
    ]
    assert not caplog.messages


def test_korean_needs_no_font_of_the_machine(caplog):
    words = Lettering(["고양이", "뷁", "dog (1)"])
    assert words.labels == ["고양이", "뷁", "dog (1)"] and not caplog.messages
    shapes = {bytes(words.font(16).getmask(letter)) for letter in "고양이뷁\uffff"}
    assert len(shapes) == 5  # none is the box that stands for a letter which a font lacks


def test_words_without_a_font_stand_as_numbers_and_that_is_said_once(caplog):
    assert Lettering(["แมว", "dog", "ม้า"]).labels == ["0", "dog", "2"]
    assert Lettering(["แมว"]).labels == ["0"]
    (said,) = caplog.messages
    assert said.startswith("no font of this machine has the letter ม: pictures name such classes by their number.")


def test_a_font_that_has_the_letters_is_found_among_files_that_are_none(tmp_path, caplog):
    found = list(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"))
    if not found:
        pytest.skip("needs DejaVuSans.ttf in /usr/share/fonts")
    (tmp_path / "fonts" / "NanumGothic.ttf").write_bytes(b"no font at all")
    shutil.copy(found[0], tmp_path / "fonts" / "some.ttf")
    words = Lettering(["Շուն", "Ք"])
    assert words.labels == ["Շուն", "Ք"] and not caplog.messages
    assert words.font(14).path == str(tmp_path / "fonts" / "some.ttf")
    assert words.font(14).getmask("Շ").getbbox() is not None


def test_decomposed_hangul_is_composed():
    assert Lettering(["\u1106\u1161\u11af", "a"]).labels == ["말", "a"]
    assert Lettering(["e\u0301"]).labels in (["é"], ["0"])
