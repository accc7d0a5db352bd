"""Curves in characters: fine lines of Braille dots in colours, or letters where there is neither.

A library would be one more dependency for what is a page here, and those there are tell curves apart by colour alone:
in a pipe, on paper or without colour vision a letter does.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

# Of eight dots in a character, 2 wide and 4 high, the bit of each (Unicode, Braille patterns).
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BRAILLE = 0x2800

# Colours of a terminal that are told apart on a dark and on a light ground.
COLORS = ("dodger_blue1", "dark_orange", "green3", "magenta3", "gold3", "cyan3", "red3", "grey53")

_MARGIN = 11


@dataclass(frozen=True)
class Curve:
    """A line with a letter.

    Attributes:
        color: its number; curves that belong together have the same.
        points: x and y, in the order of x; None for a y that was not finite, where the line has a gap.
    """

    letter: str
    color: int
    points: list[tuple[float, float | None]]


@dataclass(frozen=True)
class Frame:
    """The part of the plane that is shown.

    Attributes:
        is_cut: some values lie above or below it.
    """

    left: float
    right: float
    bottom: float
    top: float
    is_cut: bool = False


def frame(curves: Sequence[Curve]) -> Frame | None:
    """Returns what to show: all points but those few that would flatten all others; None where there are none.

    What lies more than three times the range of the middle 80 % of all values beyond these is left out, as the loss of
    a run that diverges.
    """
    points = [(x, y) for curve in curves for x, y in curve.points if y is not None]
    if not points:
        return None
    xs, ys = [x for x, _ in points], sorted(y for _, y in points)
    bottom, top = ys[0], ys[-1]
    if len(ys) >= 10:
        tenths = statistics.quantiles(ys, n=10)
        reach = 3 * (tenths[-1] - tenths[0])
        if reach > 0:
            bottom = min(y for y in ys if y >= tenths[0] - reach)
            top = max(y for y in ys if y <= tenths[-1] + reach)
    is_cut = (bottom, top) != (ys[0], ys[-1])
    if bottom == top:
        bottom, top = bottom - (abs(bottom) or 1) * 0.05, top + (abs(top) or 1) * 0.05
    return Frame(min(xs), max(xs), bottom, top, is_cut)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Returns about ``count`` numbers 1, 2 or 5 times a power of ten apart."""
    if not low < high:
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9)
    return [number * apart for number in range(first, last + 1)]


class _Grid:
    """Characters with their colours.

    Args:
        fine: a character holds 2 by 4 dots instead of one letter.
    """

    def __init__(self, width: int, height: int, shown: Frame, fine: bool) -> None:
        self.width, self.height, self.shown, self.fine = width, height, shown, fine
        self.across, self.down = (2, 4) if fine else (1, 1)
        self.dots = [[0] * width for _ in range(height)]
        self.letters = [[""] * width for _ in range(height)]
        self.colors = [[-1] * width for _ in range(height)]

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Returns the dot of a point, from the left and from the top; points beyond stand at the edge."""
        shown = self.shown
        wide, high = self.width * self.across - 1, self.height * self.down - 1
        column = (x - shown.left) / ((shown.right - shown.left) or 1.0) * wide
        row = (shown.top - y) / (shown.top - shown.bottom) * high
        return round(min(max(column, 0), wide)), round(min(max(row, 0), high))

    def draw(self, curve: Curve) -> None:
        before: tuple[int, int] | None = None
        for x, y in curve.points:
            here = None if y is None else self.place(x, y)
            if here is not None:
                for column, row in _line(before or here, here):
                    self.put(column, row, curve)
            before = here

    def put(self, column: int, row: int, curve: Curve) -> None:
        at, line = column // self.across, row // self.down
        self.dots[line][at] |= _DOTS[column % 2][row % 4] if self.fine else 0
        self.letters[line][at] = curve.letter
        self.colors[line][at] = curve.color

    def cells(self, line: int) -> Iterator[tuple[str, int]]:
        for dots, letter, color in zip(self.dots[line], self.letters[line], self.colors[line], strict=True):
            yield (chr(_BRAILLE + dots) if dots else letter if not self.fine and letter else " "), color


def _line(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yields the dots from one to another, so that each touches the next."""
    (x0, y0), (x1, y1) = start, end
    steps = max(abs(x1 - x0), abs(y1 - y0))
    for step in range(steps + 1):
        share = step / steps if steps else 0.0
        yield round(x0 + share * (x1 - x0)), round(y0 + share * (y1 - y0))


def chart(curves: Sequence[Curve], shown: Frame, width: int, height: int, axis: str, fine: bool) -> list[Text]:
    """Returns the lines of a chart; each curve has its letter at its right end.

    Args:
        width, height: columns and lines of all of it.
        axis: what x is.
        fine: Braille dots and colours; else letters.
    """
    from rich.text import Text

    ends = _ends(curves, shown, height - 2)
    margin = max((len(letters) for letters in ends.values()), default=0) + 1 if fine else 0
    grid = _Grid(max(10, width - _MARGIN - margin), height - 2, shown, fine)
    for curve in curves:
        grid.draw(curve)
    labels = {}
    for value in ticks(shown.bottom, shown.top, max(2, (height - 2) // 3)):
        labels[grid.place(shown.left, value)[1] // grid.down] = f"{value:.6g}"
    lines = []
    for number in range(grid.height):
        line = Text(f"{labels.get(number, ''):>{_MARGIN - 3}} {'┤' if number in labels else '│'}")
        if not fine:
            line = Text(f"{labels.get(number, ''):>{_MARGIN - 3}} |")
        for color, cells in itertools.groupby(grid.cells(number), key=lambda cell: cell[1]):
            line.append(
                "".join(cell for cell, _ in cells), COLORS[color % len(COLORS)] if fine and color >= 0 else None
            )
        for curve in ends.get(number, ()) if fine else ():
            line.append(curve.letter, COLORS[curve.color % len(COLORS)])
        line.rstrip()
        lines.append(line)
    return [*lines, *map(Text, _foot(grid, axis, fine))]


def _ends(curves: Sequence[Curve], shown: Frame, height: int) -> dict[int, list[Curve]]:
    """Returns the curves that end in each line."""
    grid = _Grid(1, height, shown, fine=False)
    ends: dict[int, list[Curve]] = {}
    for curve in curves:
        known = [(x, y) for x, y in curve.points if y is not None]
        if known:
            ends.setdefault(grid.place(*known[-1])[1], []).append(curve)
    return ends


def _foot(grid: _Grid, axis: str, fine: bool) -> list[str]:
    """Returns the axis at the bottom, and the numbers under it."""
    shown, blank = grid.shown, " " * (_MARGIN - 2)
    marks = ticks(shown.left, shown.right, max(2, grid.width // 14))
    places = {grid.place(value, shown.bottom)[0] // grid.across: f"{value:.6g}" for value in marks}
    corner, dash, tick = ("└", "─", "┬") if fine else ("+", "-", "+")
    rule = blank + corner + "".join(tick if column in places else dash for column in range(grid.width))
    numbers = f"{axis:>{_MARGIN - 3}}"
    for column, text in places.items():
        start = len(blank) + 1 + column - len(text) // 2
        if start > len(numbers):
            numbers = numbers.ljust(start) + text
    return [rule, numbers]


def colors_by(groups: Sequence[Sequence[int]]) -> dict[int, int]:
    """Returns a colour's number for each run, those of a group alike."""
    return {place: number for number, group in enumerate(groups) for place in group}
