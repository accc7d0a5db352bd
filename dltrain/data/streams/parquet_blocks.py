"""Row groups of Parquet files as blocks of a stream, and the numbers that a model gets from their columns."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain import arrow
from dltrain.data.contract import Batch
from dltrain.data.streams.content import fingerprint
from dltrain.data.streams.streaming import Blocks, Reader, concatenated
from dltrain.errors import DataError

Floats = NDArray[np.float64]

_MAGIC = b"PAR1"
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class RowGroup:
    """Where a block lies."""

    path: str
    number: int

    def __str__(self) -> str:
        return f"{self.path}: row group {self.number + 1}"


@dataclass(frozen=True)
class Shard:
    """What the footer of a file says.

    Attributes:
        types: of the columns, by name.
        rows: of each row group.
        digest: SHA-256 of the footer.
    """

    path: str
    types: dict[str, Any]
    rows: tuple[int, ...]
    digest: bytes


class ParquetBlocks(Blocks):
    """The row groups of some shards, in order; those without rows are none."""

    def __init__(self, shards: list[Shard], reader: Reader) -> None:
        self.reader = reader
        self._shards = shards
        self._groups = row_groups(shards)
        self.sizes = np.array([rows for shard in shards for rows in shard.rows if rows], dtype=np.int64)

    def request(self, block: int) -> RowGroup:
        return self._groups[block]

    def content(self) -> Iterator[bytes | memoryview]:
        return content_of(self._shards)


def row_groups(shards: list[Shard]) -> list[RowGroup]:
    """Returns the row groups of some shards, in order; those without rows are none."""
    return [RowGroup(shard.path, number) for shard in shards for number, rows in enumerate(shard.rows) if rows]


def content_of(shards: list[Shard]) -> Iterator[bytes]:
    """Yields what tells shards from others: their names, footers, and an even sample of the rest."""
    for shard in shards:
        yield shard.digest
    yield fingerprint([shard.path for shard in shards])


def read_footer(path: Path) -> Shard:
    """Returns what a file's footer says.

    Raises:
        DataError: it is no Parquet file, its end is missing, or it is damaged.
    """
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            begin, size = file.read(4), file.seek(0, 2)
            file.seek(max(0, size - 8))
            tail = file.read(8)
            length = int.from_bytes(tail[:4], "little")
            file.seek(max(0, size - 8 - length))
            digest = hashlib.sha256(file.read(length + 8)).digest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if begin != _MAGIC:
        raise DataError(f"{path}: this is no Parquet file. Move it elsewhere, or name the shards by a pattern")
    if tail[4:] != _MAGIC:
        raise DataError(f"{path}: the end of the Parquet file is missing: it was not written or copied to its end")
    with damages(str(path)), parquet.ParquetFile(path) as opened:
        schema, metadata = opened.schema_arrow, opened.metadata
        rows = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            raise DataError(f"{path}: two columns are called '{twice[0]}'")
        if any(count < 0 for count in rows) or sum(rows) != metadata.num_rows:
            raise DataError(f"{path}: the Parquet file is damaged: its row groups do not add up to its rows")
        return Shard(str(path), dict(zip(schema.names, schema.types, strict=True)), rows, digest)


@contextlib.contextmanager
def damages(where: str) -> Iterator[None]:
    """
    Raises:
        DataError: instead of what pyarrow raises for a damaged file.
    """
    import pyarrow as pa

    try:
        yield
    except MemoryError as error:
        raise DataError(
            f"{where}: there is no memory for what the file says it holds: it is damaged, or its row groups are too "
            "large"
        ) from error
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError) as error:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(f"{where}: the Parquet file is damaged: {reason}") from error


def read_columns(group: RowGroup, names: list[str]) -> Any:
    """Returns columns of a row group as an Arrow table.

    Raises:
        DataError: the file is damaged, or was changed.
    """
    from pyarrow import parquet

    try:
        with damages(str(group)), parquet.ParquetFile(group.path, page_checksum_verification=True) as file:
            if group.number >= file.num_row_groups:
                raise DataError(f"{group}: the file has changed since the start: it has {file.num_row_groups} now")
            table = file.read_row_group(group.number, columns=names, use_threads=False)
            missing = set(names) - set(table.column_names)
            if missing:
                raise DataError(f"{group}: the file has changed since the start: it has no column '{min(missing)}' now")
            table.validate(full=True)
            return table
    except FileNotFoundError as error:
        raise DataError(f"{group}: the file is gone") from error


# --- what a model gets ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """A column of numbers; (value - shift) / scale is what a model gets.

    Attributes:
        fill: stands for an empty cell; None refuses one.
    """

    name: str
    shift: float
    scale: float
    fill: float | None


@dataclass(frozen=True)
class Category:
    """A column of words, which become codes from 1; an empty cell and any other word become 0."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """What is predicted: a number, or a class where there are ``classes``."""

    number: Number
    classes: tuple[str, ...]


@dataclass(frozen=True)
class TableReader(Reader):
    """Reads row groups and turns their columns into (N, D) float32 and the target.

    Attributes:
        one_hot: a category becomes a column for each code, else one column of codes, which stand last.
    """

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    target: Target
    one_hot: bool

    imports = ("pyarrow.parquet", "pyarrow.compute")

    def read(self, requests: list[RowGroup]) -> Batch:
        return concatenated([self._block(request) for request in requests])

    def _block(self, group: RowGroup) -> Batch:
        columns: list[Number | Category] = [*self.numbers, *self.categories]
        table = read_columns(group, [*(column.name for column in columns), self.target.number.name])
        widths = [1] * len(self.numbers)
        widths += [len(category.words) + 1 if self.one_hot else 1 for category in self.categories]
        inputs = np.zeros((table.num_rows, sum(widths)), dtype=np.float32)
        first = 0
        for column, width in zip(columns, widths, strict=True):
            if isinstance(column, Number):
                inputs[:, first] = _scaled(table, column, group)
            elif self.one_hot:
                inputs[np.arange(len(inputs)), first + codes_of(table, column.name, column.words, group)] = 1
            else:
                inputs[:, first] = codes_of(table, column.name, column.words, group)
            first += width
        return Batch(torch.from_numpy(inputs), self._target(table, group))

    def _target(self, table: Any, group: RowGroup) -> torch.Tensor:
        number, classes = self.target.number, self.target.classes
        if not classes:
            return torch.from_numpy(_scaled(table, number, group).astype(np.float32)[:, None])
        codes = codes_of(table, number.name, classes, group) - 1
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            value = table.column(number.name)[row].as_py()
            what = "has no class" if value is None else f"is of class '{value}', which the training data have not"
            raise DataError(f"{group}, row {row + 1}: it {what} in column '{number.name}'")
        found = torch.from_numpy(codes)
        return found.float()[:, None] if len(classes) == 2 else found


def codes_of(table: Any, name: str, words: tuple[str, ...], where: object) -> NDArray[np.int64]:
    """Returns (N,) codes from 1 of a column's cells as text; 0 for an empty cell and any other text."""
    import pyarrow as pa
    from pyarrow import compute

    with damages(str(where)):
        cells = texts(table.column(name))
        found = compute.index_in(cells, value_set=arrow.strings(words).cast(pa.large_string()))
        return arrow.values_of(found, -1).astype(np.int64) + 1


def texts(cells: Any) -> Any:
    """Returns an Arrow column's cells as text."""
    import pyarrow as pa

    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    return cells.cast(pa.large_string())


def floats(table: Any, name: str, where: object) -> Floats:
    """Returns (N,) float64, NaN for an empty cell.

    Raises:
        DataError: a cell is infinite or beyond float32.
    """
    import pyarrow as pa

    with damages(str(where)):
        cells = table.column(name)
        values = arrow.values_of(cells.cast(pa.float64(), safe=False), np.nan)
    _refuse_too_large(values, values, name, where)
    return values


def _refuse_too_large(values: Floats, as_given: Floats, name: str, where: object) -> None:
    """
    Raises:
        DataError: a value is infinite, or beyond the numbers that a model computes with.
    """
    too_large = np.abs(values) > _LARGEST
    if too_large.any():
        row = int(too_large.argmax())
        what = "no finite number" if np.isinf(as_given[row]) else "too large beside the others for float32"
        raise DataError(f"{where}, row {row + 1}: column '{name}' holds {as_given[row]:g}, which is {what}")


def _scaled(table: Any, number: Number, group: RowGroup) -> Floats:
    values = floats(table, number.name, group)
    empty = np.isnan(values)
    if empty.any():
        if number.fill is None:
            row = int(empty.argmax())
            raise DataError(f"{group}, row {row + 1}: column '{number.name}' is empty")
        values = np.where(empty, number.fill, values)
    scaled: Floats = (values - number.shift) / number.scale
    _refuse_too_large(scaled, values, number.name, group)
    return scaled
