"""The tables of a comparison: settings and figures in rows, runs in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dltrain.console import number
from dltrain.directions import is_higher_better
from dltrain.results import columns, reading
from dltrain.results.comparing import Comparison
from dltrain.results.keys import spelled


@dataclass(frozen=True)
class Line:
    """A row of a table whose columns are runs.

    Attributes:
        best: the places of the best values, where one is better than another.
    """

    title: str
    cells: list[str]
    best: frozenset[int] = frozenset()


def setting_lines(comparison: Comparison) -> list[Line]:
    """Returns the settings in which the runs differ."""
    return [
        Line(
            columns.printable(key),
            [columns.cut(columns.printable(_spelled(each.config, key))) for each in comparison.runs],
        )
        for key in comparison.keys
    ]


def _spelled(config: dict[str, Any], key: str) -> str:
    return spelled(config[key]) if key in config else "-"


def figure_lines(comparison: Comparison) -> list[Line]:
    """Returns the best and the last figures of the runs, those of the test split, and how they ended."""
    runs, metric = comparison.runs, comparison.metric
    best = [each.best(metric) for each in runs]
    lines = [_figures(f"best {metric}", [None if one is None else one[0] for one in best], metric)]
    if any(one is not None and one[1] is not None for one in best):
        lines.append(Line("  in epoch", ["" if one is None or one[1] is None else f"{one[1]:g}" for one in best]))
    last = [reading.figures(each.rows[-1] if each.rows else {}) for each in runs]
    for name in dict.fromkeys(name for row in last for name in row if name.startswith(("val/", "val_to_train/"))):
        lines.append(_figures(f"last {name}", [row.get(name) for row in last], name))
    for name in dict.fromkeys(name for each in runs for name in each.run.test):
        if name != metric:
            lines.append(_figures(name, [each.run.test.get(name) for each in runs], name))
    for key in ("epochs", "time", "status"):
        cells = columns.column([each.run for each in runs], key, ()).cells
        lines.append(Line(key, cells))
    if not comparison.ranks:  # the best on other samples is no better
        lines = [replace(line, best=frozenset()) for line in lines]
    return [line for line in lines if any(line.cells)]


def _figures(title: str, values: Sequence[float | None], metric: str) -> Line:
    known = [value for value in values if value is not None]
    best = (max if is_higher_better(metric) else min)(known, default=None)
    places = frozenset(place for place, value in enumerate(values) if value == best is not None)
    is_told = len(set(known)) > 1
    cells = ["" if value is None else number(value) for value in values]
    return Line(columns.printable(title), cells, places if is_told else frozenset())


def blocks(lines: Sequence[Line], width: int, apart: int = 2) -> list[range]:
    """Returns ranges of runs whose columns fit a width together, one run at least in each."""
    left = width - max((columns.cell_width(line.title) for line in lines), default=0)
    count = len(lines[0].cells) if lines else 0
    widths = [max(3, *(columns.cell_width(line.cells[place]) + 1 for line in lines)) + apart for place in range(count)]
    found, start, used = [], 0, 0
    for place, needed in enumerate(widths):
        if place > start and used + needed > left:
            found.append(range(start, place))
            start, used = place, 0
        used += needed
    return [*found, range(start, count)] if count else []
