"""Images of a data set in rows, each with what is true of it and what a model says below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from dltrain import pictures
from dltrain.data import Data
from dltrain.lettering import Lettering
from dltrain.readable import Entry

if TYPE_CHECKING:
    from PIL.Image import Image

    from dltrain.lettering import Font

# The side of an image, which is about what its texts need; small images are enlarged by a whole number.
_SIDE = 112
_IN_A_ROW = 8
_GAP = 8
_LINE = 15
_PAPER, _INK, _RIGHT, _WRONG, _GREY = (255, 255, 255), (0, 0, 0), (16, 78, 139), (190, 30, 30), (110, 110, 110)


def draw(data: Data, entries: Sequence[Entry], title: str) -> Image:
    """Returns a picture of samples that are images.

    Below each stand its place in the split and its loss, what is true, and what is predicted with its probability,
    blue where that is right and red where it is wrong; for each target, where there are several.
    """
    from PIL import Image, ImageDraw

    names = data.task.class_names or sorted({word for e in entries for t in e.told.values() for word in t.words})
    lettering = Lettering(names)
    words = dict(zip(names, lettering.labels, strict=True))
    font = lettering.font(12)
    pixels = pictures.to_bytes(torch.stack([entry.image for entry in entries if entry.image is not None]), data)
    height, width = pixels.shape[1:3]
    factor = max(1, _SIDE // max(height, width)) if max(height, width) <= _SIDE else _SIDE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    cell = (_SIDE + _GAP, size[1] + _LINE * (1 + 2 * len(entries[0].told)) + 2 * _GAP)
    columns = min(_IN_A_ROW, len(entries))
    top = 2 * _GAP + _LINE
    whole = max(columns * cell[0] + _GAP, round(font.getlength(title)) + 2 * _GAP)
    picture = Image.new("RGB", (whole, top + -(-len(entries) // columns) * cell[1]), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_GAP, _GAP), title, fill=_INK, font=font)
    for number, entry in enumerate(entries):
        left, upper = _GAP + number % columns * cell[0], top + number // columns * cell[1]
        picture.paste(pictures.image_of(pixels[number], size), (left, upper))
        for row, (text, ink) in enumerate(_below(entry, words, font)):
            pen.text((left, upper + size[1] + 2 + row * _LINE), text, fill=ink, font=font)
    return picture


def _below(entry: Entry, words: dict[str, str], font: Font) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yields the lines below an image, each with its colour."""
    yield f"{entry.place}" if entry.loss is None else f"{entry.place}  loss {entry.loss:.3g}", _GREY
    for told in entry.told.values():
        yield _cut(words.get(told.true, told.true), font, _SIDE), _INK
        chance = "" if told.probability is None else f" {told.probability:.0%}"
        room = _SIDE - round(font.getlength(chance))
        yield _cut(words.get(told.predicted, told.predicted), font, room) + chance, _RIGHT if told.is_right else _WRONG


def _cut(text: str, font: Font, room: int) -> str:
    """Returns a text, or as much of its beginning as is no wider than ``room`` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}...") > room:
        text = text[:-1]
    return f"{text}..."
