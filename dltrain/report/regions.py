"""What a model says everywhere where its inputs are one number or two: a curve, a surface, or regions of classes.

Shapes in comments: N points, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dltrain.callbacks.predictions import spread
from dltrain.data import Task
from dltrain.evaluate import apart, outputs_of
from dltrain.models import device_of
from dltrain.preview_features import Feature, features_of
from dltrain.report.figures import COLORS, Trace, all_rounded, layout, line, shown
from dltrain.report.markup import paragraph
from dltrain.report.page import Chart, Section, figure
from dltrain.report.subject import Subject

if TYPE_CHECKING:
    from dltrain.assembly import Parts

# Points along an axis, of one input and of two.
_FINE, _GRID = 400, 80

_MOST_POINTS = 600
_MARGIN = 0.08
_HEIGHT = 460
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down")

# From the first class to the second.
_TWO_CLASSES = [[0, "#8fbfe0"], [0.5, "#ffffff"], [1, "#f3b27f"]]
_SURFACE = "Viridis"


def section(subject: Subject) -> Section | None:
    """Returns the picture; None where the samples have more numbers, or something else is predicted."""
    parts = subject.parts
    if parts is None:
        return None
    task = parts.data.task
    spec = None if isinstance(task.inputs, dict) else task.inputs
    if spec is None or spec.shape not in ((1,), (2,)) or spec.vocabulary_size is not None or spec.categories:
        return None
    if task.kind not in ("regression", "binary", "multiclass"):
        return None
    features = features_of(parts.data, "", spec.shape[0])
    _, points = spread(parts.data.train, _MOST_POINTS)
    assert isinstance(points.inputs, torch.Tensor) and isinstance(points.targets, torch.Tensor)
    looked = _Looked(parts, subject, features, points.inputs.float(), points.targets)
    if spec.shape == (1,):
        return _over_one(looked) if task.kind != "multiclass" else None
    return _over_two(looked)


class _Looked:
    """A model, and samples that it was trained on."""

    def __init__(
        self, parts: Parts, subject: Subject, features: list[Feature], inputs: torch.Tensor, targets: torch.Tensor
    ) -> None:
        """
        Args:
            inputs: (N, 1) or (N, 2), as the model gets them.
            targets: (N,), (N, 1) or (N, K).
        """
        self.parts, self.task, self.features, self.inputs = parts, parts.data.task, features, inputs
        self.targets = _unscaled(targets[:, :1], self.task) if self.task.kind == "regression" else _classes(targets)
        self._autocast = subject.autocast

    def line(self, place: int, count: int) -> torch.Tensor:
        """Returns (count,) values of an input, from below the least to above the greatest."""
        low, high = float(self.inputs[:, place].min()), float(self.inputs[:, place].max())
        room = _MARGIN * (high - low) or 1.0
        return torch.linspace(low - room, high + room, count)

    def raw(self, values: torch.Tensor, place: int) -> list[float | None]:
        """Returns the values of an input in its own unit."""
        feature = self.features[place]
        return all_rounded((values.double() * feature.scale + feature.shift).tolist())

    def says(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns (N,) predictions in the target's own unit, or (N, K) chances of the classes."""
        model, size = self.parts.model, self.parts.config.trainer.evaluation_batch_size
        found = []
        with apart(model):
            for piece in inputs.split(size):
                outputs = outputs_of(model, piece.to(device_of(model)), self._autocast)
                assert isinstance(outputs, torch.Tensor)
                found.append(outputs.float().cpu())
        outputs = torch.cat(found)
        if self.task.kind == "regression":
            link = self.parts.loss.link
            return _unscaled((outputs if link is None else link(outputs))[:, :1], self.task)
        if self.task.kind == "binary":
            second = outputs.sigmoid().reshape(-1, 1)
            return torch.cat([1 - second, second], dim=1)
        return outputs.softmax(dim=1)

    def name(self, label: int) -> str:
        names = self.task.class_names
        return names[label] if label < len(names) else str(label)


def _unscaled(values: torch.Tensor, task: Task) -> torch.Tensor:
    """Returns (N,) values of the first target in its own unit, of (N, 1)."""
    shift, scale = (task.target_shift[0], task.target_scale[0]) if task.target_scale else (0.0, 1.0)
    return values.double()[:, 0] * scale + shift


def _classes(targets: torch.Tensor) -> torch.Tensor:
    """Returns (N,) numbers of classes, of (N,), (N, 1) yes or no, or (N, K) shares."""
    if targets.dim() == 2:
        targets = targets.argmax(dim=1) if targets.shape[1] > 1 else targets[:, 0] > 0.5
    return targets.long()


# --- one input --------------------------------------------------------------------------------------------


def _over_one(looked: _Looked) -> Section:
    xs = looked.line(0, _FINE)
    says = looked.says(xs[:, None])
    is_regression = looked.task.kind == "regression"
    curve = says if is_regression else says[:, 1]
    meaning = "prediction" if is_regression else f"chance of {looked.name(1)}"
    marks = {"size": 6, "color": COLORS[0], "opacity": 0.6}
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": "training samples",
        "x": looked.raw(looked.inputs[:, 0], 0),
        "y": all_rounded(looked.targets.tolist()),
        "marker": marks,
    }
    known = looked.raw(xs, 0)
    traces = [points, line(meaning, [x or 0.0 for x in known], curve.tolist(), COLORS[1], mode="lines")]
    name = looked.features[0].name
    drawn = layout(_HEIGHT, x=name, y="target" if is_regression else meaning)
    label = f"{meaning} over {name}, with the training samples"
    return Section("What it says of each input", [Chart("regions", figure(traces, drawn), label, _HEIGHT)])


# --- two inputs -------------------------------------------------------------------------------------------


def _over_two(looked: _Looked) -> Section:
    across, up = looked.line(0, _GRID), looked.line(1, _GRID)
    grid = torch.stack(torch.meshgrid(up, across, indexing="ij"), dim=2).flip(2)  # (up, across, 2)
    says = looked.says(grid.reshape(-1, 2))
    place: dict[str, Any] = {"x": looked.raw(across, 0), "y": looked.raw(up, 1)}
    kind = looked.task.kind
    if kind == "regression":
        traces, title = _surface(looked, says, place), "The surface that it has learned"
        told = "The colour is the prediction; each point is a training sample in the colour of its target."
    else:
        traces, title = _regions(looked, says, place), "Decision regions"
        told = "The ground has the colour of the class that is predicted there; each point is a training sample."
    if kind == "binary":
        told += " The line is where both classes are equally likely."
    names = [feature.name for feature in looked.features]
    drawn = layout(_HEIGHT + 60, x=names[0], y=names[1], hovermode="closest")
    chart = Chart("regions", figure(traces, drawn), f"{title}, over {names[0]} and {names[1]}", _HEIGHT + 60, 420)
    return Section(title, [paragraph(told), chart])


def _square(values: torch.Tensor) -> list[list[float | None]]:
    """Returns the rows of the grid from the bottom up."""
    return [all_rounded(float(f"{value:.3g}") for value in row) for row in values.reshape(_GRID, _GRID).tolist()]


def _surface(looked: _Looked, says: torch.Tensor, place: dict[str, Any]) -> list[Trace]:
    both = torch.cat([says, looked.targets])
    both = both[both.isfinite()]
    ends = {"zmin": float(both.min()), "zmax": float(both.max())} if len(both) else {}
    ground = {"type": "contour", "z": _square(says), **place, "colorscale": _SURFACE, **ends, "name": "prediction"}
    marker = {"size": 8, "color": all_rounded(looked.targets.tolist()), "colorscale": _SURFACE}
    marker |= {"line": {"width": 1, "color": "white"}}
    marker |= {"cmin": ends["zmin"], "cmax": ends["zmax"]} if ends else {}
    points = {**_points(looked, looked.inputs), "name": "training samples", "marker": marker, "showlegend": False}
    return [ground, {**points, "text": [f"target {value:.5g}" for value in looked.targets.tolist()]}]


def _regions(looked: _Looked, says: torch.Tensor, place: dict[str, Any]) -> list[Trace]:
    count = says.shape[1]
    colors = [COLORS[label % len(COLORS)] for label in range(count)]
    if count == 2:
        ground: list[Trace] = [
            {
                "type": "heatmap",
                "z": _square(says[:, 1]),
                **place,
                "colorscale": _TWO_CLASSES,
                "zmin": 0,
                "zmax": 1,
                "zsmooth": "best",
                "colorbar": {"title": {"text": shown(f"chance of {looked.name(1)}", 24), "side": "right"}},
                "hovertemplate": "%{z:.3f}<extra></extra>",
            }
        ]
        ground.append(
            {
                "type": "contour",
                "z": ground[0]["z"],
                **place,
                "contours": {"start": 0.5, "end": 0.5, "size": 1, "coloring": "none"},
                "line": {"color": "#333", "width": 1.5},
                "showscale": False,
                "showlegend": False,
                "hoverinfo": "skip",
            }
        )
    else:
        steps = [[(label + end) / count, color] for label, color in enumerate(colors) for end in (0, 1)]
        look = {"colorscale": steps, "zmin": -0.5, "zmax": count - 0.5, "opacity": 0.3, "showscale": False}
        labels = says.argmax(dim=1).reshape(_GRID, _GRID).tolist()
        ground = [{"type": "heatmap", "z": labels, **place, **look, "hoverinfo": "skip"}]
    return [*ground, *(_of_class(looked, label, colors[label]) for label in range(count))]


def _of_class(looked: _Looked, label: int, color: str) -> Trace:
    marker = {"size": 8, "color": color, "symbol": _SYMBOLS[label % len(_SYMBOLS)]}
    marker |= {"line": {"width": 1, "color": "white"}}
    return {
        **_points(looked, looked.inputs[looked.targets == label]),
        "name": shown(looked.name(label), 30),
        "marker": marker,
    }


def _points(looked: _Looked, inputs: torch.Tensor) -> Trace:
    xs, ys = (looked.raw(inputs[:, place], place) for place in (0, 1))
    return {"type": "scatter", "mode": "markers", "x": xs, "y": ys}
