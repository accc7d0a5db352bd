"""Reading a series: the columns that are seen and predicted, their rows in order of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dltrain.data.series.times import Times, find_times, order_of, usual_step
from dltrain.data.tables.columns import Table, empty_cells, listed, to_numbers, to_texts
from dltrain.data.tables.reader import read_table
from dltrain.data.tables.sniffing import Format
from dltrain.data.tables.spelling import example, spelled, units
from dltrain.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dltrain.data.series.dataset import SeriesSettings

Floats = NDArray[np.float64]

# Rows that filling gaps may add, for each row that there is.
_MOST_ADDED = 10


@dataclass
class Series:
    """A series as it was measured, in order of time.

    Attributes:
        where: the setting and the path in messages.
        inputs, outputs: (N, D) columns that are seen and predicted; NaN where a cell is empty.
        labels: (N,) classes, -1 where a cell is empty; None where no column holds the classes.
        rows: (N,) the places of the rows in the file; of a row that was added, that of the one before it.
    """

    where: str
    table: Table
    input_names: list[str]
    output_names: list[str]
    inputs: Floats
    outputs: Floats
    labels: NDArray[np.int64] | None
    label_names: tuple[str, ...]
    rows: NDArray[np.int64]
    notes: list[str]

    def row_number(self, place: int) -> int:
        """Returns the number by which a person finds a row in the file."""
        return self.table.row_number(int(self.rows[place]))


def read_series(settings: SeriesSettings) -> Series:
    """Reads the file and puts its rows in order.

    Raises:
        ConfigError: no file is named.
        DataError: it cannot be read, lacks a column, or its rows are no series.
    """
    if not settings.path:
        raise ConfigError("data.path: no value. Give the file of your series: data.path=FILE")
    path = Path(settings.path).expanduser()
    where = f"data.path={settings.path}"
    form = Format(settings.delimiter, settings.encoding, "auto", settings.decimal, tuple(settings.empty_words))
    table = _read(path, where, form, settings)
    times = find_times(table, settings.date)
    label = _label(settings, table)
    inputs = _columns("columns", settings.seen, table, {label, times.column if times else None})
    outputs = inputs if settings.predicted is None else _columns("target", settings.predicted, table, set())
    notes = [*table.notes, _told(table, inputs, outputs, label, times)]
    notes += _spreadsheet_notes(table, inputs + outputs)
    order: NDArray[np.int64] | None = None
    if times is not None:
        order, sorted_note = order_of(times, table)
        notes += sorted_note
    rows = np.arange(table.num_rows) if order is None else order
    labels, label_names = _classes(table, label, rows)
    series = Series(
        where,
        table,
        inputs,
        outputs,
        _values(table, inputs, rows),
        _values(table, outputs, rows),
        labels,
        label_names,
        rows,
        notes,
    )
    if settings.empty == "error":
        _refuse_empty(series, label)
    if times is not None and len(rows) > 2:
        close_gaps(series, times.values[rows], settings.gaps, times)
    return series


def _read(path: Path, where: str, form: Format, settings: SeriesSettings) -> Table:
    names = _named(settings)
    texts = {settings.label} if settings.task == "classification" else set()
    try:
        return read_table(path, where, form, names=names, texts=texts)
    except DataError as error:
        if form.delimiter != "auto" or "only one column" not in str(error):
            raise
        return read_table(path, where, replace(form, delimiter=","), names=names, texts=texts)  # enough for a series


def _named(settings: SeriesSettings) -> set[str]:
    named = {*(settings.seen or []), *(settings.predicted or []), settings.label}
    return {*named, settings.date} if settings.date is not None else named


def _label(settings: SeriesSettings, table: Table) -> str | None:
    """Returns the column of the classes, if there is to be one."""
    if settings.task != "classification" or (settings.label == "rise" and "rise" not in table.columns):
        return None
    if settings.label not in table.columns:
        names = ", ".join(table.columns)
        raise DataError(
            f"{table.where}: data.label={settings.label} is no column, and not rise. The columns are: {names}"
        )
    return settings.label


def _columns(key: str, names: list[str] | None, table: Table, others: set[str | None]) -> list[str]:
    """Returns the columns that a setting names, or all that hold numbers.

    Raises:
        ConfigError: the list is empty, or names one twice.
        DataError: there is no such column, or none that holds numbers.
    """
    if names is None:
        found = [name for name in table.columns if name not in others and _holds_numbers(table, name)]
        if not found:
            raise DataError(
                f"{table.where}: no column holds numbers. The columns are: {', '.join(table.columns)}. "
                "Is another data.delimiter or data.decimal meant?"
            )
        return found
    twice = [name for name in names if names.count(name) > 1]
    if not names or twice:
        what = f"names '{twice[0]}' twice" if twice else "is an empty list"
        raise ConfigError(f"data.{key} {what}: name each column once, or give null")
    for name in names:
        table.column(name)
    return list(names)


def _holds_numbers(table: Table, name: str) -> bool:
    """Tells whether all cells are numbers, or such as spreadsheets write: 1,234 or 12%."""
    column = table.column(name)
    if column.stored != "text":
        return column.stored == "number"
    numbers = all(spelled(word, table.decimal) is not None for word in column.words)
    return numbers and bool(example(column.words, table.decimal)) and len(units(column.words, table.decimal)) < 2


def _spreadsheet_notes(table: Table, names: list[str]) -> list[str]:
    """Returns the note that says how cells such as 1,234 are read."""
    found = {name: example(table.column(name).words, table.decimal) for name in dict.fromkeys(names)}
    told = [f"{name}: {text}" for name, text in found.items() if text]
    return [f"read as numbers ({listed(told)})"] if told else []


def _told(table: Table, inputs: list[str], outputs: list[str], label: str | None, times: Times | None) -> str:
    used = {*inputs, *outputs, label, times.column if times else None}
    left = [name for name in table.columns if name not in used]
    parts = [f"sees {listed(inputs)}"]
    parts.append(f"class {label}" if label else f"predicts {listed(outputs)}")
    parts.append(f"time {times.column}" if times else "no column of times: rows are taken in the order of the file")
    if left:
        parts.append(f"left out {listed(left)}")
    return "; ".join(parts)


def _values(table: Table, names: list[str], rows: NDArray[np.int64]) -> Floats:
    return np.stack([to_numbers(table.column(name), rows, table) for name in names], axis=1)


def _classes(
    table: Table, label: str | None, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Returns the classes (N,) with their names in order: as numbers where they are numbers, else as text."""
    if label is None:
        return None, ()
    codes, words = to_texts(table.column(label), rows, table)
    try:
        order = sorted(range(len(words)), key=lambda place: float(words[place]))
    except ValueError:
        order = sorted(range(len(words)), key=lambda place: words[place])
    rank = np.full(len(words) + 1, -1, dtype=np.int64)  # the last place is that of -1, an empty cell
    rank[order] = np.arange(len(words))
    return rank[codes], tuple(words[place] for place in order)


def _refuse_empty(series: Series, label: str | None) -> None:
    """
    Raises:
        DataError: a cell is empty.
    """
    for name in dict.fromkeys([*series.input_names, *series.output_names, *([label] if label else [])]):
        empty = empty_cells(series.table.column(name))
        if empty is None or empty.any():
            count = series.table.num_rows if empty is None else int(empty.sum())
            cells = f"{count} empty cell{'s' if count > 1 else ''}"
            row = series.table.row_number(0 if empty is None else int(empty.argmax()))
            raise DataError(
                f"{series.where}: column '{name}' has {cells}, the first in row {row}. Fill them with "
                "data.empty=interpolate or data.empty=previous, or remove those rows"
            )


# --- gaps -------------------------------------------------------------------------------------------------


def close_gaps(series: Series, times: NDArray[np.int64] | Floats, how: str, kind: Times) -> None:
    """Says where times are missing, refuses them, or adds empty rows for them.

    Raises:
        DataError: there are gaps and they are refused, or they are too long to fill.
    """
    usual, places = usual_step(times)
    if not len(places):
        return
    first = int(places[0])
    step = str(timedelta(microseconds=usual)).removesuffix(", 0:00:00") if kind.are_dates else f"{usual:g}"
    lie = f"one step of '{kind.column}' is" if len(places) == 1 else f"{len(places)} steps of '{kind.column}' are"
    what = (
        f"{lie} longer than the usual {step}, the first between {_shown(times[first], kind)} and "
        f"{_shown(times[first + 1], kind)} (row {series.row_number(first + 1)})"
    )
    if how == "error":
        raise DataError(
            f"{series.where}: {what}. data.gaps=keep takes the rows as if there were no gap, data.gaps=fill fills them"
        )
    if how == "keep":
        series.notes.append(f"{what}: windows go over it as if there were no gap (data.gaps)")
        return
    added = np.rint(np.diff(times)[places] / usual).astype(np.int64) - 1
    if added.sum() > _MOST_ADDED * len(times):
        raise DataError(
            f"{series.where}: {what}; to fill them takes {int(added.sum())} rows more than the {len(times)} that there "
            "are. Give data.gaps=keep, or a file with even steps"
        )
    positions = np.repeat(places + 1, added)
    series.inputs = np.insert(series.inputs, positions, np.nan, axis=0)
    series.outputs = np.insert(series.outputs, positions, np.nan, axis=0)
    series.rows = np.insert(series.rows, positions, series.rows[positions - 1])
    if series.labels is not None:
        series.labels = np.insert(series.labels, positions, -1)
    series.notes.append(f"{what}: {len(positions)} rows are added (data.gaps=fill)")


def _shown(time: float, kind: Times) -> str:
    if not kind.are_dates:
        return f"{time:g}"
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=int(time))
    return f"{moment:%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00")
