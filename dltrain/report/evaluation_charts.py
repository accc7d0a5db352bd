"""The plots of an evaluation: confusions, calibration, curves over thresholds, residuals.

K: classes. Each takes what ``evaluation.json`` holds of it, and gives None where that cannot be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dltrain.report.figures import COLORS, Trace, all_rounded, apart, layout, line, rounded, shown
from dltrain.report.page import Chart, figure

# More classes have names that cannot be read, and fields that cannot be told apart: then only the list is shown.
MOST_CLASSES = 50
_WRITTEN = 20

_LONGEST = 22
_RIGHT = [[0, "#ffffff"], [1, "#104e8b"]]
_WRONG = [[0, "#ffffff"], [1, "#be1e1e"]]
_HEIGHT = 380

# Of curves of the same colour, where there are more of them than colours.
_DASHES = ("solid", "dot", "dash")


def confusion(name: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Chart | None:
    """Draws (K, K) counts, true classes in rows; None of too many classes.

    The colour is the share of the row: blue where the prediction is right, red where it is wrong.
    """
    size = len(classes)
    if size > MOST_CLASSES or not size:
        return None
    names = apart(shown(one, _LONGEST) for one in classes)
    totals = [sum(row) or 1 for row in counts]
    shares = [[counts[i][j] / totals[i] for j in range(size)] for i in range(size)]
    right = [[share if i == j else None for j, share in enumerate(row)] for i, row in enumerate(shares)]
    wrong = [[share if i != j else None for j, share in enumerate(row)] for i, row in enumerate(shares)]
    traces = [
        _fields("right", right, names, counts, _RIGHT),
        _fields("wrong", wrong, names, counts, _WRONG),
    ]
    side = min(900, max(300, (30 if size > _WRITTEN else 46) * size))
    height = side + 60 + 7 * max(map(len, names))
    axis = {"type": "category", "showgrid": False, "ticks": "", "tickvals": names}
    drawn = layout(
        height,
        x="predicted",
        y="true",
        xaxis={**axis, "constrain": "domain", "constraintoward": "left"},
        yaxis={**axis, "autorange": "reversed", "scaleanchor": "x", "constrain": "domain"},
        showlegend=False,
        hovermode="closest",
    )
    label = f"confusion matrix of {size} classes; the largest confusions stand below as a list"
    return Chart(name, figure(traces, drawn), label, height, 26 * size)


def _fields(
    name: str, shares: list[list[float | None]], names: list[str], counts: Sequence[Sequence[int]], colors: list[Any]
) -> Trace:
    power = 0.6  # so that a few mistakes can be seen
    trace: Trace = {
        "type": "heatmap",
        "name": name,
        "x": names,
        "y": names,
        "z": [[None if share is None else rounded(share**power) for share in row] for row in shares],
        "customdata": [
            [None if share is None else [counts[i][j], f"{share:.1%}"] for j, share in enumerate(row)]
            for i, row in enumerate(shares)
        ],
        "zmin": 0,
        "zmax": 1,
        "colorscale": colors,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": (
            "true %{y}<br>predicted %{x}<br>%{customdata[0]} (%{customdata[1]} of the true)<extra></extra>"
        ),
    }
    if len(names) <= _WRITTEN:
        trace["text"] = [
            ["" if share is None or not counts[i][j] else str(counts[i][j]) for j, share in enumerate(row)]
            for i, row in enumerate(shares)
        ]
        trace["texttemplate"] = "%{text}"
    return trace


def calibration(name: str, values: dict[str, Any]) -> Chart | None:
    """Draws how often a model is right by how sure it is."""
    bins = [one for one in values.get("bins", []) if one.get("count") and rounded(one.get("accuracy")) is not None]
    if not bins:
        return None
    diagonal = _diagonal("right as often as it says", 0, 1)
    total = sum(one["count"] for one in bins)
    bars: Trace = {
        "type": "bar",
        "name": "right",
        "x": [(one["from"] + one["to"]) / 2 for one in bins],
        "y": all_rounded(one["accuracy"] for one in bins),
        "width": [one["to"] - one["from"] for one in bins],
        "customdata": [
            [f"{one['count']:,}", f"{one['count'] / total:.1%}", rounded(one["confidence"])] for one in bins
        ],
        "hovertemplate": (
            "says %{customdata[2]:.3f} on average<br>is right %{y:.3f}<br>"
            "%{customdata[0]} decisions (%{customdata[1]})<extra></extra>"
        ),
        "marker": {
            "color": COLORS[0],
            "opacity": [0.25 + 0.75 * math.sqrt(one["count"] / total) for one in bins],
            "line": {"color": COLORS[0], "width": 1},
        },
    }
    ends = {"range": [0, 1.02]}
    drawn = layout(_HEIGHT, x="probability of what is predicted", y="share that is right", xaxis=ends, yaxis=ends)
    return Chart(name, figure([bars, diagonal], drawn), "how often the model is right by how sure it is", _HEIGHT)


def _diagonal(name: str, low: float, high: float) -> Trace:
    look = {"color": "#8a929b", "width": 1.5, "dash": "dash"}
    trace: Trace = {"type": "scatter", "mode": "lines", "name": name, "x": [low, high], "y": [low, high]}
    return {**trace, "line": look, "hoverinfo": "skip"}


def roc(name: str, curves: dict[str, Any], areas: dict[str, Any]) -> Chart:
    """Draws the true positive rate over the false positive rate of each class against all others.

    Args:
        areas: below the curves, by the names of the classes.
    """
    traces = [*_over_thresholds(curves, areas, "AUROC"), {**_diagonal("chance", 0, 1), "showlegend": False}]
    return _curves(name, traces, "false positive rate", "true positive rate", "ROC curves")


def precision_recall(name: str, curves: dict[str, Any], areas: dict[str, Any]) -> Chart:
    traces = _over_thresholds(curves, areas, "AP")
    return _curves(name, traces, "recall", "precision", "curves of precision over recall")


def _over_thresholds(curves: dict[str, Any], areas: dict[str, Any], what: str) -> list[Trace]:
    traces = []
    for place, (label, points) in enumerate(curves.items()):
        area = rounded(areas.get(label))
        title = label if area is None else f"{_short(label)} ({what} {area:.3f})"
        xs, ys = [rounded(x) or 0.0 for x, _ in points], [y for _, y in points]
        trace = line(title, xs, ys, COLORS[place % len(COLORS)], mode="lines")
        trace["line"]["dash"] = _DASHES[place // len(COLORS) % len(_DASHES)]
        traces.append(trace)
    return traces


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _curves(name: str, traces: list[Trace], x: str, y: str, label: str) -> Chart:
    named = sum(trace.get("showlegend", True) for trace in traces)
    ends = {"range": [-0.02, 1.02]}
    height = _HEIGHT + 10 * named
    legend = {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top"}
    drawn = layout(height, x=x, y=y, xaxis=ends, yaxis=ends, legend=legend, hovermode="closest", showlegend=True)
    return Chart(name, figure(traces, drawn), label, height)


def residuals(name: str, values: dict[str, Any], target: str = "") -> list[Chart]:
    """Draws predicted over true values, and how the differences are spread.

    Args:
        target: what the values are called, where that is known.
    """
    of = f" {_short(target)}" if target else ""
    true, predicted = all_rounded(values.get("true", [])), all_rounded(values.get("predicted", []))
    known = [(a, b) for a, b in zip(true, predicted, strict=False) if a is not None and b is not None]
    if not known:
        return []
    xs, ys = [a for a, _ in known], [b for _, b in known]
    points: Trace = {"type": "scatter", "mode": "markers", "name": "samples", "x": xs, "y": ys, "showlegend": False}
    points |= {"marker": {"size": 5, "color": COLORS[0], "opacity": 0.5}}
    diagonal = _diagonal("exact", min(xs), max(xs))
    scatter = layout(_HEIGHT, x=f"true{of}", y=f"predicted{of}", hovermode="closest")
    spread = {"type": "histogram", "x": all_rounded(b - a for a, b in known), "marker": {"color": COLORS[0]}}
    count = layout(_HEIGHT, x="predicted less true", y="values", bargap=0.04, showlegend=False)
    total = values.get("values")
    some = f", {len(known):,} of {total:,} values" if isinstance(total, int) and total > len(true) else ""
    return [
        Chart(
            f"{name}-over-true",
            figure([points, diagonal], scatter),
            f"predicted over true values{some}",
            _HEIGHT,
        ),
        Chart(f"{name}-spread", figure([spread], count), f"how predicted less true values are spread{some}", _HEIGHT),
    ]
