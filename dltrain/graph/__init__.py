"""A model as a picture: ``dltrain summary --graph FILE.svg``.

``flow`` follows samples through the model, ``layout`` says where its boxes stand, and here they are drawn.
"""

from __future__ import annotations

import itertools
import unicodedata
from pathlib import Path
from xml.sax.saxutils import escape

from dltrain.errors import ConfigError
from dltrain.graph.flow import Box, Graph, follow
from dltrain.graph.layout import Layout, place
from dltrain.models import FittedModel
from dltrain.run_folder import write_file
from dltrain.sketch import Sketch

_MOST_BOXES = 120
_MARGIN = 24.0
_HEADER = 34.0
_LINE = 16.0
_PADDING = 8.0
_FONT = 12.0
_FILLS = {
    "input": "#e3efe0",
    "output": "#e3efe0",
    "layer": "#e4ecf7",
    "block": "#d3e0f3",
    "function": "#f8eed6",
}
_INK, _GREY, _LINES = "#1b1b1b", "#4d5560", "#5b6472"


def write(path: Path, drawn: Sketch, depth: int | None, title: str) -> str:
    """Draws a model into a file; returns a line that says what was drawn.

    Args:
        depth: levels of layers inside layers; None goes as deep as a picture of readable size allows.

    Raises:
        ConfigError: the model has no layers.
        MachineError: the file cannot be written.
    """
    if isinstance(drawn.model, FittedModel):
        raise ConfigError("--graph: this model is fitted to all samples at once: it has no layers to draw")
    graph = _graph(drawn, depth)
    write_file(path, svg(graph, title))
    return f"{path}: {len(graph.boxes)} boxes"


def _graph(drawn: Sketch, depth: int | None) -> Graph:
    if depth is not None:
        return follow(drawn.model, drawn.inputs, depth)
    deepest = max(name.count(".") for name, _ in drawn.model.named_modules()) + 1
    for levels in range(deepest, 0, -1):
        graph = follow(drawn.model, drawn.inputs, levels)
        if len(graph.boxes) <= _MOST_BOXES:
            return graph
    return follow(drawn.model, drawn.inputs, 0)


def svg(graph: Graph, title: str) -> str:
    """Returns the picture, as SVG."""
    texts = {number: _texts(box) for number, box in graph.boxes.items()}
    sizes = {number: _size(lines) for number, lines in texts.items()}
    layout = place(sizes, graph.edges)
    width = max(layout.width, _length(title) * 1.15) + 2 * _MARGIN
    height = layout.height + 2 * _MARGIN + _HEADER
    shift = (width - layout.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="{_FONT:g}">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0.5 L8,4 L0,7.5 z" fill="{_LINES}"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_MARGIN:g}" y="{_MARGIN + _FONT:g}" font-size="14" font-weight="bold" fill="{_INK}">'
        f"{escape(title)}</text>",
        f'<g transform="translate({shift:.1f},{_MARGIN + _HEADER:.1f})">',
        *(_edge(path) for path in layout.paths.values()),
        *(_box(graph.boxes[number], texts[number], sizes[number], layout, number) for number in sorted(graph.boxes)),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _texts(box: Box) -> list[str]:
    """Returns the lines in a box: what it is, its name, its shape and parameters."""
    shape = " x ".join(map(str, box.output)) or "1"
    if box.role == "function" and len(box.lines) == 1:
        return [*box.lines, shape]
    size = f", {box.parameters:,} parameters" if box.parameters else ""
    if box.role in ("input", "output"):
        return [box.name, f"{box.lines[0]}{shape}"]
    return [*box.lines, *([box.name] if box.name else []), f"{shape}{size}"]


def _size(lines: list[str]) -> tuple[float, float]:
    return max(map(_length, lines)) + 2 * _PADDING, _LINE * len(lines) + 2 * _PADDING - 2


def _length(text: str) -> float:
    """Returns about how many pixels a text is long; letters of Korean, Chinese and Japanese are twice as wide."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return _FONT * (0.58 * (len(text) - wide) + wide)


def _box(box: Box, lines: list[str], size: tuple[float, float], layout: Layout, number: int) -> str:
    (x, y), (width, height) = layout.centres[number], size
    strong = 1 if box.role in ("input", "output") else len(box.lines)
    dashes = ' stroke-dasharray="4 3"' if box.role == "output" and box.lines[0] else ""
    parts = [
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5" '
        f'fill="{_FILLS[box.role]}" stroke="{_LINES}"{dashes}/>'
    ]
    for place_of_line, line in enumerate(lines):
        baseline = y - height / 2 + _PADDING + _LINE * (place_of_line + 0.5) + _FONT * 0.3
        style = f'fill="{_INK}"' if place_of_line < strong else f'fill="{_GREY}" font-size="11"'
        parts.append(f'<text x="{x:.1f}" y="{baseline:.1f}" text-anchor="middle" {style}>{escape(line)}</text>')
    return "\n".join(parts)


def _edge(path: list[tuple[float, float]]) -> str:
    """Returns a line through points, upright where it enters and leaves them."""
    commands = [f"M{path[0][0]:.1f},{path[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in itertools.pairwise(path):
        if abs(x - to_x) < 0.5:
            commands.append(f"L{to_x:.1f},{to_y:.1f}")
        else:
            half = (y + to_y) / 2
            commands.append(f"C{x:.1f},{half:.1f} {to_x:.1f},{half:.1f} {to_x:.1f},{to_y:.1f}")
    return f'<path d="{" ".join(commands)}" fill="none" stroke="{_LINES}" stroke-width="1.2" marker-end="url(#arrow)"/>'
