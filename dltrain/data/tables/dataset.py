"""``csv``: a table of one's own, from its path to samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dltrain import registry
from dltrain.data.batching import Samples
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.contract import Data, InputSpec, Task, Tensors
from dltrain.data.splitting import split_indices
from dltrain.data.tables.columns import Indices, Table, near
from dltrain.data.tables.kinds import LEARNED, Kind, described, infer
from dltrain.data.tables.preprocessing import TablePreprocessing, complete_rows, fit
from dltrain.data.tables.reader import read_table
from dltrain.data.tables.settings import TableSettings
from dltrain.data.tables.targets import Target, balance, find_target, fit_target, rows_with_target, stratify
from dltrain.errors import ConfigError, DataError


@registry.register("data", "csv", TableSettings)
def csv(settings: TableSettings) -> Data:
    """A table in a file: CSV, TSV, either packed with gzip, or Parquet."""
    if not settings.path:
        raise ConfigError("data.path: name the file of the table, as in data.path=my.csv data.target=COLUMN")
    return table_data(settings, Path(settings.path))


def table_data(settings: TableSettings, path: Path) -> Data:
    """Reads a table and makes samples of it.

    Raises:
        ConfigError: settings that do not fit each other or the table.
        DataError: the table cannot be used.
    """
    if settings.target is None:
        raise ConfigError("data.target: name the column to predict, or give its place (-1 is the last)")
    wanted = settings.target if isinstance(settings.target, list) else [settings.target]
    known = {*map(str, wanted), *settings.columns}
    texts = {name for name, kind in settings.columns.items() if kind == "category"}
    table = read_table(
        path.expanduser(), f"data.path={settings.path or path}", settings.format, names=known, texts=texts
    )
    return from_table(settings, table)


def from_table(settings: TableSettings, table: Table) -> Data:
    """Makes samples of a table that was read, and of those that the settings name besides."""
    targets = _target_names(settings, table)
    parts = _deal(settings, table, targets)
    train = parts["train"].rows
    kinds = _kinds(settings, table, targets, train)
    learned = [kind for kind in kinds if kind.kind in LEARNED]
    if settings.empty == "error":  # told of a whole file, not of the first split that has one
        for other in {id(part.table): part.table for part in parts.values()}.values():
            rows = np.sort(np.concatenate([part.rows for part in parts.values() if part.table is other]))
            complete_rows([kind.name for kind in learned], other, rows, settings.empty)
    for part in parts.values():
        whole = part.rows
        part.rows = complete_rows([kind.name for kind in learned], part.table, whole, settings.empty)
        part.dropped = len(whole) - len(part.rows)
    train = parts["train"].rows
    if not len(train):
        raise DataError(
            f"{table.where}: every row has an empty cell, so data.empty=drop leaves none. Take data.empty=median"
        )
    preprocessing = fit(learned, table, train, settings)
    _check_width(preprocessing, table)
    fitted = [fit_target(table, name, train, settings.task, settings.target_scaling) for name in targets]
    heads = {target.name: target for target, _ in fitted}
    samples = _samples(preprocessing, heads, parts)
    samples["train"] = _balanced(settings, heads, samples["train"])
    notes = [*table.notes, *described(kinds), *(note for _, note in fitted)]
    for part in parts.values():
        notes += part.table.notes if part.table is not table else []
        if part.dropped:
            notes.append(f"{part.table.where}: {part.dropped} rows with empty cells are left out")
    if "validation" not in samples:
        notes.append(TRAINS_AND_EVALUATES_THE_SAME)
    return Data(
        _task(heads, preprocessing.inputs),
        train=samples["train"],
        validation=samples.get("validation", samples["train"]),
        test=samples.get("test"),
        preprocessing={
            "table": preprocessing.to_dict(),
            "targets": [target.to_dict() for target in heads.values()],
            "decimal": table.decimal,
        },
        notes=tuple(dict.fromkeys(notes)),
    )


@dataclass
class _Part:
    """Rows of a table that make a split.

    Attributes:
        dropped: how many were left out because a cell is empty.
    """

    table: Table
    rows: Indices
    dropped: int = 0


def _target_names(settings: TableSettings, table: Table) -> list[str]:
    wanted = settings.target if isinstance(settings.target, list) else [settings.target]
    names = [find_target(table, item) for item in wanted if item is not None]
    if not names:
        raise ConfigError("data.target is an empty list: name the columns to predict")
    if len(set(names)) < len(names):
        raise ConfigError(f"data.target names the column '{max(names, key=names.count)}' twice")
    for name in settings.columns:
        if name not in table.columns:
            raise DataError(f"data.columns: there is no column '{name}'.{near(name, table.columns)}")
        if name in names:
            raise ConfigError(f"data.columns.{name}: this is the target; data.task says what it is")
    return names


def _deal(settings: TableSettings, table: Table, targets: list[str]) -> dict[str, _Part]:
    """Deals the rows to splits, and reads the tables that are splits of their own."""
    rows = rows_with_target(table, targets, settings.empty)
    if settings.test_path is not None:
        settings = replace(settings, test_fraction=0.0)
    if settings.validation_path is not None:
        settings = replace(settings, validation_fraction=0.0)
    try:
        if len(rows) < 2:
            raise DataError(f"{len(rows)} row is too few to train on")
        split = split_indices(len(rows), settings, stratify(table, targets, rows, settings.task))
    except DataError as error:
        text = str(error)
        raise DataError(text if text.startswith(table.where) else f"{table.where}: {text}") from error
    parts = {
        name: _Part(table, rows[indices]) for name, indices in zip(("train", "validation", "test"), split, strict=True)
    }
    for name, path in (("validation", settings.validation_path), ("test", settings.test_path)):
        if path is not None:
            # What is text here is text there: as numbers, 1 and 1.0 would be other words than in training.
            texts = {column.name for column in table.columns.values() if column.stored == "text"}
            other = read_table(
                Path(path).expanduser(), f"data.{name}_path={path}", settings.format, texts=texts, like=table
            )
            parts[name] = _Part(other, rows_with_target(other, targets, settings.empty))
    return {name: part for name, part in parts.items() if len(part.rows)}


def _kinds(settings: TableSettings, table: Table, targets: list[str], train: Indices) -> list[Kind]:
    """Tells what each column but the targets is.

    Raises:
        DataError: none can be learned from.
    """
    kinds = []
    for place, (name, column) in enumerate(table.columns.items()):
        if name in targets:
            continue
        given = settings.columns.get(name)
        if given is not None:
            kinds.append(Kind(name, given))
        else:
            kinds.append(infer(column, train, table, settings.max_categories, is_first=place == 0))
    if not any(kind.kind in LEARNED for kind in kinds):  # a running number is better than nothing
        kinds = [
            Kind(kind.name, "number") if kind.kind == "id" and table.column(kind.name).stored == "number" else kind
            for kind in kinds
        ]
    if not any(kind.kind in LEARNED for kind in kinds):
        raise DataError(f"{table.where}: no column is left to learn from. " + ". ".join(described(kinds)))
    return kinds


def _check_width(preprocessing: TablePreprocessing, table: Table) -> None:
    specs = preprocessing.inputs
    for name, spec in specs.items() if isinstance(specs, dict) else [("", specs)]:
        if spec.shape[0] == 0:
            where = f"data.inputs.{name}" if name else table.where
            raise DataError(f"{where}: every category is rarer than data.min_category_count: lower it")


def _samples(
    preprocessing: TablePreprocessing, heads: dict[str, Target], parts: dict[str, _Part]
) -> dict[str, Samples]:
    """Turns the parts into samples, all those of one table at once."""
    found: dict[str, Samples] = {}
    for table in {id(part.table): part.table for part in parts.values()}.values():
        names = [name for name, part in parts.items() if part.table is table]
        targets = [_targets(heads, table, parts[name].rows) for name in names]
        inputs = preprocessing.transform_parts(table, [parts[name].rows for name in names], release=True)
        found.update({name: Samples(x, y) for name, x, y in zip(names, inputs, targets, strict=True)})
    return found


def _targets(heads: dict[str, Target], table: Table, rows: Indices) -> Tensors:
    encoded = {name: target.encode(table, rows) for name, target in heads.items()}
    return encoded if len(encoded) > 1 else next(iter(encoded.values()))


def _balanced(settings: TableSettings, heads: dict[str, Target], samples: Samples) -> Samples:
    """Returns the training samples with the weights or chances that the settings ask for."""
    if settings.class_weights is None and settings.sampling == "natural":
        return samples
    target = next(iter(heads.values())) if len(heads) == 1 else None
    classes = samples.targets if isinstance(samples.targets, torch.Tensor) else torch.empty(0)
    shares = balance(target, classes)
    if settings.class_weights is not None:
        return replace(samples, weights=shares.float())
    return replace(samples, chances=shares / shares.sum())


def _task(heads: dict[str, Target], inputs: InputSpec | dict[str, InputSpec]) -> Task:
    tasks = {name: target.task(inputs) for name, target in heads.items()}
    if len(tasks) == 1:
        return next(iter(tasks.values()))
    return Task("several", inputs, sum(task.output_size for task in tasks.values()), heads=tasks)
