"""The curves of a comparison as a picture: SVG or PNG."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import charts
from dltrain.errors import ConfigError
from dltrain.results import terminal
from dltrain.results.comparing import Comparison
from dltrain.run_folder import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".svg", ".png")
_WIDTH, _HEIGHT = 860, 480
_DASHES = ("-", "--", ":", "-.")

# A legend of more lines than this stands beside the curves and not on them.
_MOST_INSIDE = 5
_LONGEST, _LEGEND_LINE = 60, 16


def check(path: Path) -> None:
    """
    Raises:
        ConfigError: the name says no kind of picture that can be written, or its folder is missing.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"-o {path}: a picture's name ends in {' or '.join(ENDINGS)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"-o {path}: there is no folder {path.absolute().parent}")


def write(path: Path, comparison: Comparison) -> None:
    """Writes the curves as a picture.

    Raises:
        MachineError: the file cannot be written.
    """
    with charts.style():
        figure = charts.new(_WIDTH, max(_HEIGHT, _LEGEND_LINE * len(comparison.groups) + 60))
        axes = figure.subplots()
        _draw(axes, comparison)
        if path.suffix.lower() == ".png":
            write_file(path, charts.png(figure))
        else:
            write_file(path, charts.svg(figure))


def _draw(axes: Axes, comparison: Comparison) -> None:
    curves = [each.points(comparison.metric, comparison.axis) for each in comparison.runs]
    groups = [group.members for group in comparison.groups]
    for number, group in enumerate(comparison.groups):
        look: dict[str, Any] = {
            "color": charts.COLORS[number % len(charts.COLORS)],
            "linestyle": _DASHES[number // len(charts.COLORS) % len(_DASHES)],
        }
        several = len(group.members) > 1
        if several:
            mean = _mean([curves[place] for place in group.members])
            _line(axes, mean, f"{_cut(group.label)}: mean of {len(group.members)} seeds", 2.4, 1.0, look)
        for place in group.members:
            label = "" if several else _cut(comparison.runs[place].label)
            _line(axes, curves[place], label, 1.0 if several else 1.6, 0.4 if several else 1.0, look)
    shown = terminal.frame([terminal.Curve("", 0, curves[place]) for group in groups for place in group])
    if shown is not None and shown.is_cut:
        pad = 0.04 * (shown.top - shown.bottom)
        axes.set_ylim(shown.bottom - pad, shown.top + pad)
    if comparison.axis != "seconds":
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(comparison.axis)
    axes.set_ylabel(comparison.metric)
    if len(groups) <= _MOST_INSIDE:
        axes.legend(loc="best")
    else:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def _line(
    axes: Axes, points: list[tuple[float, float | None]], label: str, width: float, alpha: float, look: dict[str, Any]
) -> None:
    if not points:
        return
    x = [point[0] for point in points]
    y = [math.nan if value is None else value for _, value in points]
    marker = "o" if sum(value is not None for _, value in points) == 1 else None
    axes.plot(x, y, label=label or "_", linewidth=width, alpha=alpha, marker=marker, **look)


def _mean(curves: list[list[tuple[float, float | None]]]) -> list[tuple[float, float | None]]:
    """Returns the mean of several curves where each of them has a value; of x too where these are times."""
    tables = [{x: y for x, y in curve if y is not None} for curve in curves]
    shared = [x for x in tables[0] if all(x in table for table in tables)]
    if shared:
        return [(x, statistics.fmean(table[x] for table in tables)) for x in shared]
    points = zip(*(table.items() for table in tables), strict=False)  # one may have fewer
    return [(statistics.fmean(x for x, _ in point), statistics.fmean(y for _, y in point)) for point in points]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
