"""A confusion matrix as a picture: with names and counts where they fit, else as a map with the commonest confusions.

K: classes. Rows are the true classes, columns the predicted ones. A field's colour is its share of the row, so that
rare classes are seen as well as frequent ones: blue where the prediction is right, red where it is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dltrain.lettering import Lettering

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from dltrain.lettering import Font

Counts = NDArray[np.int64]

# More classes than this get no name and no count of each field, but a list of what is confused most often.
MOST_NAMED = 25

_MAP_SIDE = 900
_LISTED = 20
_LONGEST_LABEL = 18
_PAPER, _INK, _GREY = (255, 255, 255), (0, 0, 0), (110, 110, 110)
_RIGHT, _WRONG = (16, 78, 139), (190, 30, 30)
_GAP = 10


def draw(counts: Counts, names: list[str], title: str) -> Image:
    """Returns the picture of (K, K) counts.

    Args:
        names: K, of the classes.
    """
    lettering = Lettering(names)
    labels = [_short(label) for label in lettering.labels]
    if len(names) <= MOST_NAMED:
        return _table(counts, labels, lettering, title)
    return _map(counts, labels, lettering, title)


def most_confused(counts: Counts, at_most: int) -> list[tuple[int, int, int, float]]:
    """Returns (true, predicted, how often, share of the true class) of the commonest mistakes, the commonest first."""
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:at_most]
    found = [(int(place) // len(counts), int(place) % len(counts)) for place in order]
    totals = counts.sum(axis=1)
    return [(i, j, int(counts[i, j]), float(counts[i, j] / totals[i])) for i, j in found if mistakes[i, j]]


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"


def _colours(counts: Counts, power: float) -> NDArray[np.uint8]:
    """Returns (K, K, 3): white for nothing, full colour for all samples of the row.

    Args:
        power: of the shares; below 1 makes small ones visible.
    """
    shares = (counts / np.maximum(1, counts.sum(axis=1, keepdims=True)))[..., None] ** power
    full = np.where(np.eye(len(counts), dtype=bool)[..., None], np.array(_RIGHT), np.array(_WRONG))
    colours: NDArray[np.uint8] = np.rint(255 + shares * (full - 255)).astype(np.uint8)
    return colours


# --- few classes ------------------------------------------------------------------------------------------


def _table(counts: Counts, labels: list[str], lettering: Lettering, title: str) -> Image:
    from PIL import Image, ImageDraw

    size = len(labels)
    cell = min(64, max(30, 640 // size))
    font, small = lettering.font(14), lettering.font(12 if cell >= 40 else 10)
    margin = max(_width(font, label) for label in labels)
    upright = any(_width(font, label) > cell - 6 for label in labels)
    below = (margin if upright else _height(font)) + 2 * _GAP + _height(font)
    left, top = margin + 3 * _GAP + _height(font), 2 * _GAP + _height(font)
    width = max(left + size * cell + _GAP, _width(font, title) + 2 * _GAP)
    picture = Image.new("RGB", (width, top + size * cell + below + _GAP), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_GAP, _GAP), title, fill=_INK, font=font)
    colours = _colours(counts, power=0.7)
    for row in range(size):
        for column in range(size):
            box = (left + column * cell, top + row * cell, left + (column + 1) * cell, top + (row + 1) * cell)
            colour = tuple(colours[row, column].tolist())
            pen.rectangle(box, fill=colour, outline=(225, 225, 225))
            if counts[row, column]:
                ink = _INK if sum(colour) > 400 else _PAPER
                centre = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
                pen.text(centre, _count(int(counts[row, column]), small, cell), fill=ink, font=small, anchor="mm")
        middle = top + row * cell + cell // 2
        pen.text((left - _GAP // 2, middle), labels[row], fill=_INK, font=font, anchor="rm")
        _below(picture, labels[row], (left + row * cell + cell // 2, top + size * cell + _GAP // 2), font, upright)
    _axis_names(picture, (left, top, size * cell), font)
    return picture


def _count(count: int, font: Font, cell: int) -> str:
    """Returns a count as it fits into its field: 12345, 12k, or nothing."""
    for text in (str(count), f"{count / 1e3:.0f}k", f"{count / 1e6:.0f}M"):
        if _width(font, text) <= cell - 2:
            return text
    return ""


def _below(picture: Image, label: str, centre: tuple[int, int], font: Font, upright: bool) -> None:
    """Writes a label below a column, from bottom to top where it is too long for it."""
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (_width(font, label) + 2, _height(font)), _PAPER)
    ImageDraw.Draw(strip).text((0, 0), label, fill=_INK, font=font)
    if upright:
        strip = strip.transpose(Image.Transpose.ROTATE_90)
    picture.paste(strip, (centre[0] - strip.width // 2, centre[1]))


def _axis_names(picture: Image, field: tuple[int, int, int], font: Font) -> None:
    """Writes "true" at the left edge and "predicted" at the bottom one of a field (left, top, side)."""
    from PIL import Image, ImageDraw

    left, top, side = field
    pen = ImageDraw.Draw(picture)
    pen.text((left + side // 2, picture.height - _GAP // 2), "predicted", fill=_GREY, font=font, anchor="mb")
    strip = Image.new("RGB", (_width(font, "true") + 2, _height(font)), _PAPER)
    ImageDraw.Draw(strip).text((0, 0), "true", fill=_GREY, font=font)
    strip = strip.transpose(Image.Transpose.ROTATE_90)
    picture.paste(strip, (_GAP // 2, top + side // 2 - strip.height // 2))


# --- many classes -----------------------------------------------------------------------------------------


def _map(counts: Counts, labels: list[str], lettering: Lettering, title: str) -> Image:
    from PIL import Image, ImageDraw

    size = len(labels)
    cell = max(1, _MAP_SIDE // size)
    font, line = lettering.font(14), _height(lettering.font(14)) + 4
    left, top = 3 * _GAP + _height(font) + _width(font, str(size)), 2 * _GAP + _height(font)
    side = size * cell
    named = [label if label == str(place) else f"{place} {label}" for place, label in enumerate(labels)]
    listed = [
        f"{named[i]} -> {named[j]}:  {count} ({share:.0%})" for i, j, count, share in most_confused(counts, _LISTED)
    ]
    beside = ["most often confused", "(true -> predicted):", *listed]
    right = left + side + 2 * _GAP
    width = max(right + max(_width(font, text) for text in beside) + _GAP, _width(font, title) + 2 * _GAP)
    height = max(top + side + 3 * line, top + len(beside) * line + _GAP)
    picture = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_GAP, _GAP), title, fill=_INK, font=font)
    picture.paste(_fields(counts, cell), (left, top))
    pen.rectangle((left - 1, top - 1, left + side, top + side), outline=_GREY)
    for place in range(0, size, _tick(size)):
        middle = place * cell + cell // 2
        pen.line((left - 5, top + middle, left - 1, top + middle), fill=_GREY)
        pen.text((left - 7, top + middle), str(place), fill=_INK, font=font, anchor="rm")
        pen.line((left + middle, top + side, left + middle, top + side + 4), fill=_GREY)
        pen.text((left + middle, top + side + 6), str(place), fill=_INK, font=font, anchor="mt")
    _axis_names(picture, (left, top, side), font)
    _list(pen, beside, (right, top), line, font)
    return picture


def _fields(counts: Counts, cell: int) -> Image:
    """Returns the coloured fields, ``cell`` pixels wide; where that is one or two, mistakes are three to be seen."""
    from PIL import Image, ImageFilter

    side = len(counts) * cell
    colours = _colours(counts, power=0.35)
    picture = Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST)
    if cell >= 3:
        return picture
    mistakes = colours.copy()
    mistakes[np.eye(len(counts), dtype=bool)] = 255
    wider = Image.fromarray(mistakes).resize((side, side), Image.Resampling.NEAREST).filter(ImageFilter.MinFilter(3))
    diagonal = np.kron(np.eye(len(counts), dtype=np.uint8) * 255, np.ones((cell, cell), dtype=np.uint8))
    wider.paste(picture, (0, 0), Image.fromarray(diagonal))
    return wider


def _list(pen: ImageDraw, texts: list[str], corner: tuple[int, int], line: int, font: Font) -> None:
    for number, text in enumerate(texts):
        pen.text((corner[0], corner[1] + number * line), text, fill=_GREY if number < 2 else _INK, font=font)


def _tick(size: int) -> int:
    """Returns how far apart the numbers along a map stand, so that there are about ten of them."""
    return next(step for step in (5, 10, 20, 50, 100, 200) if size / step <= 12 or step == 200)


# --- sizes of text ----------------------------------------------------------------------------------------


def _width(font: Font, text: str) -> int:
    return round(font.getlength(text)) + 1


def _height(font: Font) -> int:
    box = font.getbbox("Ag가")
    return round(box[3]) + 2
