"""What a table's target is, a class or a number, and how its cells become what a model learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from dltrain.data.contract import InputSpec, Task
from dltrain.data.tables.columns import (
    Column,
    Floats,
    Indices,
    Table,
    empty_cells,
    listed,
    number_text,
    to_numbers,
    to_texts,
)
from dltrain.data.tables.spelling import example, spelled, units
from dltrain.errors import ConfigError, DataError

# Whole numbers count as classes up to so many different ones, each in so many rows on average.
_MAX_NUMBER_CLASSES = 20
_ROWS_A_CLASS = 10

# Text is no class where more than this many values stand in nearly every row only once.
_MAX_TEXT_CLASSES = 20

# Of two classes, one called so is the positive one; else it is the rarer.
_POSITIVE = frozenset({"1", "t", "true", "y", "yes", "positive", "pos", "양성", "참", "예"})


@dataclass(frozen=True)
class Target:
    """A column that is to be predicted.

    Attributes:
        class_names: the classes in their order; of two, the second is the positive one. Empty for a number.
        shift, scale: what a model learns of a number y is (y - shift) / scale.
    """

    name: str
    kind: Literal["regression", "binary", "multiclass"]
    class_names: tuple[str, ...] = ()
    shift: float = 0.0
    scale: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        if self.kind == "regression":
            return {"name": self.name, "kind": self.kind, "shift": self.shift, "scale": self.scale}
        return {"name": self.name, "kind": self.kind, "class_names": list(self.class_names)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Target:
        return cls(**{**values, "class_names": tuple(values.get("class_names", ()))})

    def task(self, inputs: InputSpec | dict[str, InputSpec]) -> Task:
        if self.kind == "multiclass":
            return Task("multiclass", inputs, len(self.class_names), self.class_names)
        if self.kind == "binary":
            return Task("binary", inputs, 1, self.class_names)
        if (self.shift, self.scale) == (0.0, 1.0):
            return Task("regression", inputs, 1)
        return Task("regression", inputs, 1, target_shift=(self.shift,), target_scale=(self.scale,))

    def classes(self, table: Table, rows: Indices) -> Indices:
        """Returns the (n,) classes of some rows.

        Raises:
            DataError: a class that the training rows have not.
        """
        codes, texts = to_texts(table.column(self.name), rows, table)
        places = {name: place for place, name in enumerate(self.class_names)}
        known = np.array([places.get(_canonical(text, places), -1) for text in texts], dtype=np.int64)
        classes: Indices = known[codes]
        if (classes < 0).any():
            first = int((classes < 0).argmax())
            raise DataError(
                f"{table.where}: row {table.row_number(int(rows[first]))}: column '{self.name}' has the class "
                f"{texts[codes[first]]!r}, which no training row has. They have: {listed(list(self.class_names), 20)}"
            )
        return classes

    def encode(self, table: Table, rows: Indices) -> torch.Tensor:
        """Returns (n,) int64 classes, or (n, 1) float32 of two classes or a number."""
        if self.kind == "regression":
            values = (to_numbers(table.column(self.name), rows, table) - self.shift) / self.scale
            return torch.from_numpy(values.astype(np.float32)[:, None])
        classes = self.classes(table, rows)
        return torch.from_numpy(classes.astype(np.float32)[:, None] if self.kind == "binary" else classes)


def _canonical(text: str, places: dict[str, int]) -> str:
    """Returns the class name of a text: "1.0" is the class 1."""
    if text in places:
        return text
    number = spelled(text, None)
    return text if number is None or not np.isfinite(number) else number_text(number)


def find_target(table: Table, wanted: str | int) -> str:
    """Returns the name of the column that the settings name, or give by its place.

    Raises:
        DataError: there is none; the message lists the columns.
    """
    names = list(table.columns)
    if str(wanted) in table.columns or isinstance(wanted, str):
        return table.column(str(wanted)).name
    if not -len(names) <= wanted < len(names):
        raise DataError(
            f"data.target={wanted}: there are {len(names)} columns, so a place is from {-len(names)} to "
            f"{len(names) - 1}"
        )
    return names[wanted]


def rows_with_target(table: Table, names: list[str], empty: str) -> Indices:
    """Returns the rows that have every target.

    Raises:
        DataError: some have not, and empty rows are not to be dropped, or none has.
    """
    missing = np.zeros(table.num_rows, dtype=bool)
    for name in names:
        is_empty = empty_cells(table.column(name))
        if is_empty is None or is_empty.all():
            what = (
                f"holds {table.column(name).stored}s" if table.column(name).stored in ("date", "other") else "is empty"
            )
            raise DataError(f"{table.where}: the target column '{name}' {what}, so there is nothing to learn")
        if is_empty.any() and empty != "drop":
            first, count = int(is_empty.argmax()), int(is_empty.sum())
            raise DataError(
                f"{table.where}: row {table.row_number(first)}: the target '{name}' is empty"
                f"{f', as in {count - 1} more rows' if count > 1 else ''}. Fill it in, or leave such rows out with "
                "data.empty=drop"
            )
        missing |= is_empty
    return np.flatnonzero(~missing)


def is_classification(column: Column, rows: Indices, table: Table, task: str) -> bool:
    """Tells whether a target is a class: ``task`` says it, or it is text, or few different whole numbers."""
    if task != "auto":
        return task == "classification"
    values = _numbers_of(column, rows, table)
    if values is None:
        return True
    if not bool((values == np.rint(values)).all()):
        return False
    distinct = len(np.unique(values))
    return distinct <= 2 or (distinct <= _MAX_NUMBER_CLASSES and distinct * _ROWS_A_CLASS <= len(values))


def _numbers_of(column: Column, rows: Indices, table: Table) -> Floats | None:
    """Returns the rows of a target as numbers; None where they are rather names of classes.

    Raises:
        DataError: more than nine in ten are numbers, of many different values: the others are mistakes.
    """
    if column.codes is None:
        return to_numbers(column, rows, table)
    codes, texts = to_texts(column, rows, table)
    used, counts = np.unique(codes, return_counts=True)
    is_number = np.array([spelled(texts[code], table.decimal) is not None for code in used])
    if len(units([texts[code] for code in used], table.decimal)) > 1:
        return None  # amounts in several currencies
    share = counts[is_number].sum() / counts.sum()
    if share == 1 or (share >= 0.9 and is_number.sum() > _MAX_NUMBER_CLASSES):
        return to_numbers(column, rows, table)
    return None


def stratify(table: Table, names: list[str], rows: Indices, task: str) -> Indices | None:
    """Returns the (n,) classes by which the rows are split in equal shares: those of the first target that has any."""
    for name in names:
        column = table.column(name)
        if is_classification(column, rows, table, task):
            return to_texts(column, rows, table)[0].astype(np.int64)
    return None


def fit_target(table: Table, name: str, train: Indices, task: str, scaling: str) -> tuple[Target, str]:
    """Learns a target from the training rows.

    Returns:
        The target, and a note of what it was taken for.

    Raises:
        DataError: there is a single class or a single number, or each row has a class of its own.
        ConfigError: what should be a number is none.
    """
    column = table.column(name)
    if not is_classification(column, train, table, task):
        values = to_numbers(column, train, table)
        if values.min() == values.max():
            raise DataError(
                f"{table.where}: the target '{name}' is {number_text(float(values[0]))} in every training row, so "
                "there is nothing to learn"
            )
        note = f"target {name}: a number from {values.min():g} to {values.max():g}"
        words = [] if column.codes is None else [column.words[code] for code in np.unique(column.codes[train])]
        shown = example(words, table.decimal)
        note += f"; {shown}" if shown else ""
        if scaling == "none":
            return Target(name, "regression"), note
        with np.errstate(over="ignore", invalid="ignore"):
            shift, scale = float(values.mean()), float(values.std())
        if not np.isfinite([shift, scale]).all() or scale == 0:
            raise DataError(f"{table.where}: the target '{name}' holds numbers that are too large to scale")
        return Target(name, "regression", shift=shift, scale=scale), note
    codes, texts = to_texts(column, train, table)
    counts = np.bincount(codes, minlength=len(texts))
    present = {texts[code]: int(counts[code]) for code in np.flatnonzero(counts)}
    if len(present) < 2:
        raise DataError(
            f"{table.where}: the target '{name}' has one class only, {next(iter(present))!r}, in all {len(train)} "
            "training rows: there is nothing to tell apart"
        )
    if len(present) > _MAX_TEXT_CLASSES and len(present) > 0.5 * len(train):
        raise DataError(
            f"{table.where}: the target '{name}' has {len(present)} different values in {len(train)} training rows, "
            "which are too many to be classes. Choose another data.target, or data.task=regression for numbers"
        )
    classes = class_order(present)
    note = f"target {name}: {len(classes)} classes, " + listed([f"{c} ({present[c]:,})" for c in classes])
    if len(classes) == 2:
        return Target(name, "binary", classes), f"{note}; {classes[1]} is the positive one"
    if column.stored == "number" and task == "auto":
        note += ". data.task=regression would learn it as a number"
    return Target(name, "multiclass", classes), note


def class_order(present: dict[str, int]) -> tuple[str, ...]:
    """Returns the class names: numbers by size, others by the alphabet; of two, the positive one last."""
    numbers = {text: spelled(text, None) for text in present}
    if all(number is not None for number in numbers.values()):
        names = sorted(present, key=lambda text: (numbers[text] or 0.0, text))
    else:
        names = sorted(present)
    if len(names) == 2:
        positive = [name for name in names if name.casefold() in _POSITIVE]
        if len(positive) == 1:
            names.sort(key=lambda name: name == positive[0])
        elif present[names[0]] < present[names[1]]:
            names.reverse()
    return tuple(names)


def balance(target: Target | None, classes: torch.Tensor) -> Any:
    """Returns (n,) float64 n / (K n_k) of each row: how much its class is to count, 1 on average."""
    if target is None or target.kind == "regression":
        raise ConfigError(
            "data.class_weights or data.sampling is balanced, which needs one target with classes: this data has none"
        )
    flat = classes.flatten().long()
    counts = torch.bincount(flat, minlength=len(target.class_names)).double()
    return (len(flat) / (len(counts) * counts))[flat]
