"""Inputs and answers as Python has them: frames, arrays, tensors and lists in, arrays and frames out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.errors import ConfigError, DataError
from dltrain.prediction.answers import PREDICTION
from dltrain.prediction.choosing import Takes
from dltrain.prediction.image_files import ArraySource, PillowSource, as_images, paths_source
from dltrain.prediction.inputs_series import SeriesInputs, WindowInputs
from dltrain.prediction.options import Reading
from dltrain.prediction.predictor import ERROR, Predictor
from dltrain.prediction.rows import Inputs
from dltrain.prediction.texts import TEXT, ListTable
from dltrain.prediction.typed_tables import FrameTable
from dltrain.prediction.wanted import Wanted

_TAKEN = {
    "table": "a DataFrame, an array (N, D) or the path of a table",
    "series": "a DataFrame, an array (N, D) of rows or (N, window, D) of windows, or the path of a table",
    "images": "an array of images, a list of Pillow's or of their paths, or the path of a folder",
    "texts": "a list of texts, a DataFrame with a column of them, or the path of a file",
}


def predict(takes: Takes, x: Any, *, probabilities: bool, batch_size: int, strict: bool) -> Any:
    """Returns what a model says of inputs in memory; see ``api.Run.predict``."""
    answerer = takes.answerer(None if probabilities else False)
    predictor = Predictor(
        _inputs(takes, x), answerer, batch_size, errors=not strict, strict=strict, may_all_be_bad=not strict
    )
    model = takes.trained.model
    modes = [(module, module.training) for module in model.modules()]  # the caller may have taught the model more
    model.eval()
    try:
        parts = list(predictor.predicted())
    finally:
        for module, was_training in modes:
            module.training = was_training
    names = list(parts[0]) if parts else list(answerer.columns)
    columns = {name: _joined([part[name] for part in parts], answerer.columns.get(name, False)) for name in names}
    if ERROR in columns and not any(columns[ERROR]):
        del columns[ERROR]
    if probabilities or takes.trained.task.heads:
        import pandas as pd

        index = x.index if hasattr(x, "iloc") else None  # so that what is joined stands beside its own row
        return pd.DataFrame(columns, index=index)
    values = [cells for name, cells in columns.items() if name.partition(":")[0] == PREDICTION]
    return values[0] if len(values) == 1 else np.stack(values, axis=1)


def _joined(parts: list[Any], is_number: bool) -> NDArray[Any]:
    kind: Any = np.float64 if is_number else object
    return np.concatenate([np.asarray(part, dtype=kind) for part in parts]) if parts else np.empty(0, dtype=kind)


def _inputs(takes: Takes, x: Any) -> Inputs:
    """Returns what is to be predicted as inputs of the family that the run takes.

    Raises:
        ConfigError: it is nothing of the kind.
        DataError: it has another shape, or lacks a column.
    """
    if isinstance(x, (str, Path)):
        path = Path(x).expanduser()
        if takes.family == "texts" and isinstance(x, str) and not path.exists():
            raise DataError(f"{x!r} is no file. Of texts give a list: run.predict([{x!r}])")
        return takes.opened(path, Reading())
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    if isinstance(x, np.ndarray):
        return _of_array(takes, x)
    if hasattr(x, "columns") and hasattr(x, "iloc"):
        return _of_frame(takes, x)
    if isinstance(x, Sequence) or (hasattr(x, "tolist") and hasattr(x, "iloc")):  # a list, or a pandas Series
        return _of_list(takes, list(x))
    if takes.family == "images" and hasattr(x, "getbands"):
        raise DataError("of a single image give a list: run.predict([image])")
    raise _other_kind(takes, type(x).__name__)


def _other_kind(takes: Takes, given: str) -> ConfigError:
    return ConfigError(f"this run takes {_TAKEN[takes.family]}, and was given: {given}")


def _of_frame(takes: Takes, frame: Any) -> Inputs:
    if takes.family == "images":
        raise _other_kind(takes, "a DataFrame")
    if takes.family == "texts":
        column = takes.text_column
        if column not in frame.columns and len(frame.columns) == 1:
            column = str(frame.columns[0])
        return takes.of_texts(FrameTable(frame, Wanted([column])), column)
    return takes.of_table(FrameTable(frame, takes.wanted))


def _of_list(takes: Takes, items: list[Any]) -> Inputs:
    if takes.family == "texts":
        return takes.of_texts(ListTable(items), TEXT)
    if not items:
        return _of_nothing(takes)
    if takes.family == "images" and all(isinstance(item, (str, Path)) for item in items):
        return takes.of_images(paths_source([Path(item).expanduser() for item in items]))
    if takes.family == "images" and not takes.is_digits and all(hasattr(item, "getbands") for item in items):
        return takes.of_images(PillowSource(items))
    if all(isinstance(item, dict) for item in items):
        import pandas as pd

        return _of_frame(takes, pd.DataFrame(items))
    try:
        array = np.asarray(items)
    except ValueError as error:
        raise DataError(f"the items of the list have different lengths ({error})") from error
    if takes.family == "table" and array.ndim == 2 and array.dtype.kind in "OUS":  # rows with words among the numbers
        return _of_array(takes, np.array(items, dtype=object))
    if array.dtype == object or array.dtype.kind in "US":
        raise _other_kind(takes, f"a list of {type(items[0]).__name__}")
    return _of_array(takes, array)


def _of_nothing(takes: Takes) -> Inputs:
    if takes.family == "images":
        return takes.of_images(paths_source([]))
    names = takes.series.needed if takes.family == "series" else list(takes.preprocessing.features)
    return _of_array(takes, np.empty((0, len(names)), dtype=object))


def _of_array(takes: Takes, array: NDArray[Any]) -> Inputs:
    if array.ndim == 0:
        raise _other_kind(takes, "a single value")
    if takes.family == "texts":
        if array.ndim != 1:
            raise _other_kind(takes, f"an array of the shape {array.shape}")
        return takes.of_texts(ListTable(array.tolist()), TEXT)
    if takes.family == "images" and not takes.is_digits:
        shape = takes.trained.task.input.shape
        return takes.of_images(ArraySource(as_images(array, shape[0])))
    if takes.family == "series":
        return _of_series(takes, array)
    names = list(takes.preprocessing.features)
    rows = array.reshape(len(array), -1) if takes.is_digits or len(names) == 1 else array
    return takes.of_table(FrameTable(_framed(rows, names, array.shape), takes.wanted))


def _of_series(takes: Takes, array: NDArray[Any]) -> Inputs:
    form = takes.series
    if array.ndim == 3:
        return WindowInputs(array.astype(np.float64), form)
    rows = array[:, None] if array.ndim == 1 and len(form.needed) == 1 else array
    table = FrameTable(_framed(rows, form.needed, array.shape), Wanted(form.needed))
    return SeriesInputs(table, replace(form, date=None))


def _framed(rows: NDArray[Any], names: list[str], shape: tuple[int, ...]) -> Any:
    """Returns rows (N, D) as a frame.

    Raises:
        DataError: there are more or fewer columns than names.
    """
    import pandas as pd

    if rows.ndim != 2 or rows.shape[1] != len(names):
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        raise DataError(
            f"the model takes rows of {len(names)} column{'s' if len(names) > 1 else ''} ({shown}), in this order: an "
            f"array (N, {len(names)}). The array has the shape {shape}"
        )
    return pd.DataFrame(rows, columns=names)
