"""Of series: what was predicted beside what came, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dltrain.evaluate import apart, outputs_of
from dltrain.report.curves import EVALUATED, TRAINING
from dltrain.report.figures import TOGETHER, layout, line
from dltrain.report.markup import paragraph
from dltrain.report.page import Block, Chart, Section, figure
from dltrain.report.subject import Subject

if TYPE_CHECKING:
    from dltrain.assembly import Parts

_MOST_SAMPLES = 600

# Of what is predicted of each window: the first steps, or the first values.
_MOST_OUTPUTS = 3
_HEIGHT = 380


def section(subject: Subject) -> Section | None:
    """Returns the curves of the first windows of a split; None where the samples are no series of numbers."""
    parts = subject.parts
    if parts is None:
        return None
    task = parts.data.task
    spec = None if isinstance(task.inputs, dict) else task.inputs
    if spec is None or len(spec.shape) != 2 or spec.dtype != "float32" or task.kind != "regression" or task.per_step:
        return None
    predicted, true = [], []
    with apart(parts.model):
        for batch in parts.split(subject.split).batches(0):
            outputs = outputs_of(parts.model, batch.inputs, subject.autocast)
            assert isinstance(outputs, torch.Tensor) and isinstance(batch.targets, torch.Tensor)
            outputs = outputs.float() if parts.loss.link is None else parts.loss.link(outputs.float())
            predicted.append(outputs.cpu().double())
            true.append(batch.targets.cpu().double())
            if sum(map(len, true)) >= _MOST_SAMPLES:
                break
    shift, scale = torch.tensor(task.target_shift or (0.0,)), torch.tensor(task.target_scale or (1.0,))
    both = [torch.cat(values)[:_MOST_SAMPLES] * scale + shift for values in (true, predicted)]  # each (N, D)
    count = len(parts.data.splits[subject.split])
    first = f"The first {len(both[0]):,} of {count:,}" if len(both[0]) < count else f"All {count:,}"
    several = f"; of {task.output_size} values that are predicted of each, the first {_MOST_OUTPUTS}"
    told = f"{first} samples of {subject.split} in their order{several if task.output_size > _MOST_OUTPUTS else ''}."
    blocks: list[Block] = [paragraph(told)]
    names = _names(parts)
    blocks += [_chart(place, both[0], both[1], names) for place in range(min(_MOST_OUTPUTS, task.output_size))]
    return Section("Predicted and true over time", blocks)


def _names(parts: Parts) -> list[str]:
    """Returns what the predicted values are called; [] where the data have no such names."""
    kept = parts.data.preprocessing
    if "window" not in kept or "columns" not in kept:
        return []
    from dltrain.prediction.inputs_series import SeriesForm

    return SeriesForm.of(kept, parts.config.data, has_values=True).names


def _chart(place: int, true: torch.Tensor, predicted: torch.Tensor, names: list[str]) -> Chart:
    xs = list(map(float, range(len(true))))
    mode = {"mode": "lines"}
    traces = [
        line("true", xs, true[:, place].tolist(), TRAINING, **mode),
        line("predicted", xs, predicted[:, place].tolist(), EVALUATED, **mode),
    ]
    unnamed = f"value {place + 1}" if true.shape[1] > 1 else "target"
    what = names[place] if place < len(names) else unnamed
    drawn = layout(_HEIGHT, x="sample", y=what, **TOGETHER)
    return Chart(f"series-{place}", figure(traces, drawn), f"{what}, true and predicted, sample by sample", _HEIGHT)
