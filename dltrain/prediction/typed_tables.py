"""Tables from outside whose cells have types: Parquet files, folders of them, and frames in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain.data.streams.parquet_blocks import damages
from dltrain.data.tables.columns import listed
from dltrain.data.tables.content import open_table
from dltrain.data.tables.spelling import composed
from dltrain.errors import DataError
from dltrain.prediction.records import named
from dltrain.prediction.rows import Rows
from dltrain.prediction.wanted import NewFormat, NewTable, Wanted

if TYPE_CHECKING:
    from pandas import DataFrame

_ENDINGS = (".parquet", ".pq")


def parquet_table(path: Path, wanted: Wanted, form: NewFormat) -> NewTable | None:
    """Opens a Parquet file, or a folder of them; returns None for a file of text.

    Raises:
        DataError: it cannot be read, has no row, or lacks a wanted column.
        ConfigError: something was given that only a file of text has.
    """
    if not is_parquet(path):
        return None
    form.refuse_given(str(path))
    return ShardsTable(path, _shards(path), wanted) if path.is_dir() else ParquetTable(path, wanted)


def is_parquet(path: Path) -> bool:
    """Tells whether a path is a Parquet file or a folder, which can be a table only of such files.

    Raises:
        DataError: it cannot be read, or is a folder without one.
    """
    if path.is_dir():
        return bool(_shards(path))
    file, found = open_table(path, str(path))
    file.close()
    return found


class ParquetTable(NewTable):
    """A Parquet file, of which a few row groups are in memory at a time."""

    is_typed = True

    def __init__(self, path: Path, wanted: Wanted, *, may_be_empty: bool = False) -> None:
        from pyarrow import parquet

        self.where, self._path, self.notes = str(path), path, []
        with damages(self.where), parquet.ParquetFile(path) as file:
            self._schema = file.schema_arrow
            self.num_rows: int = file.metadata.num_rows
        if not self.num_rows and not may_be_empty:
            raise DataError(f"{self.where}: there are columns and no row")
        self._stored = list(self._schema.names)
        self.names, self.notes = named([wanted.alias(composed(name)) for name in self._stored])
        self.require(wanted.columns, wanted.hint)

    @property
    def types(self) -> dict[str, Any]:
        """The Arrow type of each column by its name."""
        return dict(zip(self.names, self._schema.types, strict=True))

    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        from pyarrow import parquet

        places = {name: self._stored[self.names.index(name)] for name in columns}
        first = 1
        with damages(self.where), parquet.ParquetFile(self._path) as file:
            for batch in file.iter_batches(most, columns=list(dict.fromkeys(places.values()))):
                cells = {name: batch.column(batch.schema.get_field_index(stored)) for name, stored in places.items()}
                yield Rows(range(first, first + batch.num_rows), cells)
                first += batch.num_rows


class ShardsTable(NewTable):
    """The Parquet files of a folder one after the other; rows are numbered through all of them."""

    is_typed = True

    def __init__(self, folder: Path, files: list[Path], wanted: Wanted) -> None:
        """
        Args:
            files: in the order in which they are read.

        Raises:
            DataError: one is damaged or lacks a wanted column, their columns differ, or there is no row in them.
        """
        self.where = str(folder)
        self._files = files
        self._shards = [ParquetTable(file, wanted, may_be_empty=True) for file in files]
        first = self._shards[0]
        self.names, self.notes = first.names, first.notes
        for shard in self._shards[1:]:
            self._compare(first, shard)
        if not any(shard.num_rows for shard in self._shards):
            raise DataError(f"{self.where}: there are columns and no row")

    def _compare(self, first: ParquetTable, other: ParquetTable) -> None:
        """
        Raises:
            DataError: the files have other columns, or columns of another type.
        """
        for name in [*first.names, *other.names]:
            one, two = first.types.get(name), other.types.get(name)
            if one is None or two is None:
                has, lacks = (other, first) if one is None else (first, other)
                raise DataError(
                    f"{has.where} has a column '{name}' and {lacks.where} has not: the files of a folder are one table "
                    "and have the same columns. Give the files one by one, or move those that are no part of it"
                )
            if one != two:
                raise DataError(
                    f"column '{name}' is {one} in {first.where} and {two} in {other.where}: the files of a folder are "
                    "one table. Write them with the same types, or give them one by one"
                )

    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        first = 1
        for shard in self._shards:
            for rows in shard.rows(columns, most):
                yield Rows(range(first, first + len(rows)), rows.cells)
                first += len(rows)

    def name_of(self, number: int) -> str:
        own = number
        for file, shard in zip(self._files, self._shards, strict=True):
            if own <= shard.num_rows:
                return f"row {number} (row {own} of {file.name})"
            own -= shard.num_rows
        return super().name_of(number)


def _shards(folder: Path) -> list[Path]:
    """Returns the Parquet files of a folder in the order of their names; those that begin with . or _ are left out.

    Raises:
        DataError: there is none, one is something else, or the folder cannot be read.
    """
    try:
        names = sorted(item.name for item in folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error
    found = [folder / name for name in names if name.endswith(_ENDINGS) and name[0] not in "._"]
    if not found:
        there = f"it holds {listed(names, 5)}" if names else "it is empty"
        what = " or ".join(f"*{ending}" for ending in _ENDINGS)
        raise DataError(f"{folder}: this is a folder without a Parquet file ({what}): {there}. Give a file")
    for path in found:
        file, is_one = open_table(path, str(path))
        file.close()
        if not is_one:
            raise DataError(f"{path}: this is no Parquet file, though it is called so. Move it elsewhere")
    return found


# --- memory -----------------------------------------------------------------------------------------------


class FrameTable(NewTable):
    """A pandas DataFrame; its rows are called by their places from 1."""

    def __init__(self, frame: DataFrame, wanted: Wanted) -> None:
        self.where, self._frame = "the frame", frame
        self.names, self.notes = named([wanted.alias(composed(str(name))) for name in frame.columns])
        self.require(wanted.columns)

    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        count = len(self._frame)
        for first in range(0, count, most):
            part = self._frame.iloc[first : first + most]
            cells = {name: _array(part.iloc[:, self.names.index(name)]) for name in columns}
            yield Rows(range(first + 1, first + 1 + len(part)), cells)


def _array(series: Any) -> Any:
    """Returns a column of a frame as an Arrow array; of mixed objects as text."""
    import pyarrow as pa

    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError):
        missing = series.isna().tolist()
        texts = [None if empty else str(value) for value, empty in zip(series.tolist(), missing, strict=True)]
        array = pa.array(texts, pa.string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return array.cast(pa.string())
    return array
