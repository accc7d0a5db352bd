"""A sweep as a table of numbers and as a picture: CSV, SVG, PNG, and plain characters for a terminal.

The picture is a list of shapes, which are written as SVG for people's files and drawn as pixels for TensorBoard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from dltrain.lr_sweep.curve import Curve, Suggestion

if TYPE_CHECKING:
    from PIL.Image import Image

MEANINGS = {
    "steepest": "where the loss falls fastest",
    "valley": "two thirds down the longest fall",
    "tenth": "a tenth of the last rate before it climbs",
}

_WIDTH, _HEIGHT = 760, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 92, 48
_INK, _GREY, _GRID, _CURVE, _RAW = "#1b1b1b", "#4d5560", "#e3e6ea", "#1f5fae", "#a9b4c2"
_MARKS = {"steepest": "#b3541e", "valley": "#2f7d32", "tenth": "#8a2f8f"}

Suggestions = dict[str, Suggestion]
_Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Line:
    points: _Points
    color: str
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class _Dots:
    points: _Points
    color: str
    radius: float = 1.4


@dataclass(frozen=True)
class _Text:
    x: float
    y: float  # of the baseline
    text: str
    color: str = _GREY
    size: int = 12
    anchor: str = "start"


_Shape = _Line | _Dots | _Text


def csv(curve: Curve) -> str:
    """Returns the points of a sweep as CSV: step from 1, learning rate, loss and smoothed loss."""
    lines = ["step,learning_rate,loss,smoothed_loss"]
    points = zip(curve.rates, curve.losses, curve.smoothed, strict=True)
    lines += [f"{number},{rate!r},{loss!r},{smoothed!r}" for number, (rate, loss, smoothed) in enumerate(points, 1)]
    return "\n".join(lines) + "\n"


class _Axes:
    """Where a rate and a loss stand in a picture of a given size.

    The loss that explodes at the end would flatten all the rest, so the picture ends a little above where it began.
    """

    def __init__(self, curve: Curve, scale: str, left: float, right: float, top: float, bottom: float) -> None:
        self.logarithmic = scale == "exponential"
        self.low, self.high = curve.rates[0], max(curve.rates[-1], curve.diverged_at or 0.0)
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        begin = curve.smoothed[len(curve.rates) // 10]
        span = (begin - curve.lowest) or abs(begin) or 1.0
        self.least, self.most = curve.lowest - 0.08 * span, begin + 0.35 * span

    def x(self, rate: float) -> float:
        place, low, high = (math.log(v) if self.logarithmic else v for v in (rate, self.low, self.high))
        return self.left + (place - low) / ((high - low) or 1.0) * (self.right - self.left)

    def y(self, loss: float) -> float:
        share = (min(loss, self.most) - self.least) / (self.most - self.least)
        return self.bottom - share * (self.bottom - self.top)

    def shows(self, loss: float) -> bool:
        return self.least <= loss <= self.most

    def rate_ticks(self) -> list[float]:
        """Returns decades; where these are few, also 2 and 5 times each."""
        if not self.logarithmic:
            return _round_numbers(self.low, self.high, 7)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        factors = (1,) if last - first > 3 else (1, 2, 5)
        ticks = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in factors]
        return [tick for tick in ticks if self.low * 0.999 <= tick <= self.high * 1.001]

    def loss_ticks(self, count: int) -> list[float]:
        return _round_numbers(self.least, self.most, count)


def _round_numbers(low: float, high: float, count: int) -> list[float]:
    """Returns about ``count`` numbers 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * apart for number in range(math.ceil(low / apart), math.floor(high / apart) + 1)]


def _shapes(curve: Curve, suggestions: Suggestions, scale: str, title: str) -> list[_Shape]:
    axes = _Axes(curve, scale, _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM)
    key = "dots: loss of each update; line: smoothed"
    shapes: list[_Shape] = [_Text(_LEFT, 24, title, _INK, 15), _Text(axes.right, 24, key, anchor="end")]
    for rate in axes.rate_ticks():
        shapes.append(_Line([(axes.x(rate), axes.top), (axes.x(rate), axes.bottom)], _GRID))
        shapes.append(_Text(axes.x(rate), axes.bottom + 18, _short(rate), anchor="middle"))
    for loss in axes.loss_ticks(6):
        shapes.append(_Line([(axes.left, axes.y(loss)), (axes.right, axes.y(loss))], _GRID))
        shapes.append(_Text(axes.left - 8, axes.y(loss) + 4, f"{loss:.4g}", anchor="end"))
    corner = (axes.left, axes.bottom)
    shapes.append(_Line([(axes.left, axes.top), corner, (axes.right, axes.bottom)], _GREY))
    shapes.append(_Text((axes.left + axes.right) / 2, _HEIGHT - 10, "learning rate", _INK, anchor="middle"))
    shapes.append(_Text(axes.left - 8, axes.top - 10, "loss", _INK, anchor="end"))
    raw, smoothed = (list(zip(curve.rates, losses, strict=True)) for losses in (curve.losses, curve.smoothed))
    shapes.append(_Dots([(axes.x(rate), axes.y(loss)) for rate, loss in raw if axes.shows(loss)], _RAW))
    shapes.append(_Line([(axes.x(rate), axes.y(loss)) for rate, loss in smoothed], _CURVE, 2.0))
    for row, (rule, suggestion) in enumerate(suggestions.items()):
        shapes += _mark(axes, rule, suggestion, axes.top - 46 + 17 * row)
    return shapes


def _mark(axes: _Axes, rule: str, suggestion: Suggestion, y: float) -> list[_Shape]:
    """Returns the line of a rule, its name and rate beside the upper end, and a dot where it meets the curve."""
    if suggestion.rate is None or suggestion.loss is None:
        return []
    color, x = _MARKS[rule], axes.x(suggestion.rate)
    to_the_left = x > (axes.left + axes.right) / 2
    label = _Text(x + (-5 if to_the_left else 5), y, f"{rule} {suggestion.rate:g}", color, 12, _side(to_the_left))
    return [
        _Line([(x, y - 10), (x, axes.bottom)], color, 1.3, dashed=True),
        label,
        _Dots([(x, axes.y(suggestion.loss))], color, 4.0),
    ]


def _side(to_the_left: bool) -> str:
    return "end" if to_the_left else "start"


def _short(rate: float) -> str:
    """Returns 0.1 and 10, but 1e-4 for what is small."""
    if 0.001 < rate < 1e5 or not rate:
        return f"{rate:g}"
    mantissa, _, exponent = f"{rate:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def svg(curve: Curve, suggestions: Suggestions, scale: str, title: str) -> str:
    """Returns the picture as SVG.

    Args:
        scale: of the rates: exponential or linear.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="Helvetica, Arial, sans-serif">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        *map(_as_svg, _shapes(curve, suggestions, scale, title)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _as_svg(shape: _Shape) -> str:
    if isinstance(shape, _Text):
        return (
            f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size}" fill="{shape.color}" '
            f'text-anchor="{shape.anchor}">{escape(shape.text)}</text>'
        )
    if isinstance(shape, _Dots):
        dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{shape.radius:g}"/>' for x, y in shape.points]
        return f'<g fill="{shape.color}">{"".join(dots)}</g>'
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    dashes = ' stroke-dasharray="5 3"' if shape.dashed else ""
    return f'<polyline points="{points}" fill="none" stroke="{shape.color}" stroke-width="{shape.width:g}"{dashes}/>'


def picture(curve: Curve, suggestions: Suggestions, scale: str, title: str) -> Image:
    """Returns the same as pixels, RGB."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    anchors = {"start": "ls", "middle": "ms", "end": "rs"}
    for shape in _shapes(curve, suggestions, scale, title):
        if isinstance(shape, _Text):
            font = ImageFont.load_default(shape.size)
            draw.text((shape.x, shape.y), shape.text, shape.color, font, anchors[shape.anchor])
        elif isinstance(shape, _Dots):
            for x, y in shape.points:
                draw.circle((x, y), shape.radius, shape.color)
        else:
            draw.line(shape.points, shape.color, max(1, round(shape.width)))
    return image


def characters(curve: Curve, suggestions: Suggestions, scale: str, width: int, height: int = 14) -> str:
    """Returns the picture in plain characters.

    Args:
        width, height: columns, and lines of the part with the curve.
    """
    margin = 9
    axes = _Axes(curve, scale, 0, max(20, width - margin - 1), 0, height - 1)
    columns = int(axes.right) + 1
    grid = [[" "] * columns for _ in range(height)]
    for rate, loss in zip(curve.rates, curve.losses, strict=True):
        if axes.shows(loss) and grid[row := round(axes.y(loss))][column := round(axes.x(rate))] == " ":
            grid[row][column] = "."
    for rate, smoothed in zip(curve.rates, curve.smoothed, strict=True):
        grid[round(axes.y(smoothed))][round(axes.x(rate))] = "*"
    labels = {round(axes.y(loss)): f"{loss:.4g}" for loss in axes.loss_ticks(4)}
    lines = [f"{labels.get(number, ''):>{margin - 2}} |{''.join(row)}".rstrip() for number, row in enumerate(grid)]
    foot = ["-"] * columns
    for rule, suggestion in suggestions.items():
        if suggestion.rate is not None:
            column = round(axes.x(suggestion.rate))
            foot[foot.index("-", min(column, columns - len(suggestions)))] = rule[0].upper()
    lines.append(f"{'loss':>{margin - 2}} +{''.join(foot)}")
    lines.append(" " * margin + _rate_labels(axes, columns))
    marked = [f"{rule[0].upper()} {rule}" for rule, suggestion in suggestions.items() if suggestion.rate is not None]
    lines.append(" " * margin + ", ".join(["learning rate", *marked]))
    return "\n".join(lines)


def _rate_labels(axes: _Axes, columns: int) -> str:
    line = ""
    for rate in axes.rate_ticks():
        text = _short(rate)
        begin = max(0, round(axes.x(rate)) - len(text) // 2)
        if (not line or begin > len(line)) and begin + len(text) <= columns + 4:
            line = line.ljust(begin) + text
    return line
