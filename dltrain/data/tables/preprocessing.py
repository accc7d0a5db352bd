"""What preprocessing learns from the training rows, as plain numbers, and how it turns any table into inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.data.contract import InputSpec, Tensors
from dltrain.data.tables.columns import (
    PART_ROWS,
    Column,
    Floats,
    Indices,
    Rows,
    Table,
    all_rows,
    empty_cells,
    file_row,
    free_released,
    to_numbers,
    to_texts,
    untouched_zeros,
)
from dltrain.data.tables.kinds import MEANINGS, Kind
from dltrain.data.tables.settings import TableSettings
from dltrain.errors import DataError

Block = NDArray[np.float32] | NDArray[np.int32]
OTHER = 0  # the code of every category that has none of its own

# The one input of a model that takes one, where inputs have names.
ALL = ""


@dataclass(frozen=True)
class Feature:
    """How a column becomes numbers.

    Attributes:
        shift, scale: a number or a boolean (0 or 1) x becomes (x - shift) / scale.
        fill: what an empty cell counts as before that; None refuses it.
        categories: of codes 1, 2, ... from the most frequent on; ``OTHER`` stands for all others.
        empty_code: the code of an empty cell; None refuses it.
    """

    name: str
    kind: Literal["number", "boolean", "category"]
    shift: float = 0.0
    scale: float = 1.0
    fill: float | None = None
    categories: tuple[str, ...] = ()
    empty_code: int | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.kind == "category":
            return {
                "name": self.name,
                "kind": self.kind,
                "categories": list(self.categories),
                "empty_code": self.empty_code,
            }
        return {"name": self.name, "kind": self.kind, "shift": self.shift, "scale": self.scale, "fill": self.fill}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Feature:
        return cls(**{**values, "categories": tuple(values.get("categories", ()))})


@dataclass(frozen=True)
class TablePreprocessing:
    """Turns the rows of any table with the same columns into a model's inputs.

    Attributes:
        groups: names of features for each named input; ``ALL`` alone where there is one.
        embeds: categories are codes in the last columns, not a column each.
    """

    features: dict[str, Feature]
    groups: dict[str, tuple[str, ...]]
    embeds: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "features": [feature.to_dict() for feature in self.features.values()],
            "groups": {name: list(features) for name, features in self.groups.items()},
            "embeds": self.embeds,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TablePreprocessing:
        features = [Feature.from_dict(feature) for feature in values["features"]]
        groups = {name: tuple(names) for name, names in values["groups"].items()}
        return cls({feature.name: feature for feature in features}, groups, bool(values["embeds"]))

    @property
    def texts(self) -> set[str]:
        """The columns that a reader must keep as they are written."""
        return {feature.name for feature in self.features.values() if feature.kind == "category"}

    @property
    def inputs(self) -> InputSpec | dict[str, InputSpec]:
        """One sample as a model sees it."""
        specs = {group: self._spec(names) for group, names in self.groups.items()}
        return specs if self._is_several else specs[ALL]

    @property
    def _is_several(self) -> bool:
        return ALL not in self.groups

    def _spec(self, names: tuple[str, ...]) -> InputSpec:
        features = [self.features[name] for name in names]
        if not self.embeds:
            return InputSpec((sum(self._width(feature) for feature in features),))
        codes = tuple(len(feature.categories) + 1 for feature in features if feature.kind == "category")
        return InputSpec((len(features),), categories=codes)

    def _width(self, feature: Feature) -> int:
        return 1 if self.embeds or feature.kind != "category" else len(feature.categories)

    def transform(self, table: Table) -> Tensors:
        """Returns the inputs of all rows of a table: (N, D) float32, or one such tensor for each named input.

        Raises:
            DataError: a column is missing, or a cell cannot be used.
        """
        refusing = [f.name for f in self.features.values() if f.fill is None and f.empty_code is None]
        rows = complete_rows(refusing, table, np.arange(table.num_rows), "error")
        return self.transform_parts(table, [rows], release=False)[0]

    def transform_parts(self, table: Table, parts: list[Indices], *, release: bool) -> list[Tensors]:
        """Returns the inputs of several sets of rows.

        Args:
            parts: rising places of rows.
            release: gives back the memory of the table's numbers as they are turned, so that the table and the
                tensors are never in memory together.
        """
        widths = {
            group: sum(self._width(self.features[name]) for name in names) for group, names in self.groups.items()
        }
        arrays = [{group: untouched_zeros((len(rows), width)) for group, width in widths.items()} for rows in parts]
        columns = {name: table.column(name) for name in self.features}
        codes = {name: _category_codes(self.features[name], columns[name], table) for name in self.texts}
        step = PART_ROWS // 2
        for start in range(0, table.num_rows, step):
            span = slice(start, min(start + step, table.num_rows))
            blocks: dict[str, Block] = {
                name: codes[name][span] if name in codes else _scaled(feature, columns[name], span, table)
                for name, feature in self.features.items()
            }
            if release:
                for column in columns.values():
                    column.release(span.stop)
                free_released()
            for rows, outputs in zip(parts, arrays, strict=True):
                first, last = np.searchsorted(rows, [span.start, span.stop])
                chosen = rows[first:last] - span.start
                for group, names in self.groups.items():
                    self._write(names, blocks, chosen, outputs[group][first:last])
        tensors = [{group: torch.from_numpy(array) for group, array in outputs.items()} for outputs in arrays]
        return [named if self._is_several else named[ALL] for named in tensors]

    def _write(
        self, names: tuple[str, ...], blocks: dict[str, Block], rows: Indices, output: NDArray[np.float32]
    ) -> None:
        """Writes some rows of the blocks to the zeros (len(rows), D) of one input, codes to embed last."""
        features = [self.features[name] for name in names]
        if self.embeds:
            features.sort(key=lambda feature: feature.kind == "category")  # stable
        place = 0
        for feature in features:
            cells = blocks[feature.name][rows]
            if feature.kind != "category" or self.embeds:
                output[:, place] = cells
            else:
                known = np.flatnonzero(cells != OTHER)
                output[known, place + cells[known].astype(np.int64) - 1] = 1
            place += self._width(feature)


def _category_codes(feature: Feature, column: Column, table: Table) -> NDArray[np.int32]:
    """Returns the (N,) codes of a category."""
    codes, texts = to_texts(column, all_rows(table), table)
    places = {category: code for code, category in enumerate(feature.categories, 1)}
    empty = OTHER if feature.empty_code is None else feature.empty_code
    return np.array([*(places.get(text, OTHER) for text in texts), empty], dtype=np.int32)[codes]


def _scaled(feature: Feature, column: Column, rows: slice, table: Table) -> NDArray[np.float32]:
    """Returns the numbers of some rows, scaled; where empty cells are not filled, those of dropped rows are NaN."""
    values = to_numbers(column, rows, table) if feature.kind == "number" else to_booleans(column, rows, table)
    if feature.fill is not None:
        values = np.where(np.isnan(values), feature.fill, values)
    with np.errstate(over="ignore"):
        block: NDArray[np.float32] = ((values - feature.shift) / feature.scale).astype(np.float32)
    infinite = np.isinf(block)
    if infinite.any():
        first = int(infinite.argmax())
        raise DataError(
            f"{table.where}: row {file_row(table, rows, first)}: column '{column.name}' holds {values[first]:g}, which "
            "is too large to compute with. data.scaling=standard may mend it, or skip the column: "
            f"'data.columns={{{column.name}: skip}}'"
        )
    return block


def to_booleans(column: Column, rows: Rows, table: Table) -> Floats:
    """Returns words such as yes and no as 1 and 0, NaN for empty cells.

    Raises:
        DataError: another word stands among them.
    """
    if column.stored in ("number", "empty"):
        values = to_numbers(column, rows, table)
        wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
        told = [f"{value:g}" for value in values[wrong][:1]]
    else:
        codes, texts = to_texts(column, rows, table)
        values = np.array([*(MEANINGS.get(text.casefold(), -1.0) for text in texts), np.nan])[codes]
        wrong = values == -1
        told = [repr(texts[code]) for code in codes[wrong][:1]]
    if told:
        first = int(wrong.argmax())
        raise DataError(
            f"{table.where}: row {file_row(table, rows, first)}: column '{column.name}' holds words such as yes and "
            f"no, and {told[0]} is none. Mend it, or take it as a category: "
            f"'data.columns={{{column.name}: category}}'"
        )
    return values


# --- learning ---------------------------------------------------------------------------------------------


def fit(kinds: list[Kind], table: Table, train: Indices, settings: TableSettings) -> TablePreprocessing:
    """Learns from the training rows how each column becomes numbers.

    Args:
        kinds: of the columns to take.
        train: (n,) places of the training rows.

    Raises:
        DataError: cells that the settings refuse, or named inputs that name no such column.
    """
    features: dict[str, Feature] = {}
    for kind in kinds:
        column = table.column(kind.name)
        if kind.kind == "category":
            features[kind.name] = _fit_category(column, table, train, settings)
        elif kind.kind == "boolean":
            features[kind.name] = _fit_numbers("boolean", column, to_booleans(column, train, table), settings)
        else:
            features[kind.name] = _fit_numbers("number", column, to_numbers(column, train, table), settings)
    groups = {ALL: tuple(features)} if settings.inputs is None else _groups(settings.inputs, features, table)
    return TablePreprocessing(features, groups, settings.categories == "embedding")


def _groups(inputs: dict[str, list[str]], features: dict[str, Feature], table: Table) -> dict[str, tuple[str, ...]]:
    for group, names in inputs.items():
        if not names:
            raise DataError(f"data.inputs.{group} names no column")
        for name in names:
            table.column(name)
            if name not in features:
                raise DataError(
                    f"data.inputs.{group}: column '{name}' is the target or left out; take it in with "
                    f"'data.columns={{{name}: number}}' or category, or do not name it"
                )
    return {group: tuple(names) for group, names in inputs.items()}


def _fit_category(column: Column, table: Table, train: Indices, settings: TableSettings) -> Feature:
    codes, texts = to_texts(column, train, table)
    counts = np.bincount(codes + 1, minlength=len(texts) + 1)[1:]
    kept = [(-int(count), text) for count, text in zip(counts, texts, strict=True) if count]
    kept = sorted(pair for pair in kept if -pair[0] >= settings.min_category_count)
    empty: int | None = OTHER
    if settings.empty in ("drop", "error"):
        empty = None
    elif settings.empty_category == "most_frequent" and kept:
        empty = 1
    return Feature(column.name, "category", categories=tuple(text for _, text in kept), empty_code=empty)


def _fit_numbers(
    kind: Literal["number", "boolean"], column: Column, values: Floats, settings: TableSettings
) -> Feature:
    present = values[~np.isnan(values)]
    if not len(present):
        raise DataError(
            f"column '{column.name}' is empty in every training row. Leave it out: "
            f"'data.columns={{{column.name}: skip}}'"
        )
    fill = _fill(present, settings)
    if fill is not None and len(present) < len(values):
        present = np.where(np.isnan(values), fill, values)
    if kind == "boolean" or settings.scaling == "none":
        return Feature(column.name, kind, fill=fill)
    with np.errstate(over="ignore", invalid="ignore"):
        if settings.scaling == "minmax":
            shift, scale = float(present.min()), float(np.ptp(present))
        else:
            shift, scale = float(present.mean()), float(present.std())
    if not np.isfinite([shift, scale]).all():
        raise DataError(
            f"column '{column.name}' holds numbers up to {np.abs(present).max():g}, which are too large to scale: "
            f"'data.columns={{{column.name}: skip}}'"
        )
    return Feature(column.name, kind, shift, scale if scale > 0 else 1.0, fill)


def _fill(present: Floats, settings: TableSettings) -> float | None:
    """Returns what fills an empty cell, or None where it is refused or its row dropped."""
    if settings.empty == "mean":
        return float(present.mean())
    if settings.empty == "median":
        return float(np.median(present))
    if settings.empty == "most_frequent":
        values, counts = np.unique(present, return_counts=True)
        return float(values[counts.argmax()])
    return settings.empty_value if settings.empty == "constant" else None


def complete_rows(features: list[str], table: Table, rows: Indices, empty: str) -> Indices:
    """Returns those of the rows that may be used: without the ones that have an empty cell where they are dropped.

    Raises:
        DataError: a cell is empty and ``empty`` is "error".
    """
    if empty not in ("drop", "error"):
        return rows
    keep = np.ones(len(rows), dtype=bool)
    for name in features:
        is_empty = empty_cells(table.column(name))
        missing = np.ones(len(rows), dtype=bool) if is_empty is None else is_empty[rows]
        if empty == "error" and missing.any():
            count, first = int(missing.sum()), int(rows[int(missing.argmax())])
            raise DataError(
                f"{table.where}: column '{name}' has {count} empty cell{'s' if count > 1 else ''}, the first one in "
                f"row {table.row_number(first)}. data.empty=median fills them, data.empty=drop leaves their rows out"
            )
        keep &= ~missing
    return rows[keep]
