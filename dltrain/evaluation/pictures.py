"""The pictures of an evaluation, drawn from what ``evaluation.json`` holds: a file each."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dltrain import charts, confusion_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Curves of so many classes are told apart in a chart; of more, those with the smallest area.
_CURVES = 10

_GREY = "#7f7f7f"
_SIZE = (560, 480)

Target = dict[str, Any]


def draw(evaluation: dict[str, Any], title: str) -> Iterator[tuple[str, str | bytes]]:
    """Yields the name and the content of each file.

    Args:
        title: what the evaluation is of; stands above each picture.
    """
    targets: dict[str, Target] = evaluation.get("targets") or {"": evaluation}
    taken: set[str] = set()
    for head, target in targets.items():
        before = _file_name(head, taken) + "-" if head else ""
        heading = f"{title}, {head}" if head else title
        for name, content in _of_target(target, heading):
            yield before + name, content


def _file_name(head: str, taken: set[str]) -> str:
    """Returns a name for the files of a target that no other has, without what a file's name cannot hold."""
    stem = re.sub(r"[^\w-]+", "_", head).strip("_") or "target"
    name = next(name for name in (stem, *(f"{stem}_{number}" for number in range(2, 10_000))) if name not in taken)
    taken.add(name)
    return name


def _of_target(target: Target, title: str) -> Iterator[tuple[str, str | bytes]]:
    if "confusion" in target:
        counts = np.array(target["confusion"]["rows_true_columns_predicted"], dtype=np.int64)
        stream = io.BytesIO()
        confusion_picture.draw(counts, target["confusion"]["classes"], title).save(stream, format="PNG")
        yield "confusion_matrix.png", stream.getvalue()
    with charts.style():
        if "calibration" in target:
            yield "calibration.svg", charts.svg(_calibration(target["calibration"], title))
        for kind in ("precision_recall", "roc"):
            if target.get("curves", {}).get(kind):
                yield f"{kind}.svg", charts.svg(_curves(target, kind, title))
        if "residuals" in target:
            yield "residuals.svg", charts.svg(_residuals(target["residuals"], title))


def _calibration(calibration: dict[str, Any], title: str) -> Figure:
    """Draws how often what is said with a confidence is right, and how often it is said."""
    figure = charts.new(_SIZE[0], 620)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    bins = [one for one in calibration["bins"] if one["count"]]
    edges = np.array([[one["from"], one["to"]] for one in bins])
    middles, width = edges.mean(axis=1), 0.94 * (edges[0, 1] - edges[0, 0])
    upper.bar(middles, [one["accuracy"] for one in bins], width, label="share that is right")
    upper.hlines([one["confidence"] for one in bins], *edges.T, color=charts.COLORS[1], linewidth=3, label="confidence")
    upper.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1)
    upper.set(ylabel="share", xlim=(0, 1), ylim=(0, 1.02))
    figures = {"expected error": "expected_error", "maximum": "maximum_error", "Brier score": "brier"}
    words = ", ".join(f"{word} {calibration[key]:.4f}" for word, key in figures.items())
    upper.set_title(f"{title}: calibration\n{words}")
    lower.bar(middles, [one["count"] for one in bins], width, color=_GREY)
    lower.set(xlabel="confidence in what is predicted", ylabel="how many")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _curves(target: Target, kind: str, title: str) -> Figure:
    """Draws the ROC or the precision-recall curve of each class."""
    figure = charts.new(*_SIZE)
    axes = figure.subplots()
    area = "auroc" if kind == "roc" else "average_precision"
    areas = {row["name"]: row.get(area) for row in target["classes"]}
    curves = target["curves"][kind]
    shown = sorted(curves, key=lambda name: areas[name] if areas[name] is not None else 1.0)[:_CURVES]
    for place, name in enumerate(name for name in curves if name in shown):
        points = np.array(curves[name])
        line = "-" if place < len(charts.COLORS) else "--"
        where = "default" if kind == "roc" else "steps-pre"
        axes.plot(points[:, 0], points[:, 1], line, drawstyle=where, label=f"{_short(name)}  {areas[name]:.4f}")
    what = "area under it" if kind == "roc" else "average precision"
    if len(shown) < len(target["classes"]) and len(target["classes"]) > 2:
        what = f"the {len(shown)} smallest of {len(curves)}: {what}"
    if kind == "roc":
        axes.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1)
        axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    else:
        axes.set(xlabel="recall", ylabel="precision")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_title(f"{title}: {'ROC' if kind == 'roc' else 'precision and recall'}")
    axes.legend(title=what, loc="lower right" if kind == "roc" else "lower left", fontsize=9)
    return figure


def _residuals(residuals: dict[str, Any], title: str) -> Figure:
    """Draws predicted against true values, and how the errors are spread."""
    figure = charts.new(900, 430)
    left, right = figure.subplots(1, 2)
    true, predicted = np.array(residuals["true"]), np.array(residuals["predicted"])
    left.scatter(true, predicted, s=9, alpha=0.5, linewidths=0)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    left.plot(ends, ends, "--", color=_GREY, linewidth=1)
    left.set(xlabel="true", ylabel="predicted")
    left.set_title(title)
    left.locator_params(axis="x", nbins=5)
    difference = predicted - true
    right.hist(difference, bins=max(5, min(40, int(np.sqrt(len(difference))))), color=charts.COLORS[0])
    right.locator_params(axis="x", nbins=5)
    right.axvline(0, linestyle="--", color=_GREY, linewidth=1)
    right.axvline(residuals["mean"], color=charts.COLORS[1], label=f"mean {residuals['mean']:.4g}")
    right.set(xlabel="predicted - true", ylabel="how many")
    right.set_title(f"errors: deviation {residuals['std']:.4g}")
    right.legend()
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
