"""Why single rows of a table cannot be used, found once a piece of it was refused as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dltrain.data.tables.columns import Column, Floats, Table, empty_cells
from dltrain.data.tables.kinds import MEANINGS
from dltrain.data.tables.preprocessing import Feature
from dltrain.data.tables.spelling import spelled
from dltrain.errors import DataError

_LONGEST = 40


def problems_of(features: list[Feature], table: Table) -> dict[int, str]:
    """Returns why rows cannot be used, by their place.

    Raises:
        DataError: a column holds what no model can take.
    """
    problems: dict[int, str] = {}
    for feature in features:
        for place, reason in _of_column(feature, table.column(feature.name), table):
            problems.setdefault(place, f"column '{feature.name}' {reason}")
    return problems


def _of_column(feature: Feature, column: Column, table: Table) -> Iterator[tuple[int, str]]:
    if column.stored in ("date", "other"):
        raise DataError(
            f"{table.where}: column '{column.name}' holds {column.stored}s, where the model was trained on "
            f"{'categories' if feature.kind == 'category' else 'numbers'}"
        )
    if feature.fill is None and feature.empty_code is None:
        empty = empty_cells(column)
        for place in range(table.num_rows) if empty is None else np.flatnonzero(empty).tolist():
            yield place, "is empty, and the model was trained on rows without empty cells"
    if feature.kind == "category" or column.stored == "empty":
        return
    values, wrong = numbers_of(feature, column, table)
    what = "no number" if feature.kind == "number" else "neither yes nor no"
    if column.codes is not None and wrong:
        for place in np.flatnonzero(np.isin(column.codes, wrong)).tolist():
            yield place, f"holds {shortened(column.words[column.codes[place]])!r}, which is {what}"
    if column.codes is None and feature.kind == "boolean":
        for place in np.flatnonzero(~(np.isnan(values) | np.isin(values, (0, 1)))).tolist():
            yield place, f"holds {values[place]:g}, which is {what}"
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = ((values - feature.shift) / feature.scale).astype(np.float32)
    for place in np.flatnonzero(np.isinf(scaled)).tolist():
        size = "no finite number" if np.isinf(values[place]) else "too large to compute with"
        yield place, f"holds {values[place]:g}, which is {size}"


def numbers_of(feature: Feature, column: Column, table: Table) -> tuple[Floats, list[int]]:
    """Returns (N,) values, NaN where there is none, and the places of the words that are none."""
    if column.stored == "empty":
        return np.full(table.num_rows, np.nan), []
    if column.codes is None:
        return column.numbers(slice(0, table.num_rows)), []
    values = np.full(len(column.words) + 1, np.nan)  # the last place is that of -1, an empty cell
    wrong = []
    for code, word in enumerate(column.words):
        if feature.kind == "number":
            number = spelled(word, table.decimal)
        else:
            number = MEANINGS.get(word.casefold())
        if number is None:
            wrong.append(code)
        else:
            values[code] = number
    return values[column.codes], wrong


def shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
