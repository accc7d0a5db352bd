"""Predictions written as they come: CSV, TSV, JSON and Parquet files, or CSV on standard output."""

from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import io
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from dltrain import arrow
from dltrain.errors import ConfigError, MachineError
from dltrain.run_folder import free_megabytes

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


class Writer(ABC):
    """Writes columns of rows, some rows after the other."""

    @abstractmethod
    def write(self, columns: dict[str, Any]) -> None:
        """
        Args:
            columns: N cells each: float64 arrays, NaN where there is none, or sequences, None where there is none. The
                names are the same each time.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing left to write
        """Writes what comes after the last row."""


class _Csv(Writer):
    def __init__(self, file: IO[str], delimiter: str) -> None:
        self._file, self._writer = file, csv.writer(file, delimiter=delimiter, lineterminator="\n")
        self._has_header = False

    def write(self, columns: dict[str, Any]) -> None:
        if not self._has_header:
            self._writer.writerow(columns)
            self._has_header = True
        self._writer.writerows(zip(*map(_texts, columns.values()), strict=True))
        self._file.flush()  # for a reader that waits at the end of a pipe


class _Json(Writer):
    """An object for each row: a line each, or the items of a list."""

    def __init__(self, file: IO[str], *, is_list: bool) -> None:
        self._file, self._is_list, self._is_empty = file, is_list, True

    def write(self, columns: dict[str, Any]) -> None:
        names = [json.dumps(name, ensure_ascii=False) for name in columns]
        cells = [[json.dumps(cell, ensure_ascii=False) for cell in _plain(column)] for column in columns.values()]
        for row in zip(*cells, strict=True):
            begin = ("[\n" if self._is_empty else ",\n") if self._is_list else ""
            self._is_empty = False
            members = ", ".join(f"{name}: {cell}" for name, cell in zip(names, row, strict=True))
            self._file.write(f"{begin}{{{members}}}" + ("" if self._is_list else "\n"))
        self._file.flush()

    def close(self) -> None:
        if self._is_list:
            self._file.write("[]\n" if self._is_empty else "\n]\n")


class _Parquet(Writer):
    """Of each column the type is that of the first rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, columns: dict[str, Any]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        arrays = {name: _array(cells) for name, cells in columns.items()}
        if self._writer is None:
            schema = pa.schema([(name, _kind(array)) for name, array in arrays.items()])
            self._writer = parquet.ParquetWriter(self._path, schema)
        schema = self._writer.schema
        table = pa.table([_fitted(array, schema.field(name).type) for name, array in arrays.items()], schema=schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _kind(array: Any) -> Any:
    """Returns the type of a column: numbers, truth values and times stay what they are, all else is text."""
    import pyarrow as pa

    stays = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_temporal)
    return array.type if any(is_one(array.type) for is_one in stays) else pa.string()


def _fitted(array: Any, kind: Any) -> Any:
    import pyarrow as pa

    if array.type == kind:
        return array
    try:
        return array.cast(kind)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists, structs and bytes have no text of Arrow's
        return pa.array(_texts(array), kind)


def _array(cells: Any) -> Any:
    """Returns cells as an Arrow array, null where there is none."""
    import numpy as np
    import pyarrow as pa

    if isinstance(cells, (pa.Array, pa.ChunkedArray)):
        return cells
    if isinstance(cells, np.ndarray) and cells.dtype == np.float64:
        return arrow.numbers(cells, ~np.isnan(cells))
    cells = list(cells)
    are_texts = all(isinstance(cell, str) or cell is None for cell in cells) and any(cells)
    return arrow.strings(cells) if are_texts else pa.array(cells)


def _texts(cells: Any) -> list[str | None]:
    """Returns cells as they stand in a table of text."""
    import numpy as np
    import pyarrow as pa

    if isinstance(cells, (pa.Array, pa.ChunkedArray)) or (isinstance(cells, np.ndarray) and cells.dtype == np.float64):
        texts: list[str | None] = _as_strings(_array(cells)).to_pylist()
        return texts
    return list(cells)


def _as_strings(array: Any) -> Any:
    import pyarrow as pa

    try:
        return array.cast(pa.string())
    except (pa.ArrowException, NotImplementedError):  # of lists and the like
        return pa.array([None if cell is None else str(cell) for cell in array.to_pylist()], pa.string())


def _plain(cells: Any) -> Sequence[Any]:
    """Returns cells as JSON can hold them."""
    array = _array(cells)
    values: list[Any] = array.to_pylist()
    return [cell if isinstance(cell, (int, float, str, bool, type(None))) else str(cell) for cell in values]


# --- where to ---------------------------------------------------------------------------------------------


def check_target(target: str | None, source: Path | None = None, kept: Iterable[Path] = ()) -> None:
    """
    Args:
        target: a file, "-" or None for standard output.
        source: what is read, which must not be written over.
        kept: files that must not be either, and folders whose Parquet files must not.

    Raises:
        ConfigError: its ending says no format, it is a folder, it is the source, or it is to be kept.
    """
    if target in (None, "-"):
        return
    assert target is not None
    path = Path(target).expanduser()
    if _format(path) is None:
        endings = ", ".join(FORMATS)
        raise ConfigError(f"-o {target}: the ending says the format, and must be one of {endings}, or these with .gz")
    if path.is_dir():
        raise ConfigError(f"-o {target}: this is a folder; name a file")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise ConfigError(f"-o {target}: this is the file that is read. Name another one")
    is_shard = source is not None and path.suffix.lower() == ".parquet" and path.exists()
    if source is not None and is_shard and source.resolve() == path.resolve().parent:
        raise ConfigError(f"-o {target}: this is one of the files that are read. Name another one")
    own = next((one for one in kept if path.exists() and _holds(one, path)), None)
    if own is not None:
        raise ConfigError(f"-o {target}: {own} belongs to the run, which would lose it. Name another file")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"-o {target}: there is no folder {path.parent}. Make it first")


def _holds(one: Path, path: Path) -> bool:
    if one.is_dir():
        return path.suffix.lower() == ".parquet" and path.resolve().is_relative_to(one.resolve())
    return one.exists() and path.samefile(one)


def _format(path: Path) -> str | None:
    ending = path.suffix.lower()
    if ending == ".gz":
        inner = path.with_suffix("").suffix.lower()
        return inner if inner in FORMATS and inner != ".parquet" else None
    return ending if ending in FORMATS else None


@contextlib.contextmanager
def writing(target: str | None) -> Iterator[Writer]:
    """Gives a writer. A file is there once all of it is written, and not before.

    Args:
        target: as ``check_target`` lets it pass.

    Raises:
        MachineError: the file cannot be written.
    """
    if target is None or target == "-":
        yield _Csv(sys.stdout, ",")
        return
    path = Path(target).expanduser()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with contextlib.ExitStack() as stack:
            writer = _writer(path, temporary, stack)
            yield writer
            writer.close()
        temporary.replace(path)
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(temporary):
            raise
        is_full = error.errno == errno.ENOSPC
        free = f": {free_megabytes(path.absolute().parent):.1f} MB are free" if is_full else ""
        raise MachineError(f"{path} cannot be written: {error.strerror or error}{free}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _writer(path: Path, temporary: Path, stack: contextlib.ExitStack) -> Writer:
    form = _format(path)
    if form == ".parquet":
        writer = _Parquet(temporary)
        stack.callback(writer.close)
        return writer
    raw: Any = stack.enter_context(temporary.open("wb"))
    if path.suffix.lower() == ".gz":
        raw = stack.enter_context(gzip.GzipFile(path.with_suffix("").name, "wb", fileobj=raw))
    file = stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
    if form in (".json", ".jsonl"):
        return _Json(file, is_list=form == ".json")
    return _Csv(file, "\t" if form == ".tsv" else ",")
