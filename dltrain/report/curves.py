"""How the training went: the loss, each metric, the learning rate and the gradients, by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dltrain.console import number
from dltrain.history import Row
from dltrain.report import event_file
from dltrain.report.figures import COLORS, TOGETHER, layout, line, rounded, scales
from dltrain.report.markup import Html, paragraph
from dltrain.report.page import Block, Chart, Grid, Section, figure
from dltrain.report.subject import Subject

_HEIGHT, _SMALL = 380, 290

# The colours of what is trained on and of what is evaluated, in all plots.
TRAINING, EVALUATED, _THIRD = COLORS[0], COLORS[1], COLORS[2]

_SPLITS = {"train": ("training", TRAINING), "val": ("validation", EVALUATED), "": ("value", _THIRD)}

# Curves of single layers beyond these are left out, those with the smallest norms.
_MOST_LAYERS = 12


def section(subject: Subject) -> Section:
    rows = subject.rows
    title = "How the training went"
    if not rows:
        return Section(title, [paragraph("No figures were written: the run ended before its first evaluation.")])
    axis = Axis(rows)
    found = _by_metric(rows)
    blocks: list[Block] = list(_notes(subject, rows))
    loss = found.pop("loss", None)
    if loss is not None:
        blocks.append(_chart("loss", "loss", loss, axis, _best(subject, "loss", axis), height=_HEIGHT))
    small = [
        _chart(f"metric-{place}", name, splits, axis, _best(subject, name, axis))
        for place, (name, splits) in enumerate(found.items())
    ]
    small += _rates(rows, axis)
    blocks.append(Grid([*small, *_gradients(subject, axis)]))
    return Section(title, blocks)


class Axis:
    """Where the rows of figures stand: at the epochs that are over or, where an epoch has several, at their steps."""

    def __init__(self, rows: Sequence[Row]) -> None:
        epochs = [row.get("epoch") for row in rows]
        by_epoch = all(isinstance(epoch, int) and epoch > 0 for epoch in epochs) and len(set(epochs)) == len(epochs)
        self.title = "epoch" if by_epoch else "step"
        self.values = [rounded(row.get(self.title)) or 0.0 for row in rows]
        self._steps = [rounded(row.get("step")) or 0.0 for row in rows]

    def layout(self) -> dict[str, Any]:
        """Whole numbers, with room on both sides of a single one."""
        single = {"range": [self.values[0] - 1, self.values[0] + 1]} if len(set(self.values)) == 1 else {}
        few = {"dtick": 1} if max(self.values) - min(self.values) <= 10 and self.title == "epoch" else {}
        return {"tickformat": ",d", **few, **single}

    def of_step(self, step: float) -> float:
        """Returns where a step stands, as TensorBoard counts them."""
        if self.title == "step":
            return step
        return next((x for x, own in zip(self.values, self._steps, strict=True) if own == step), self._between(step))

    def _between(self, step: float) -> float:
        return step / (self._steps[-1] or 1.0) * self.values[-1]


def _notes(subject: Subject, rows: Sequence[Row]) -> Iterator[Html]:
    data = subject.data
    if data is not None and data.evaluates_training_data:
        yield paragraph("What is called validation here are the training samples themselves, evaluated.", "small")
    bad = sum(any(name in row and row[name] is None for name in ("train/loss", "val/loss")) for row in rows)
    if bad:
        several = f"losses of {bad} evaluations are" if bad > 1 else "loss of 1 evaluation is"
        yield paragraph(f"The {several} NaN or infinite: a gap in the curves.", "notice")
    yield paragraph(
        "Point at a curve to read its values, drag to enlarge a part and double-click to see all again; a click on a "
        "name takes its curve away.",
        "small hint",
    )


def _by_metric(rows: Sequence[Row]) -> dict[str, dict[str, list[Any]]]:
    """Returns the values of each metric by split, in the order in which the rows have them.

    What a callback adds of its own, such as a ratio of both, is a metric with no split.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for name in dict.fromkeys(name for row in rows for name in row if "/" in name and not name.startswith("lr/")):
        split, _, metric = name.partition("/")
        split, metric = (split, metric) if split in _SPLITS else ("", name)
        found.setdefault(metric, {})[split] = [row.get(name) for row in rows]
    return found


def _best(subject: Subject, metric: str, axis: Axis) -> tuple[float, float] | None:
    """Returns the epoch, or the step, and the value of the best checkpoint where it was chosen by this metric."""
    best = subject.result.get("best")
    if not isinstance(best, dict) or best.get("metric") != f"val/{metric}":
        return None
    place, value = rounded(best.get(axis.title)), rounded(best.get("value"))
    return None if place is None or value is None else (place, value)


def _chart(
    name: str,
    metric: str,
    splits: dict[str, list[Any]],
    axis: Axis,
    best: tuple[float, float] | None,
    height: int = _SMALL,
) -> Chart:
    traces = [line(_SPLITS[split][0], axis.values, values, _SPLITS[split][1]) for split, values in splits.items()]
    if best is not None:
        mark = {"symbol": "star", "size": 13, "color": EVALUATED, "line": {"width": 1, "color": "white"}}
        point = {"x": [best[0]], "y": [best[1]], "marker": mark, "hoverinfo": "skip"}
        traces.append({"type": "scatter", "mode": "markers", "name": "best", **point})
    last = ", ".join(f"{_SPLITS[split][0]} {_last(values)} at the end" for split, values in splits.items())
    drawn = layout(height, x=axis.title, y=metric, xaxis=axis.layout(), **TOGETHER, **scales())
    return Chart(name, figure(traces, drawn), f"{metric} by {axis.title}: {last}", height)


def _last(values: Sequence[object]) -> str:
    known = [value for value in values if rounded(value) is not None]
    return number(known[-1]) if known else "not a number"


def _rates(rows: Sequence[Row], axis: Axis) -> list[Chart]:
    """Returns the learning rate, or that of each group of parameters."""
    names = dict.fromkeys(name for row in rows for name in row if name == "lr" or name.startswith("lr/"))
    traces = [
        line(name, axis.values, [row.get(name) for row in rows], COLORS[place % len(COLORS)])
        for place, name in enumerate(names)
    ]
    if not traces:
        return []
    drawn = layout(
        _SMALL,
        x=axis.title,
        y="learning rate",
        xaxis=axis.layout(),
        yaxis={"exponentformat": "e", "rangemode": "tozero"},
        **TOGETHER,
        showlegend=len(traces) > 1,
        **scales(),
    )
    return [Chart("learning-rate", figure(traces, drawn), f"learning rate by {axis.title}", _SMALL)]


def _gradients(subject: Subject, axis: Axis) -> list[Chart]:
    """Returns the norm of the gradients, of all together and of each parameter, where the run wrote it."""
    norms = event_file.scalars(subject.folder.tensorboard, "gradient_norm/") if subject.wrote_gradient_norms else {}
    if not norms:
        return []
    whole = norms.pop("all", [])
    layers = sorted(norms.items(), key=lambda pair: -max(rounded(value) or 0.0 for _, value in pair[1]))[:_MOST_LAYERS]
    curves = [("all together", whole), *layers] if whole else layers
    traces = []
    for place, (name, points) in enumerate(curves):
        color = "#222" if name == "all together" else COLORS[place % (len(COLORS) - 1)]
        xs = [axis.of_step(step) for step, _ in points]
        traces.append(line(name, xs, [value for _, value in points], color))
    height = _SMALL + 60 + 20 * len(traces) // 3
    drawn = layout(height, x=axis.title, y="L2 norm of the gradients", xaxis=axis.layout(), **scales("log"))
    drawn["yaxis"] |= {"type": "log", "dtick": "D2", "exponentformat": "e"}
    drawn["legend"] = {"orientation": "h", "x": 0, "y": -0.25, "yanchor": "top"}
    return [Chart("gradients", figure(traces, drawn), f"norm of the gradients by {axis.title}", height)]
