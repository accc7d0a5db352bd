"""Tables as text: columns below each other for a file, Markdown for TensorBoard."""

from __future__ import annotations

import re

from rich.cells import cell_len


def aligned(header: list[str], rows: list[list[str]], longest: int = 120) -> str:
    """Returns rows of cells as lines of text, columns below each other; a cell that is longer is cut."""
    cut = [[_one_line(cell, longest) for cell in row] for row in [header, *rows]]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*cut, strict=True)]
    padded = (
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)) for row in cut
    )
    return "".join(f"{line.rstrip()}\n" for line in padded)


def markdown(header: list[str], rows: list[list[str]], longest: int = 500) -> str:
    """Returns rows of cells as a table in Markdown."""
    lines = [[_escaped(_one_line(cell, longest)) for cell in row] for row in [header, *rows]]
    lines.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one_line(text: str, longest: int) -> str:
    text = re.sub(r"\s+", " ", text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _escaped(text: str) -> str:
    """Returns text that stays as it is in Markdown: what has a meaning there as an HTML entity."""
    return re.sub(r"[\\`*_{}|<>\[\]#&~!]", lambda found: f"&#{ord(found[0])};", text)
