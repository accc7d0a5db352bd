"""Tables from Parquet files, a column at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dltrain import arrow
from dltrain.data.tables.columns import Column, Table
from dltrain.data.tables.csv_reader import text_column, told_apart
from dltrain.data.tables.spelling import composed
from dltrain.errors import DataError


def read_parquet(path: Path, where: str, texts: set[str]) -> Table:
    """Reads a Parquet file.

    Args:
        texts: columns to keep as text even where they are numbers.

    Raises:
        DataError: the file is damaged, or has no rows or no columns.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            num_rows: int = file.metadata.num_rows
            names = [composed(name) for name in schema.names]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise DataError(f"{where}: two columns are called '{twice[0]}'")
            if not num_rows:
                raise DataError(f"{where}: there are columns and no row")
            columns = {}
            for i, (stored, name) in enumerate(zip(schema.names, names, strict=True)):
                if pa.types.is_nested(schema.field(i).type):
                    columns[name] = Column(name, "other")
                    continue
                cells = file.read(columns=[stored]).column(0)
                if len(cells) != num_rows:
                    raise DataError(f"{where}: column '{name}' has {len(cells)} cells in {num_rows} rows")
                columns[name] = column_of(name, cells, name in texts)
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"{where}: the Parquet file is damaged or of an unknown kind: {reason}") from error
    notes = told_apart(path, columns.values())
    return Table(where, columns, num_rows, row_number=lambda row: row + 1, notes=notes)


def column_of(name: str, cells: Any, as_text: bool) -> Column:
    """Returns a chunked array of Arrow's as a column, whatever its type.

    Args:
        as_text: numbers become text.
    """
    import pyarrow as pa

    kind = cells.type
    if pa.types.is_dictionary(kind):
        cells, kind = cells.cast(kind.value_type), kind.value_type
    if pa.types.is_null(kind) or cells.null_count == len(cells):
        return Column(name, "empty")
    if pa.types.is_boolean(kind) or (as_text and _is_number(kind)):
        cells, kind = cells.cast(pa.string()), pa.string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        cells.validate(full=True)
        return text_column(name, cells.cast(pa.string()).combine_chunks().dictionary_encode(), as_text)
    if _is_number(kind):
        cells = cells.cast(pa.float64(), safe=False)
        return Column(name, "number", parts=[arrow.values_of(chunk, np.nan) for chunk in cells.chunks if len(chunk)])
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        instants = cells.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return Column(name, "date", times=arrow.values_of(instants.combine_chunks(), np.iinfo(np.int64).min))
    return Column(name, "date" if pa.types.is_temporal(kind) else "other")


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
