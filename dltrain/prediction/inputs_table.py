"""Rows of a table of columns: numbers scaled and categories coded as in the training."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from dltrain.data import InputSpec, Tensors
from dltrain.data.tables import csv_reader, parquet_reader
from dltrain.data.tables.columns import Column, Table, listed
from dltrain.data.tables.kinds import MEANINGS
from dltrain.data.tables.preprocessing import ALL, Feature, TablePreprocessing
from dltrain.data.tables.spelling import composed
from dltrain.errors import DataError
from dltrain.prediction.cell_problems import problems_of
from dltrain.prediction.rows import Inputs, Places, Rows
from dltrain.prediction.wanted import NewTable

_MOST_UNKNOWN = 1000


class TableInputs(Inputs):
    """A table with the columns of the training; others are passed over, the target's among them."""

    def __init__(
        self,
        table: NewTable,
        preprocessing: TablePreprocessing,
        *,
        empty_words: tuple[str, ...],
        decimal: str | None = None,
        one_hot_of_all: bool = False,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """
        Args:
            decimal: the decimal mark of the training's table.
            one_hot_of_all: each category is to be a column for each code, 0 among them; the codes stand last.
            shape: of a sample, where it is no row of numbers.
        """
        self.where, self.columns, self._table = table.where, table.names, table
        self._preprocessing, self._empty_words, self._shape = preprocessing, empty_words, shape
        self._decimal = table.decimal or decimal
        self._one_hot_of_all = one_hot_of_all
        self._unknown: dict[str, dict[str, None]] = {}

    def rows(self, keep: Sequence[str], most: int) -> Iterator[Rows]:
        yield from self._table.rows(list(dict.fromkeys([*self._preprocessing.features, *keep])), most)

    def close(self) -> None:
        self._table.close()

    def name_of(self, rows: Rows, place: int) -> str:
        return self._table.name_of(rows.numbers[place])

    def batches(self, rows: Rows, size: int) -> Iterator[tuple[Places, Tensors]]:
        whole = self._as_table(rows)
        places = rows.good
        try:
            inputs = self._preprocessing.transform(_taken(whole, places))
        except DataError:
            found = problems_of(list(self._preprocessing.features.values()), whole)
            rows.problems.update({place: reason for place, reason in found.items() if place not in rows.problems})
            places = rows.good
            inputs = self._preprocessing.transform(_taken(whole, places))
        self._note_unknown(whole)
        for first in range(0, len(places), size):
            yield places[first : first + size], self._shaped(inputs, slice(first, first + size))

    def _as_table(self, rows: Rows) -> Table:
        columns = {}
        for name, feature in self._preprocessing.features.items():
            column = self._column(name, rows.cells[name], as_text=feature.kind == "category")
            columns[name] = _truths_as_numbers(column) if feature.kind == "number" else column
        return Table(self.where, columns, len(rows), rows.numbers.__getitem__, decimal=self._decimal)

    def _column(self, name: str, cells: Any, *, as_text: bool) -> Column:
        import pyarrow as pa

        if cells.type == pa.string() and not self._table.is_typed:
            return csv_reader.column_of(name, cells, self._empty_words, self._decimal, as_text)
        return parquet_reader.column_of(name, pa.chunked_array([cells]), as_text)

    def _shaped(self, inputs: Tensors, rows: slice) -> Tensors:
        if isinstance(inputs, dict):
            return {name: tensor[rows] for name, tensor in inputs.items()}
        some = inputs[rows]
        if self._one_hot_of_all:
            some = _one_hot(some, list(self._preprocessing.features.values()))
        return some if self._shape is None else some.reshape(-1, *self._shape)

    def _note_unknown(self, table: Table) -> None:
        for name, feature in self._preprocessing.features.items():
            if feature.kind == "category":
                seen = self._unknown.setdefault(name, {})
                known = set(feature.categories)
                if len(seen) < _MOST_UNKNOWN:
                    seen.update(dict.fromkeys(word for word in table.column(name).words if word not in known))

    def notes(self) -> Iterator[str]:
        yield from (f"{note}" for note in self._table.notes)
        for name, words in self._unknown.items():
            if words:
                yield (
                    f"column '{name}' has {'words' if len(words) > 1 else 'a word'} that the model does not know, and "
                    f"takes for 'other': {listed(list(words))}"
                )


def _taken(table: Table, places: Places) -> Table:
    """Returns some rows of a table."""
    if len(places) == table.num_rows:
        return table
    columns = {}
    for name, column in table.columns.items():
        codes = None if column.codes is None else column.codes[places]
        parts = [column.numbers(places)] if column.stored == "number" else []
        columns[name] = Column(name, column.stored, parts, codes, column.words, column.as_text)
    return Table(table.where, columns, len(places), table.row_number, decimal=table.decimal)


def _truths_as_numbers(column: Column) -> Column:
    """Returns words such as true and false as 1 and 0, where a column holds nothing else."""
    if column.codes is None or not all(word.casefold() in MEANINGS for word in column.words):
        return column
    values = np.array([*(MEANINGS[word.casefold()] for word in column.words), np.nan])
    return Column(column.name, "number", [values[column.codes]])


def _one_hot(inputs: torch.Tensor, features: list[Feature]) -> torch.Tensor:
    """Returns (N, D) numbers and then codes with a column for each code, 0 among them."""
    categories = [feature for feature in features if feature.kind == "category"]
    count = inputs.shape[1] - len(categories)
    parts = [inputs[:, :count]]
    for place, feature in enumerate(categories, count):
        codes = inputs[:, place].long()
        parts.append(torch.nn.functional.one_hot(codes, len(feature.categories) + 1).float())
    return torch.cat(parts, dim=1)


# --- what data sets keep of their preprocessing -----------------------------------------------------------


def of_streamed(kept: dict[str, Any]) -> TablePreprocessing:
    """Returns the preprocessing of ``parquet_shards``, its categories as codes."""
    features = {
        column["name"]: Feature(column["name"], "number", column["shift"], column["scale"], column["fill"])
        for column in kept["numbers"]
    }
    for column in kept["categories"]:
        words = tuple(composed(word) for word in column["words"])
        features[column["name"]] = Feature(column["name"], "category", categories=words, empty_code=0)
    return TablePreprocessing(features, {ALL: tuple(features)}, embeds=True)


def of_numbers(kept: dict[str, Any], names: Sequence[str]) -> TablePreprocessing:
    """Returns the preprocessing of plain numbers with a shift and a scale each, or none."""
    shift, scale = kept.get("shift") or [0.0] * len(names), kept.get("scale") or [1.0] * len(names)
    features = {
        name: Feature(name, "number", *pair) for name, pair in zip(names, zip(shift, scale, strict=True), strict=True)
    }
    return TablePreprocessing(features, {ALL: tuple(features)}, embeds=False)


def names_of_numbers(settings: Any, spec: InputSpec) -> list[str]:
    """Returns what the numbers of a data set are called that keeps no names of them."""
    count = int(np.prod(spec.shape))
    if settings.name == "iris":
        return list(settings.measures)
    if settings.name == "digits":
        return [f"pixel_{place // 8}_{place % 8}" for place in range(count)]
    return ["x"] if count == 1 else [f"x{place}" for place in range(1, count + 1)]


def plain_name(name: str, known: Sequence[str]) -> str:
    """Returns the one of the known names that a header means: 'Sepal length (cm)' and SepalLengthCm sepal_length."""
    if name in known:
        return name
    letters = re.sub(r"[\W_]+", "", re.sub(r"\(.*\)|Cm$", "", name)).casefold()
    return next((one for one in known if one.replace("_", "") == letters), name)
