"""Another series, in windows that are scaled as the run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dltrain.data import Source, Task
from dltrain.data.series.dataset import SeriesSettings
from dltrain.data.series.reader import Series, read_series
from dltrain.data.series.windows import Cut, Floats, Windows, fill
from dltrain.errors import DataError
from dltrain.other_data.images import number_of


def windows(settings: SeriesSettings, kept: dict[str, Any], task: Task) -> Source:
    """Returns all windows of a series, the rows in order of time.

    Raises:
        DataError: the series has other columns, is too short for a window, or has a class that the run does not know.
    """
    series = read_series(settings)
    for name, found in (("columns", series.input_names), ("target", series.output_names)):
        if found != kept[name]:
            raise DataError(
                f"{series.where}: the run's data.{name} are {', '.join(kept[name])}, and here they are "
                f"{', '.join(found)}"
            )
    cut = Cut.of(settings)
    size = len(series.inputs)
    if size < cut.needed:
        raise DataError(f"{series.where}: has {size} rows, and one window with what is predicted takes {cut.needed}")
    inputs, outputs = (fill(values, settings.empty, series, 0, size) for values in (series.inputs, series.outputs))
    usable = cut.usable(series.inputs, series.outputs, settings.empty)
    shift, scale = np.array(kept["shift"]), np.array(kept["scale"])
    scaled = torch.from_numpy(((cut.seen(inputs) - shift) / scale).astype(np.float32))
    targets = _values(cut, outputs, task) if task.kind == "regression" else _classes(series, cut, outputs, task)
    return Windows(scaled, targets, cut.window, cut.stride, usable=usable, binary=task.kind == "binary")


def _values(cut: Cut, outputs: Floats, task: Task) -> torch.Tensor:
    values = cut.values(outputs)
    if task.target_scale:
        values = (values - np.array(task.target_shift)) / np.array(task.target_scale)
    return torch.from_numpy(values.astype(np.float32))


def _classes(series: Series, cut: Cut, outputs: Floats, task: Task) -> torch.Tensor:
    """Returns the (N,) classes of the windows, -1 for one without."""
    if series.labels is None:
        return torch.from_numpy(cut.rises(outputs))
    found = cut.at_last(series.labels)
    number = np.full(len(series.label_names) + 1, -1)  # the last place stays -1
    for code in set(found.tolist()) - {-1}:
        number[code] = number_of(series.label_names[code], task.class_names)
    return torch.from_numpy(number[found])
