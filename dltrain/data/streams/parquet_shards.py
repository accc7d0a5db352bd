"""``parquet_shards``: a table in many Parquet files, larger than memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain import registry
from dltrain.config import setting
from dltrain.console import log
from dltrain.data import Data, InputSpec, Task
from dltrain.data.cache import Arrays, cached
from dltrain.data.streams.column_statistics import MOST_WORDS, Statistics, gather, refuse_unseen
from dltrain.data.streams.content import cache_key
from dltrain.data.streams.parquet_blocks import (
    Category,
    Number,
    ParquetBlocks,
    RowGroup,
    Shard,
    TableReader,
    Target,
    read_footer,
    row_groups,
)
from dltrain.data.streams.shard_files import PARTS, StreamSettings, counted, deal_blocks, find_shards, stream_data
from dltrain.data.streams.streaming import StreamSource
from dltrain.data.tables.columns import listed, near
from dltrain.data.tables.targets import class_order
from dltrain.errors import ConfigError, DataError

# A target of whole numbers with at most so many different ones is a class where data.task=auto.
_MOST_WHOLE_CLASSES = 20

# Rows from which on the first pass takes long enough to be announced.
_MANY_ROWS = 1_000_000


@dataclass(frozen=True)
class ParquetSettings(StreamSettings):
    target: str | None = setting("Column that is predicted.")
    columns: list[str] | None = setting("Columns that the model sees; null takes all that it can.")
    ignore: list[str] = setting("Columns to leave out.")
    task: str = setting(
        "auto takes text, truth values and up to 20 different whole numbers for classes, all else for values.",
        choices=("auto", "classification", "regression"),
    )
    scaling: str = setting(
        "none keeps numbers, standard gives mean 0 and deviation 1, minmax maps to 0 to 1; learned from the training "
        "rows. Errors are told in the target's own unit all the same.",
        choices=("none", "standard", "minmax"),
    )
    empty: str = setting(
        "Empty cells of numbers: the mean of the training rows, or error. Those of words have a code of their own.",
        choices=("mean", "error"),
    )
    categories: str = setting(
        "Words: one_hot makes a column of each, embedding leaves codes for the model to embed.",
        choices=("one_hot", "embedding"),
    )
    max_categories: int = setting("Words of a column that are told apart, the most frequent ones.", min=1)


@dataclass(frozen=True)
class Plan:
    """Which columns are used, and as what.

    Attributes:
        left_out: the others, with the reason.
    """

    numbers: list[str]
    words: list[str]
    left_out: dict[str, str]


@registry.register("data", "parquet_shards", ParquetSettings)
def parquet_shards(settings: ParquetSettings) -> Data:
    """Rows of Parquet files; their row groups are read and shuffled as the training goes."""
    train = _shards("data.path", settings.path)
    shards, members = {"train": train}, {}
    num_groups = len(row_groups(train))
    dealt = deal_blocks(num_groups, settings, counted(num_groups, "row group"))
    for part, path, places in zip(PARTS, (None, settings.validation_path, settings.test_path), dealt, strict=True):
        shards[part] = _shards(f"data.{part}_path", path, like=train[0]) if path else train
        members[part] = np.arange(len(row_groups(shards[part]))) if path else places
    groups = {part: [row_groups(shards[part])[place] for place in members[part]] for part in PARTS}

    plan = _plan(settings, train[0])
    statistics = _statistics(settings, plan, train, groups["train"])
    reader, notes = _reader(settings, plan, train[0], statistics)
    for part in PARTS[1:]:
        if reader.target.classes:
            refuse_unseen(groups[part], reader.target.number.name, reader.target.classes, part)
    sources = {
        part: StreamSource(
            ParquetBlocks(shards[part], reader), members[part], buffer=settings.buffer, workers=settings.workers
        )
        for part in PARTS
    }
    return stream_data(_task(settings, reader), sources, _plain(reader), [_summary(train), *notes])


def _shards(key: str, path: str | None, like: Shard | None = None) -> list[Shard]:
    """Returns the shards, all with the same columns.

    Raises:
        DataError: there are none, one is damaged, they differ, or have no row.
    """
    shards = [read_footer(found) for found in find_shards(key, path, (".parquet", ".pq"))]
    first = like or shards[0]
    for shard in shards:
        for name in [*first.types, *shard.types]:
            one, other = first.types.get(name), shard.types.get(name)
            if one is None or other is None:
                has, lacks = (shard, first) if one is None else (first, shard)
                raise DataError(
                    f"{key}={path}: {has.path} has a column '{name}' and {lacks.path} has not: shards of "
                    "one data set have the same columns"
                )
            if one != other:
                raise DataError(
                    f"{key}={path}: column '{name}' is {one} in {first.path} and {other} in {shard.path}: write the "
                    "shards with the same types"
                )
    if not any(sum(shard.rows) for shard in shards):
        raise DataError(f"{key}={path}: there are columns and no row")
    return shards


def _summary(shards: list[Shard]) -> str:
    sizes = [rows for shard in shards for rows in shard.rows if rows]
    groups, files = counted(len(sizes), "row group"), counted(len(shards), "shard")
    return f"{counted(sum(sizes), 'row')} in {groups} of {files}, at most {max(sizes):,} in one"


# --- columns ----------------------------------------------------------------------------------------------


def _plan(settings: ParquetSettings, shard: Shard) -> Plan:
    """Sorts the columns by what a model can make of their types.

    Raises:
        ConfigError: no target is named, or it is a column that the model is to see.
        DataError: a column that is named is not there, or no model can take it.
    """
    if not settings.target:
        raise ConfigError(
            f"data.target: no value. Name the column to predict; there is: {listed(list(shard.types), 20)}"
        )
    for name in [settings.target, *(settings.columns or []), *settings.ignore]:
        if name not in shard.types:
            raise DataError(f"data.path={settings.path}: there is no column '{name}'.{near(name, shard.types)}")
    if settings.columns is not None and settings.target in settings.columns:
        raise ConfigError(f"data.columns: '{settings.target}' is the target, so the model must not see it")
    if _kind(shard.types[settings.target]) is None:
        raise DataError(
            f"data.path={settings.path}: column '{settings.target}' holds {shard.types[settings.target]}, which is "
            "neither a number nor a class"
        )
    plan = Plan([], [], {})
    for name, kind in shard.types.items():
        if name == settings.target or name in settings.ignore:
            continue
        if settings.columns is not None and name not in settings.columns:
            continue
        sort = _kind(kind)
        if sort is None and settings.columns is not None:
            raise DataError(f"data.path={settings.path}: column '{name}' holds {kind}, which no model can take")
        if sort is None:
            plan.left_out[name] = str(kind)
        else:
            (plan.numbers if sort == "number" else plan.words).append(name)
    return plan


def _kind(arrow_type: Any) -> str | None:
    """Returns "number" or "word"; None for what is neither, such as a date or a list."""
    from pyarrow import types

    if types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    if types.is_integer(arrow_type) or types.is_floating(arrow_type):
        return "number"
    if types.is_decimal(arrow_type) or types.is_boolean(arrow_type):
        return "number"
    return "word" if types.is_string(arrow_type) or types.is_large_string(arrow_type) else None


def _statistics(settings: ParquetSettings, plan: Plan, shards: list[Shard], groups: list[RowGroup]) -> Statistics:
    """Reads the training rows once, or takes what an earlier run found in them."""
    target = settings.target or ""
    numbers, words = list(plan.numbers), [*plan.words, target]
    if _kind(shards[0].types[target]) == "number":
        numbers.append(target)
    learned_from = hashlib.sha256(cache_key([shard.path for shard in shards]).encode())
    learned_from.update("\0".join(map(str, groups)).encode("utf-8", "surrogateescape"))

    def build() -> Arrays:
        rows = sum(sum(shard.rows) for shard in shards)
        if rows >= _MANY_ROWS:
            log.info("reading the training part of %s rows once for their mean, deviation and words", f"{rows:,}")
        return gather(groups, numbers, words).to_arrays()

    key = ["column statistics", learned_from.hexdigest(), *numbers, "", *words]
    return Statistics.from_arrays(cached(key, build, f"what was learned from {settings.path}"))


def _reader(
    settings: ParquetSettings, plan: Plan, shard: Shard, statistics: Statistics
) -> tuple[TableReader, list[str]]:
    """Returns how rows become numbers, and notes on it.

    Raises:
        DataError: nothing is left to see, or the target has one class, none, or an empty cell.
    """
    left_out = dict(plan.left_out)
    numbers = []
    for name in plan.numbers:
        found = statistics.numbers[name]
        if not found.count or found.low == found.high:
            left_out[name] = "one value" if found.count else "empty"
            continue
        fill = found.mean if settings.empty == "mean" else None
        numbers.append(Number(name, *found.scaling(settings.scaling), fill))
    categories = []
    for name in plan.words:
        counts = statistics.words[name].counts
        if counts is None or (len(counts) > 100 and 2 * len(counts) > statistics.rows):
            left_out[name] = f"over {MOST_WORDS:,} different words" if counts is None else "nearly all different"
        elif len(counts) < 2:
            left_out[name] = "one word" if counts else "empty"
        else:
            categories.append(Category(name, tuple(statistics.words[name].ranked()[: settings.max_categories])))
    if not numbers and not categories:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in left_out.items()) or "there is no other"
        raise DataError(f"data.path={settings.path}: no column is left for the model to see: {reasons}")
    target = _target(settings, shard, statistics)
    reader = TableReader(tuple(numbers), tuple(categories), target, settings.categories == "one_hot")
    notes = [f"left out: {', '.join(f'{name} ({reason})' for name, reason in left_out.items())}"] if left_out else []
    named = [
        f"{len(columns)} column{'' if len(columns) == 1 else 's'} of {kind}"
        for kind, columns in (("numbers", numbers), ("words", categories))
        if columns
    ]
    what = f"{len(target.classes)} classes" if target.classes else "a number"
    if len(target.classes) == 2:
        what += f" ({target.classes[1]} is the positive one)"
    return reader, [f"sees {' and '.join(named)}; predicts {settings.target}, {what}", *notes]


def _target(settings: ParquetSettings, shard: Shard, statistics: Statistics) -> Target:
    from pyarrow import types

    name = settings.target or ""
    kind, words = shard.types[name], statistics.words[name]
    where = f"data.path={settings.path}: column '{name}'"
    if words.empty:
        raise DataError(
            f"{where}, the target, is empty in {words.empty} of {statistics.rows} training rows: remove them"
        )
    is_number = _kind(kind) == "number" and not types.is_boolean(kind)
    few = words.counts is not None and len(words.counts) <= _MOST_WHOLE_CLASSES
    is_class = settings.task == "classification" or (
        settings.task == "auto" and (not is_number or (types.is_integer(kind) and few))
    )
    if not is_class:
        if _kind(kind) != "number":
            raise DataError(f"{where} holds words: data.task=regression needs numbers")
        return Target(Number(name, *statistics.numbers[name].scaling(settings.scaling), None), ())
    if words.counts is None:
        raise DataError(f"{where} has over {MOST_WORDS:,} different values: too many classes")
    if len(words.counts) < 2:
        raise DataError(
            f"{where} is '{next(iter(words.counts))}' in all training rows, so there is nothing to tell apart"
        )
    return Target(Number(name, 0.0, 1.0, None), class_order(dict(words.counts)))


def _task(settings: ParquetSettings, reader: TableReader) -> Task:
    codes = tuple(len(category.words) + 1 for category in reader.categories)
    width = len(reader.numbers) + (sum(codes) if reader.one_hot else len(codes))
    spec = InputSpec((width,), categories=() if reader.one_hot else codes)
    classes, number = reader.target.classes, reader.target.number
    if classes:
        return Task(
            "binary" if len(classes) == 2 else "multiclass", spec, 1 if len(classes) == 2 else len(classes), classes
        )
    scales = settings.scaling != "none"
    return Task(
        "regression",
        spec,
        output_size=1,
        target_shift=(number.shift,) if scales else (),
        target_scale=(number.scale,) if scales else (),
    )


def _plain(reader: TableReader) -> dict[str, Any]:
    return {
        "numbers": [vars(number) for number in reader.numbers],
        "categories": [{"name": category.name, "words": list(category.words)} for category in reader.categories],
        "one_hot": reader.one_hot,
        "target": {**vars(reader.target.number), "classes": list(reader.target.classes)},
    }
