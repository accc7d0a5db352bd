"""``series_csv``: windows over the columns of a table whose rows follow each other in time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain import files, registry
from dltrain.config import setting
from dltrain.data import Data, InputSpec, Task
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.made import shift_and_scale
from dltrain.data.series.reader import Series, read_series
from dltrain.data.series.windows import Cut, Windows, fill
from dltrain.data.tables.columns import listed
from dltrain.data.tables.spelling import composed
from dltrain.errors import DataError

Floats = NDArray[np.float64]
_PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class SeriesSettings:
    name: str = setting("Name of the data set.")
    path: str | None = setting("A CSV, TSV or Parquet file, a row for each time, as it is or as .gz.", path=True)
    root: str | None = setting("Folder in which a preset's file lies; null looks in the known places.", path=True)
    delimiter: str = setting("What parts the cells: auto finds it; else a character, or tab.")
    encoding: str = setting(
        "Encoding of the file; auto finds UTF-8, UTF-16 with a mark, and CP949.",
        choices=("auto", "utf-8", "utf-16", "cp949"),
    )
    decimal: str = setting("Decimal mark of the numbers; auto finds it.", choices=("auto", ".", ","))
    empty_words: list[str] = setting("Texts that mean an empty cell.")
    date: str | None = setting("Column of the times; auto finds it, null takes the rows in the order of the file.")
    columns: str | list[str] | None = setting("Columns that the model sees; null takes all that hold numbers.")
    target: str | list[str] | None = setting("Columns that are predicted; null takes those that the model sees.")
    task: str = setting(
        "forecasting predicts values, classification the class of a window.",
        choices=("forecasting", "classification"),
    )
    label: str = setting(
        "For classification: a column, whose class in the window's last row is predicted; or rise: whether the first "
        "target column is higher after 'skip' and 'horizon' rows than in the window's last row."
    )
    window: int = setting("Rows that the model sees.", min=1)
    horizon: int = setting("Rows that are predicted, one after the other.", min=1)
    skip: int = setting("Rows between the window and the first one that is predicted.", min=0)
    stride: int = setting("Rows from one window to the next.", min=1)
    empty: str = setting(
        "Empty cells: error refuses them, interpolate draws a line between the neighbours (the last value at an end), "
        "previous repeats the value before.",
        choices=("error", "interpolate", "previous"),
    )
    gaps: str = setting(
        "Times that are missing in between: keep takes the rows as if there were no gap, fill adds the missing rows as "
        "empty ones, error refuses them.",
        choices=("keep", "fill", "error"),
    )
    differences: bool = setting("Take the changes from row to row, and predict changes from the window's last row.")
    scaling: str = setting(
        "none keeps the values, standard gives mean 0 and deviation 1, minmax maps to 0 to 1; learned from the "
        "training part. Errors are told in the targets' own unit all the same.",
        choices=("none", "standard", "minmax"),
    )
    validation_fraction: float = setting(
        "Share of the rows, after those of the training, that is evaluated while training; 0 evaluates the training "
        "part.",
        min=0,
        below=1,
    )
    test_fraction: float = setting("Share of the rows, the last ones, kept for the test; 0 keeps none.", min=0, below=1)

    @property
    def seen(self) -> list[str] | None:
        """The names in ``columns``."""
        return [self.columns] if isinstance(self.columns, str) else self.columns

    @property
    def predicted(self) -> list[str] | None:
        """The names in ``target``."""
        return [self.target] if isinstance(self.target, str) else self.target

    def __post_init__(self) -> None:
        for field in ("date", "columns", "target", "label"):  # names of columns, as the readers give them
            object.__setattr__(self, field, composed(getattr(self, field)))
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction together must leave rows to train on")
        if self.gaps == "fill" and self.empty == "error":
            raise ValueError("gaps = fill adds empty cells: say how to fill them with empty=interpolate or previous")


@registry.register("data", "sf_temps", SeriesSettings)
def sf_temps(settings: SeriesSettings) -> Data:
    """A year of hourly temperatures in San Francisco."""
    return _preset(settings, "sf_temps")


@registry.register("data", "airline_passengers", SeriesSettings)
def airline_passengers(settings: SeriesSettings) -> Data:
    """Passengers of airlines in thousands, 144 months (Box and Jenkins 1976, series G)."""
    return _preset(settings, "airline_passengers")


def _preset(settings: SeriesSettings, name: str) -> Data:
    if settings.path is not None:
        return series_csv(settings)
    (path,) = files.locate(name, settings.root).values()
    return series_csv(replace(settings, path=str(path)))


@registry.register("data", "series_csv", SeriesSettings)
def series_csv(settings: SeriesSettings) -> Data:
    """A series cut into training, validation and test by time; no window reaches over a border."""
    series = read_series(settings)
    cut = Cut.of(settings)
    borders = _borders(settings, len(series.inputs), cut, series.where)
    ranges = list(itertools.pairwise(borders))
    parts = [
        tuple(fill(values[a:b], settings.empty, series, a, b) for values in (series.inputs, series.outputs))
        for a, b in ranges
    ]
    usable = [cut.usable(series.inputs[a:b], series.outputs[a:b], settings.empty) for a, b in ranges]
    if not usable[0].any():
        raise DataError(
            f"{series.where}: every window of the training part ends with an empty cell, or has one in what is "
            f"predicted. Give a smaller data.horizon={settings.horizon}, or leave columns with many empty cells out"
        )
    shift, scale = _scaling(cut.seen(parts[0][0]), settings.scaling)
    if settings.task == "classification":
        targets, names, notes = _classes(settings, series, cut, [outputs for _, outputs in parts], ranges)
        task = _classification(cut, len(shift), names)
    else:
        targets, target_scaling, notes = _values(settings, series, cut, [outputs for _, outputs in parts], usable)
        task = _forecasting(settings, cut, len(shift), targets[0], *target_scaling)
    splits = []
    for (inputs, _), target, keep in zip(parts, targets, usable, strict=True):
        scaled = torch.from_numpy(((cut.seen(inputs) - shift) / scale).astype(np.float32))
        splits.append(Windows(scaled, target, cut.window, cut.stride, usable=keep, binary=task.kind == "binary"))
    left_out = sum(int((~keep).sum()) for keep in usable)
    if left_out:
        notes.append(f"{left_out} windows are left out: they end with an empty cell, or have one in what is predicted")
    training, validation, test = splits
    if not len(validation):
        notes.append(TRAINS_AND_EVALUATES_THE_SAME)
    return Data(
        task,
        training,
        validation if len(validation) else training,
        test if len(test) else None,
        preprocessing={**_plain(settings, series), "shift": shift.tolist(), "scale": scale.tolist()},
        notes=(*series.notes, *notes),
    )


def _plain(settings: SeriesSettings, series: Series) -> dict[str, Any]:
    return {
        "columns": series.input_names,
        "target": series.output_names,
        "window": settings.window,
        "horizon": settings.horizon,
        "skip": settings.skip,
        "differences": settings.differences,
    }


def _borders(settings: SeriesSettings, num_rows: int, cut: Cut, where: str) -> list[int]:
    """Returns where training, validation and test begin, and the end.

    Raises:
        DataError: a part that is asked for is too short for one window.
    """
    num_test = round(num_rows * settings.test_fraction)
    num_validation = round(num_rows * settings.validation_fraction)
    borders = [0, num_rows - num_test - num_validation, num_rows - num_test, num_rows]
    wanted = (True, settings.validation_fraction > 0, settings.test_fraction > 0)
    for name, wants, (first, end) in zip(_PARTS, wanted, itertools.pairwise(borders), strict=True):
        if wants and end - first < cut.needed:
            raise DataError(
                f"{where}: the {name} part has {end - first} of {num_rows} rows, and one window with what is predicted "
                f"takes {cut.needed}. Give a smaller data.window={cut.window}, or change data.validation_fraction and "
                "data.test_fraction"
            )
    return borders


def _scaling(values: Floats, kind: str) -> tuple[Floats, Floats]:
    """Returns the (D,) shift and scale of the columns of (N, D) values."""
    pairs = [shift_and_scale(column, kind) for column in values.T]
    return np.array([shift for shift, _ in pairs]), np.array([scale for _, scale in pairs])


# --- forecasting ------------------------------------------------------------------------------------------


def _values(
    settings: SeriesSettings, series: Series, cut: Cut, parts: list[Floats], usable: list[NDArray[np.bool_]]
) -> tuple[list[torch.Tensor], tuple[Floats, Floats], list[str]]:
    """Returns each part's targets (N, H * D), step after step, their scaling, and what a plain guess reaches."""
    targets = [cut.values(outputs) for outputs in parts]
    known = targets[0][usable[0]]
    if (known == known[:1]).all() and not (cut.differences and known.any()):
        raise DataError(
            f"{series.where}: what is predicted ({listed(series.output_names)}) never changes in the training part, so "
            "there is nothing to learn"
        )
    shift, scale = _scaling(known, settings.scaling)
    scaled = [torch.from_numpy(((target - shift) / scale).astype(np.float32)) for target in targets]
    which = 1 if usable[1].any() else 0
    error = (targets[which] if cut.differences else targets[which] - cut.last(parts[which]))[usable[which]]
    note = (
        f"repeating the window's last value would give a {_PARTS[which]} mae of {np.abs(error).mean():.4g} and rmse of "
        f"{np.sqrt(np.square(error).mean()):.4g}"
    )
    return scaled, (shift, scale), [note]


def _forecasting(
    settings: SeriesSettings, cut: Cut, num_inputs: int, targets: torch.Tensor, shift: Floats, scale: Floats
) -> Task:
    scales = settings.scaling != "none"
    return Task(
        "regression",
        InputSpec((cut.window, num_inputs)),
        output_size=targets.shape[1],
        target_shift=tuple(shift.tolist()) if scales else (),
        target_scale=tuple(scale.tolist()) if scales else (),
    )


# --- classification ---------------------------------------------------------------------------------------


def _classes(
    settings: SeriesSettings, series: Series, cut: Cut, parts: list[Floats], ranges: list[tuple[int, int]]
) -> tuple[list[torch.Tensor], tuple[str, ...], list[str]]:
    """Returns each part's classes (N,), -1 for a window without one, the classes' names, and what a guess reaches."""
    if series.labels is None:
        classes = [cut.rises(outputs) for outputs in parts]
        names: tuple[str, ...] = ("falls or stays", "rises")
    else:
        classes = [cut.at_last(series.labels[a:b]) for a, b in ranges]
        names = series.label_names
    seen = set(classes[0].tolist())
    for name, found in zip(_PARTS[1:], classes[1:], strict=True):
        unseen = sorted(set(found.tolist()) - seen - {-1})
        if unseen:
            raise DataError(
                f"{series.where}: class '{names[unseen[0]]}' of '{settings.label}' is in the {name} part and never in "
                "the training part, which comes before it. Change data.validation_fraction and data.test_fraction, or "
                "leave those rows out"
            )
    known = sorted(seen - {-1})
    if len(known) < 2:
        what = f"'{names[known[0]]}'" if known else "no class"
        raise DataError(
            f"{series.where}: all windows of the training part are of {what}, so there is nothing to tell apart"
        )
    number = np.full(len(names) + 1, -1)
    number[known] = np.arange(len(known))  # the last place stays -1, for a window without a class
    classes = [number[found] for found in classes]
    which = 1 if (classes[1] >= 0).any() else 0
    frequent = int(np.bincount(classes[0][classes[0] >= 0]).argmax())
    valid = classes[which][classes[which] >= 0]
    kept = tuple(names[code] for code in known)
    note = f"always '{kept[frequent]}' would give a {_PARTS[which]} accuracy of {(valid == frequent).mean():.4f}"
    return [torch.from_numpy(found) for found in classes], kept, [note]


def _classification(cut: Cut, num_inputs: int, names: tuple[str, ...]) -> Task:
    spec = InputSpec((cut.window, num_inputs))
    if len(names) == 2:
        return Task("binary", spec, output_size=1, class_names=names)
    return Task("multiclass", spec, output_size=len(names), class_names=names)
