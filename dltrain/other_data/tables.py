"""Rows of another table with the columns of the run's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data import Samples, Source, Task
from dltrain.data.streams import parquet_blocks
from dltrain.data.streams.column_statistics import refuse_unseen
from dltrain.data.streams.parquet_blocks import ParquetBlocks, TableReader, read_footer, row_groups
from dltrain.data.streams.parquet_shards import ParquetSettings
from dltrain.data.streams.shard_files import find_shards
from dltrain.data.streams.streaming import StreamSource
from dltrain.data.tables.columns import Table, near
from dltrain.data.tables.preprocessing import TablePreprocessing, complete_rows
from dltrain.data.tables.reader import read_table
from dltrain.data.tables.settings import TableSettings
from dltrain.data.tables.targets import Target, rows_with_target
from dltrain.errors import ConfigError, DataError

# Data sets whose features are computed from the columns of their file.
_COMPUTED = ("california_housing_8",)


def table(settings: TableSettings, kept: dict[str, Any], task: Task) -> Source:
    """Returns all rows of a table, scaled and encoded as the run's.

    Raises:
        ConfigError: the data set's features are no columns of a file.
        DataError: a column is missing, a cell cannot be used, or a class is none that the run knows.
    """
    if settings.name in _COMPUTED:
        raise ConfigError(
            f"data.path={settings.path}: the features of data={settings.name} are computed from its own file, so that "
            "no other one can stand in for it"
        )
    assert settings.path is not None
    preprocessing = TablePreprocessing.from_dict(kept["table"])
    targets = [Target.from_dict(values) for values in kept["targets"]]
    names = [*preprocessing.features, *(target.name for target in targets)]
    read = read_table(
        Path(settings.path).expanduser(),
        f"data.path={settings.path}",
        settings.format,
        names=set(names),
        texts=preprocessing.texts,
        like=_like(names, kept.get("decimal")),
    )
    for name in names:
        read.column(name)  # says which one is missing
    rows = rows_with_target(read, [target.name for target in targets], settings.empty)
    filled = [f.name for f in preprocessing.features.values() if f.fill is None and f.empty_code is None]
    rows = complete_rows(filled, read, rows, "drop" if settings.empty == "drop" else "error")
    encoded = {target.name: target.encode(read, rows) for target in targets}
    inputs = preprocessing.transform_parts(read, [rows], release=True)[0]
    return Samples(inputs, encoded if task.heads else next(iter(encoded.values())))


def _like(names: list[str], decimal: str | None) -> Table:
    """Returns what tells how the run's own table was written, where this one does not tell it."""
    without_header = all(re.fullmatch(r"column_\d+", name) for name in names)
    return Table("", {}, 0, row_number=lambda row: row, header=not without_header, decimal=decimal)


def shards(settings: ParquetSettings, kept: dict[str, Any], task: Task) -> Source:
    """Returns the rows of other Parquet files, which are read as they are needed.

    Raises:
        DataError: a column is missing, or a class is none that the run knows.
    """
    target = dict(kept["target"])
    classes = tuple(target.pop("classes"))
    reader = TableReader(
        tuple(parquet_blocks.Number(**number) for number in kept["numbers"]),
        tuple(parquet_blocks.Category(one["name"], tuple(one["words"])) for one in kept["categories"]),
        parquet_blocks.Target(parquet_blocks.Number(**target), classes),
        kept["one_hot"],
    )
    found = [read_footer(path) for path in find_shards("data.path", settings.path, (".parquet",))]
    wanted = [number.name for number in (*reader.numbers, reader.target.number)]
    wanted += [category.name for category in reader.categories]
    for shard in found:
        for name in wanted:
            if name not in shard.types:
                raise DataError(f"{shard.path}: there is no column '{name}'.{near(name, shard.types)}")
    groups = row_groups(found)
    if classes:
        refuse_unseen(groups, reader.target.number.name, classes, "data.path")
    blocks = ParquetBlocks(found, reader)
    return StreamSource(blocks, np.arange(len(groups)), buffer=settings.buffer, workers=settings.workers)
