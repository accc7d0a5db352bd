"""Tables from files: CSV and its relatives through pyarrow's streaming reader, and Parquet.

pyarrow reads CSV with several threads, tells of rows that do not fit, and knows Parquet with its row groups. Every
cell comes as text and is made a number here, a block at a time, so that a word in the last row of a column of
numbers is found with its place, and the text of the file is never in memory as a whole.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from dltrain.data.tables.columns import Table
from dltrain.data.tables.content import BadByteError, Utf8Stream, find_encoding, open_table
from dltrain.data.tables.csv_reader import Reading, line_number, told_apart
from dltrain.data.tables.sniffing import SAMPLE_BYTES, Format, sniff
from dltrain.errors import DataError


def read_table(
    path: Path,
    where: str,
    form: Format,
    *,
    names: set[str] | None = None,
    texts: set[str] | None = None,
    like: Table | None = None,
) -> Table:
    """Reads a file of a table, whatever its kind.

    Args:
        where: the setting and the path in messages, such as "data.path=my.csv".
        names: columns that the settings mention, which help to tell a header.
        texts: columns to keep as they are written even where they look like numbers.
        like: a table that was read before: header and decimal mark are as there where they are to be found out.

    Raises:
        DataError: the file cannot be read as a table.
    """
    file, is_parquet = open_table(path, where)
    file.close()
    if is_parquet:
        from dltrain.data.tables.parquet_reader import read_parquet

        return read_parquet(path, where, texts or set())
    known = names or set()
    encoding = find_encoding(path, where) if form.encoding == "auto" else form.encoding
    try:
        return _read_csv(path, where, form, encoding, known, texts or set(), like)
    except BadByteError as error:
        if form.encoding != "auto" or encoding != "utf-8":
            raise
        try:
            table = _read_csv(path, where, form, "cp949", known, texts or set(), like)
        except BadByteError:
            raise DataError(str(error).replace(" is not UTF-8.", " is not UTF-8 or CP949.")) from error
        table.notes.insert(0, f"{path} is read as CP949")
        return table


def _read_csv(
    path: Path, where: str, form: Format, encoding: str, names: set[str], texts: set[str], like: Table | None
) -> Table:
    with Utf8Stream(path, where, encoding) as stream:
        sample = _read_up_to(stream, SAMPLE_BYTES)
        complete = len(sample) < SAMPLE_BYTES
    if like is not None and form.header == "auto":
        form = replace(form, header="true" if like.header else "false")
    dialect = sniff(sample.decode("utf-8", "ignore"), complete, form, names, where)
    if dialect.decimal is None and like is not None:
        dialect = replace(dialect, decimal=like.decimal)
    reading = Reading(path, where, encoding, dialect, form.empty_words, texts)
    columns = reading.columns()
    if reading.late:  # a word in a column that began with numbers: they are needed as they are written
        reading = Reading(path, where, encoding, dialect, form.empty_words, texts | reading.late)
        columns = reading.columns()
    notes = [*reading.notes, *told_apart(path, columns)]
    if encoding.startswith("utf-16"):
        notes.insert(0, f"{path} is read as UTF-16")
    if not dialect.header and like is None and form.header == "auto":
        notes.append(f"{path} has no header, so its columns are called column_1 to column_{len(columns)}")
    if dialect.decimal == "," and like is None and form.decimal == "auto":
        notes.append(f"{path} has decimal commas")
    lines = partial(line_number, path, where, encoding, dialect)
    finished = {column.name: column for column in columns}
    return Table(where, finished, reading.num_rows, lines, notes, dialect.header, dialect.decimal)


def _read_up_to(stream: Utf8Stream, size: int) -> bytes:
    pieces, length = [], 0
    while length < size and (piece := stream.read(size - length)):
        pieces.append(piece)
        length += len(piece)
    return b"".join(pieces)
