"""Figures of Plotly as plain values: what all plots of a run's report have in common.

Plotly's own classes would check them, and take as long to import as the whole page takes to write. Texts are escaped
where Plotly reads them as HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from dltrain.charts import COLORS as COLORS
from dltrain.report.page import FONTS

Trace = dict[str, Any]

# A curve with more points says no more on a screen, and makes the page large.
_MOST_POINTS = 1500

# Up to so many points each has a mark.
_MARKED = 60

# Of a layout: all curves tell their values at the place nearest to the mouse, however far that is.
TOGETHER: dict[str, Any] = {"hovermode": "x unified", "hoverdistance": -1}

_GRID, _AXIS = "#e3e6ea", "#7a828c"


def layout(height: int, *, x: str, y: str, **more: Any) -> dict[str, Any]:
    """Returns the look of a plot.

    Args:
        x, y: titles of the axes.
        more: what else a layout has; ``xaxis`` and ``yaxis`` are added to what the axes have.
    """
    axis = {"gridcolor": _GRID, "linecolor": _AXIS, "zeroline": False, "ticks": "outside", "tickcolor": _AXIS}
    axes = {
        name: {**axis, "title": {"text": shown(title), "standoff": 12}, "automargin": True, **more.pop(name, {})}
        for name, title in (("xaxis", x), ("yaxis", y))
    }
    return {
        "height": height,
        "font": {"family": FONTS, "size": 13, "color": "#222"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 10, "r": 20, "t": 40 if more.get("showlegend") is False or "legend" in more else 66, "b": 10},
        "hoverlabel": {"font": {"family": FONTS}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        **axes,
        **more,
    }


def line(name: str, xs: Sequence[float], ys: Sequence[object], color: str, **more: Any) -> Trace:
    """Returns a curve. What is no finite number is a gap in it."""
    points = thinned(list(xs), [rounded(y) for y in ys])
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(points) <= _MARKED else "lines",
        "name": shown(name),
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "line": {"color": color, "width": 2},
        "marker": {"size": 5},
        **more,
    }


def scales(active: str = "linear") -> dict[str, Any]:
    """Returns the buttons that draw the y axis linear or by its logarithm, for a layout.

    Args:
        active: "linear" or "log", as it is at first.
    """
    kinds = ("linear", "log")
    buttons = [
        {"label": kind, "method": "relayout", "args": [{"yaxis.type": kind, "yaxis.autorange": True}]} for kind in kinds
    ]
    place = {"x": 1, "xanchor": "right", "y": 0, "yanchor": "top", "pad": {"t": 28}}  # beside the title of the x axis
    looks = {"font": {"size": 11}, "bgcolor": "white", "bordercolor": "#c5cad1", "active": kinds.index(active)}
    return {"updatemenus": [{"type": "buttons", "direction": "right", "buttons": buttons, **place, **looks}]}


def thinned(xs: list[Any], ys: list[float | None]) -> list[tuple[Any, float | None]]:
    """Returns the points of a curve; of very many, in each stretch the least, the greatest and one gap."""
    points = list(zip(xs, ys, strict=True))
    if len(points) <= _MOST_POINTS:
        return points
    size = math.ceil(3 * len(points) / _MOST_POINTS)
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        known = [(y, place) for place in stretch if (y := ys[place]) is not None]
        kept |= {min(known)[1], max(known)[1]} if known else set()
        kept |= {next(place for place in stretch if ys[place] is None)} if len(known) < len(stretch) else set()
    return [points[place] for place in sorted(kept)]


def rounded(value: object) -> float | None:
    """Returns a number with six digits, which no eye tells from more; None of what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def all_rounded(values: Iterable[object]) -> list[float | None]:
    return [rounded(value) for value in values]


def shown(text: str, longest: int = 60) -> str:
    """Returns a text as Plotly shows it, cut where it is longer."""
    return escape(cut(text, longest), quote=False)


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def apart(texts: Iterable[str]) -> list[str]:
    """Returns texts of which no two are the same: Plotly takes those for one place on an axis."""
    seen: dict[str, int] = {}
    found = []
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
        found.append(text if seen[text] == 1 else f"{text} ({seen[text]})")
    return found
