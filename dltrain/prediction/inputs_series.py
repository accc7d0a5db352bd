"""A series: a row out for each row in, predicted from the window of rows that ends with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.data import Tensors
from dltrain.data.series.reader import Series, close_gaps
from dltrain.data.series.times import Times, find_times, order_of
from dltrain.data.series.windows import fill
from dltrain.data.tables import csv_reader, parquet_reader
from dltrain.data.tables.columns import Column, Floats, Table
from dltrain.data.tables.preprocessing import Feature
from dltrain.errors import DataError
from dltrain.prediction.cell_problems import numbers_of, problems_of
from dltrain.prediction.rows import Columns, Inputs, Places, Rows
from dltrain.prediction.wanted import NewTable

# Rows of the file that are put together at once.
_PART = 2**16


@dataclass(frozen=True)
class SeriesForm:
    """How the training cut its series.

    Attributes:
        columns: that the model sees.
        target: columns that it predicts, or [] for a class.
        names: of its outputs, step after step.
        ahead: which rows after the window's last they are of, in words.
        shift, scale: of the columns.
        date, empty, gaps, empty_words: as in the settings of the data.
        differences: it sees and predicts changes.
    """

    columns: list[str]
    target: list[str]
    names: list[str]
    ahead: str
    window: int
    shift: Floats
    scale: Floats
    date: str | None
    empty: str
    gaps: str
    empty_words: tuple[str, ...]
    differences: bool

    @classmethod
    def of(cls, kept: dict[str, Any], settings: Any, *, has_values: bool) -> SeriesForm:
        """
        Args:
            kept: the preprocessing of the run.
            settings: of its data.
            has_values: the task is to predict values, not a class.
        """
        target = [str(name) for name in kept["target"]] if has_values else []
        steps = [kept["skip"] + step for step in range(1, int(kept["horizon"]) + 1)]
        names = [f"{name} +{step}" if len(steps) > 1 else name for step, name in itertools.product(steps, target)]
        return cls(
            [str(name) for name in kept["columns"]],
            target,
            names,
            "the row after it" if steps == [1] else f"row {', '.join(f'+{step}' for step in steps)} after it",
            int(kept["window"]),
            np.array(kept["shift"], dtype=np.float64),
            np.array(kept["scale"], dtype=np.float64),
            getattr(settings, "date", "auto"),
            getattr(settings, "empty", "error"),
            getattr(settings, "gaps", "keep"),
            tuple(getattr(settings, "empty_words", ())),
            bool(kept["differences"]),
        )

    @property
    def needed(self) -> list[str]:
        """The columns that a table must have: the predicted ones too where changes are added to their last value."""
        return list(dict.fromkeys([*self.columns, *(self.target if self.differences else [])]))


class SeriesInputs(Inputs):
    """All rows of a table at once: in order of time, the window of one is among the rows before it."""

    def __init__(self, table: NewTable, form: SeriesForm) -> None:
        self.where, self.columns, self._table, self._form = table.where, table.names, table, form
        self._notes: list[str] = []
        self._last: Floats = np.empty((0, 0))

    def rows(self, keep: Sequence[str], most: int) -> Iterator[Rows]:
        """Yields all rows as one."""
        import pyarrow as pa

        parts = list(self._table.rows(self._table.names, _PART))
        if not parts:
            return
        numbers = [number for part in parts for number in part.numbers]
        cells = {name: pa.chunked_array([part.cells[name] for part in parts]) for name in self._table.names}
        problems: dict[int, str] = {}
        first = 0
        for part in parts:
            problems.update({first + place: reason for place, reason in part.problems.items()})
            first += len(part)
        yield Rows(numbers, {name: array.combine_chunks() for name, array in cells.items()}, problems)

    def close(self) -> None:
        self._table.close()

    def name_of(self, rows: Rows, place: int) -> str:
        return self._table.name_of(rows.numbers[place])

    def batches(self, rows: Rows, size: int) -> Iterator[tuple[Places, Tensors]]:
        form = self._form
        features = [Feature(name, "number", fill=0.0) for name in form.needed]
        table = self._as_table(rows)
        found = problems_of(features, table)
        for place, reason in found.items():
            rows.problems.setdefault(place, reason)
        bad = np.zeros(len(rows), dtype=bool)
        bad[list(rows.problems)] = True
        values = np.stack([_numbers(table.column(name), table, bad) for name in form.needed], axis=1)
        series = self._in_order(table, values)
        is_first = np.diff(series.rows, prepend=-1) != 0  # of a row and those that were added after it
        seen = series.inputs[:, : len(form.columns)]
        usable = self._usable(seen, bad[series.rows] & is_first, rows, series)
        filled = fill(series.inputs, form.empty, series, 0, len(series.rows)) if len(series.rows) else series.inputs
        ends = self._with_last(filled, series, np.flatnonzero(usable & is_first), rows)
        steps = np.diff(filled[:, : len(form.columns)], axis=0) if form.differences else filled[:, : len(form.columns)]
        scaled = torch.from_numpy(((steps - form.shift) / form.scale).astype(np.float32))
        if len(scaled) < form.window:
            self._notes.append(
                f"the model sees {self._needed} rows at once, and there are {len(rows)}: none is predicted"
            )
            return
        windows = scaled.unfold(0, form.window, 1).transpose(1, 2)  # (N, window, D), a view
        for first in range(0, len(ends), size):
            some = ends[first : first + size]
            yield series.rows[some], windows[torch.from_numpy(some - self._needed + 1)].contiguous()

    @property
    def _needed(self) -> int:
        """Rows that one window takes."""
        return self._form.window + self._form.differences

    def _as_table(self, rows: Rows) -> Table:
        import pyarrow as pa

        columns = {}
        for name, cells in rows.cells.items():
            if cells.type == pa.string() and not self._table.is_typed:
                column = csv_reader.column_of(name, cells, self._form.empty_words, self._table.decimal, as_text=False)
            else:
                column = parquet_reader.column_of(name, pa.chunked_array([cells]), as_text=False)
            columns[name] = column
        return Table(self.where, columns, len(rows), rows.numbers.__getitem__, decimal=self._table.decimal)

    def _in_order(self, table: Table, values: Floats) -> Series:
        """Returns the rows in order of time, and those that are missing added where the training added them."""
        form = self._form
        times = find_times(table, form.date) if table.num_rows else None
        order = None
        if times is not None:
            order, self._notes = order_of(times, table)
        elif form.date is not None:
            self._notes = [f"{self.where}: no column holds times, so its rows are taken as they stand"]
        rows = np.arange(table.num_rows) if order is None else order
        inputs = values[rows]
        series = Series(self.where, table, form.columns, form.target, inputs, inputs, None, (), rows, [])
        if times is not None and len(rows) > 2:
            self._close_gaps(series, times, rows)
        return series

    def _close_gaps(self, series: Series, times: Times, rows: NDArray[np.int64]) -> None:
        close_gaps(series, times.values[rows], self._form.gaps, times)
        self._notes += series.notes

    def _usable(self, seen: Floats, bad: NDArray[np.bool_], rows: Rows, series: Series) -> NDArray[np.bool_]:
        """Returns (R,) which rows end a window that the training could have had; says why others do not."""
        form, count, needed = self._form, len(seen), self._needed
        has_window = np.arange(count) >= needed - 1
        empty = np.isnan(seen).any(axis=1)
        if form.empty == "error":
            unknown = empty & ~bad
        else:
            known: NDArray[np.bool_] = np.logical_not(np.isnan(seen))
            if form.empty == "previous":
                known = np.asarray(np.logical_or.accumulate(known, axis=0))
            unknown = np.logical_not(known.all(axis=1))
        spoilt = _any_within(bad, needed)
        missing = _any_within(unknown, needed) if form.empty == "error" else unknown
        for place in np.flatnonzero(has_window & spoilt).tolist():
            one = int(np.flatnonzero(bad[place - needed + 1 : place + 1])[-1]) + place - needed + 1
            row = int(series.rows[one])
            reason = rows.problems.get(row, "")
            rows.problems.setdefault(int(series.rows[place]), f"in its window, {self.name_of(rows, row)}: {reason}")
        for place in np.flatnonzero(has_window & missing & ~spoilt).tolist():
            rows.problems.setdefault(int(series.rows[place]), "its window has an empty cell, which nothing fills")
        usable: NDArray[np.bool_] = has_window & ~spoilt & ~missing
        return usable

    def _with_last(self, filled: Floats, series: Series, ends: NDArray[np.int64], rows: Rows) -> NDArray[np.int64]:
        """Keeps the values from which predicted changes count, by the rows of the file; returns the ends with some."""
        form = self._form
        self._last = np.zeros((len(rows), len(form.target)))
        if not form.differences or not form.target:
            return ends
        last = filled[ends][:, [form.needed.index(name) for name in form.target]]
        missing = np.isnan(last).any(axis=1)
        reason = "it has no value that the predicted change could count from"
        rows.problems.update(dict.fromkeys(series.rows[ends[missing]].tolist(), reason))
        self._last[series.rows[ends]] = last
        return ends[~missing]

    def finish(self, rows: Rows, answers: Columns) -> None:
        """Turns predicted changes into values: they count from the window's last row."""
        if not (self._form.differences and self._form.target):
            return
        for place, cells in enumerate(answers.values()):
            cells += self._last[:, place % len(self._form.target)]

    def notes(self) -> Iterator[str]:
        yield from self._table.notes
        yield from self._notes
        note = f"a row's window is the {self._needed} rows up to it and with it; the first {self._needed - 1} have none"
        yield note + (f". Predicted is {self._form.ahead}" if self._form.target else "")


def _numbers(column: Column, table: Table, bad: NDArray[np.bool_]) -> Floats:
    """Returns (N,) the cells of a column as numbers, NaN where they are empty or bad."""
    values, _ = numbers_of(Feature(column.name, "number"), column, table)
    return np.where(bad | np.isinf(values), np.nan, values)


def _any_within(flags: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Returns (R,) whether any of the last ``width`` rows up to each one has the flag."""
    sums = np.concatenate([[0], np.cumsum(flags)])
    begin = np.maximum(np.arange(len(flags)) + 1 - width, 0)
    found: NDArray[np.bool_] = sums[1:] - sums[begin] > 0
    return found


class WindowInputs(Inputs):
    """Windows in memory, (N, window, D) in the columns' own units."""

    def __init__(self, windows: Floats, form: SeriesForm) -> None:
        self.where, self.columns, self._windows, self._form = "the array", [], windows, form
        expected = (form.window + form.differences, len(form.columns))
        if windows.shape[1:] != expected:
            raise DataError(
                f"the model sees windows of {expected[0]} rows and {expected[1]} columns ({', '.join(form.columns)}), "
                f"and the array has the shape {windows.shape}"
            )
        if form.differences and any(name not in form.columns for name in form.target):
            raise DataError("the model predicts changes of columns that are not in its windows: give a table")

    def rows(self, keep: Sequence[str], most: int) -> Iterator[Rows]:
        yield Rows(range(1, len(self._windows) + 1), {})

    def batches(self, rows: Rows, size: int) -> Iterator[tuple[Places, Tensors]]:
        bad = ~np.isfinite(self._windows).all(axis=(1, 2))
        rows.problems.update(dict.fromkeys(np.flatnonzero(bad).tolist(), "a value of it is no finite number"))
        steps = np.diff(self._windows, axis=1) if self._form.differences else self._windows
        for first in range(0, len(rows.good), size):
            places = rows.good[first : first + size]
            scaled = (steps[places] - self._form.shift) / self._form.scale
            yield places, torch.from_numpy(scaled.astype(np.float32))

    def finish(self, rows: Rows, answers: Columns) -> None:
        form = self._form
        if not (form.differences and form.target):
            return
        for place, cells in enumerate(answers.values()):
            name = form.target[place % len(form.target)]
            cells += self._windows[:, -1, form.columns.index(name)]
