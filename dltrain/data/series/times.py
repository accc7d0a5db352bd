"""The column of a series that says when each row was measured: found, read, and checked to be in order."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dltrain import arrow
from dltrain.data.tables.columns import Column, Table
from dltrain.errors import DataError

# Of several that fit, the first whose times are in order is taken: 01/02/2010 may be January or February.
FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H",
    "%Y-%m-%d",
    "%Y-%m",
    "%Y%m%d",
    "%Y%m%d%H%M%S",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d-%m-%Y",
    "%m-%d-%Y %H:%M:%S",
    "%m-%d-%Y %H:%M",
    "%m-%d-%Y",
    "%d-%b-%Y",
    "%b-%d-%Y",
)

# A column of numbers is taken for times only where it is called so.
_NAMES = (
    "date",
    "time",
    "datetime",
    "timestamp",
    "year",
    "month",
    "day",
    "hour",
    "날짜",
    "일자",
    "일시",
    "시간",
    "연도",
)


@dataclass(frozen=True)
class Times:
    """When each row was measured.

    Attributes:
        column: where it stands.
        values: (N,) int64, in microseconds since 1970 where they are dates.
        are_dates: else they are plain numbers.
    """

    column: str
    values: NDArray[np.int64] | NDArray[np.float64]
    are_dates: bool


def find_times(table: Table, name: str | None) -> Times | None:
    """Returns the times of a table's rows; None where there are none.

    Args:
        name: the column; "auto" takes the first that holds dates, or ordered numbers under a name such as "year";
            None takes none.

    Raises:
        DataError: there is no such column, or its cells are no dates and no numbers.
    """
    if name is None:
        return None
    if name == "auto" and "auto" not in table.columns:
        for column in table.columns.values():
            times = _read(column, table)
            if times is not None and (times.are_dates or (_ascend(times) and column.name.lower() in _NAMES)):
                return times
        return None
    column = table.column(name)
    times = _read(column, table)
    if times is None:
        example = f", such as {column.words[0]!r}," if column.words else ""
        raise DataError(
            f"{table.where}: column '{name}' is to hold times, and its cells{example} are none that can be read. "
            "Write them as 2026-01-31 or 2026-01-31 23:59:59, or give data.date=null to take the rows as they stand"
        )
    return times


def order_of(times: Times, table: Table) -> tuple[NDArray[np.int64] | None, list[str]]:
    """Returns the order that sorts the rows by time, None where they are sorted, with a note where they are not.

    Raises:
        DataError: a time is missing, or two rows have the same.
    """
    values = times.values
    empty = np.isnan(values) if not times.are_dates else values == np.iinfo(np.int64).min
    if empty.any():
        row = table.row_number(int(empty.argmax()))
        raise DataError(
            f"{table.where}: row {row}: column '{times.column}' has no time. Fill it in, or give data.date=null to "
            "take the rows as they stand"
        )
    steps = np.diff(values)
    order = None
    notes = []
    if (steps < 0).any():
        first = int((steps < 0).argmax())
        notes.append(
            f"rows are not in the order of '{times.column}' (row {table.row_number(first + 1)} is earlier than the one "
            "before it): they are sorted"
        )
        order = np.argsort(values, kind="stable")
        steps = np.diff(values[order])
    if (steps == 0).any():
        place = int((steps == 0).argmax())
        one, other = (place, place + 1) if order is None else (int(order[place]), int(order[place + 1]))
        raise DataError(
            f"{table.where}: rows {table.row_number(one)} and {table.row_number(other)} have the same time in "
            f"'{times.column}', {_shown(times, table, one)}: a series has one row for each. Remove one, or, where the "
            "file holds several series, give each a file of its own; data.date=null takes the rows as they stand"
        )
    return order, notes


def _shown(times: Times, table: Table, row: int) -> str:
    """Returns the time of a row as the file has it, or as a person writes it."""
    column = table.columns[times.column]
    if column.codes is not None:
        return str(column.words[column.codes[row]])
    if column.times is not None:
        return str(np.datetime64(int(column.times[row]), "us")).removesuffix(".000000").removesuffix("T00:00:00")
    return f"{column.numbers(slice(0, table.num_rows))[row]:.15g}"


def usual_step(times: NDArray[np.int64] | NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    """Returns the most frequent step between ordered times (N,), and the places after which more than 1.5 lie."""
    steps = np.diff(times)
    distinct, counts = np.unique(steps, return_counts=True)
    usual = float(distinct[counts.argmax()])
    return usual, np.flatnonzero(steps > 1.5 * usual)


def _ascend(times: Times) -> bool:
    return len(times.values) > 1 and bool((np.diff(times.values) > 0).all())


def _read(column: Column, table: Table) -> Times | None:
    if column.stored == "number":
        numbers = column.numbers(slice(0, table.num_rows))
        dates = _as_dates(numbers)
        return Times(column.name, numbers if dates is None else dates, are_dates=dates is not None)
    if column.times is not None:
        return Times(column.name, column.times, are_dates=True)
    if column.stored != "text" or column.codes is None:
        return None
    fitting = [values for pattern in FORMATS if (values := _parsed(column.words, pattern)) is not None]
    if not fitting:
        return None
    missing = np.iinfo(np.int64).min
    ordered = [np.append(values, missing)[column.codes] for values in fitting]  # the place -1 is an empty cell's
    for values in ordered:
        if (np.diff(values) > 0).all():
            return Times(column.name, values, are_dates=True)
    return Times(column.name, ordered[0], are_dates=True)


def _as_dates(numbers: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Returns numbers such as 20260131 or 20260131235959 as microseconds since 1970; None where one is no such date."""
    for pattern, unit in (("%Y%m%d", 1), ("%Y%m%d%H%M%S", 10**6)):
        if len(numbers) and bool(((numbers > 19_000_000 * unit) & (numbers < 22_000_000 * unit)).all()):
            return _as_microseconds([str(int(number)) for number in numbers], pattern)
    return None


def _parsed(words: list[str], pattern: str) -> NDArray[np.int64] | None:
    """Returns texts as microseconds since 1970; None where one is not of this pattern, whatever its separators."""
    probe = [_plain(word) for word in words[:20]]
    if not _read_all(probe, pattern):
        return None
    return _as_microseconds([_plain(word) for word in words], pattern)


def _read_all(words: list[str], pattern: str) -> bool:
    return _as_microseconds(words, pattern) is not None


def _as_microseconds(words: list[str], pattern: str) -> NDArray[np.int64] | None:
    import pyarrow as pa
    from pyarrow import compute

    if "%d" not in pattern:  # a month is its first day
        words, pattern = [f"{word}-01" for word in words], f"{pattern}-%d"
    parsed = compute.strptime(arrow.strings(words), pattern, unit="us", error_is_null=True)
    if parsed.null_count or not len(parsed):
        return None
    return arrow.values_of(parsed.cast(pa.int64()), 0)


def _plain(word: str) -> str:
    """Returns 2010/1/1T00:00:00.0Z as 2010-1-1 00:00:00: with one kind of separators, without fraction and zone."""
    text = re.sub(r"^(\d+)[/.](\d+)[/.](\d+)\.?", r"\1-\2-\3", word.strip())
    text = re.sub(r"^(\d{4})[/.](\d{1,2})$", r"\1-\2", text)
    text = re.sub(r"^(\d{4})년 ?(\d{1,2})월( ?(\d{1,2})일)?", lambda m: "-".join(filter(None, m.group(1, 2, 4))), text)
    text = re.sub(r"^(\d{1,2})[ .-]+([A-Za-z]{3})[a-z]*[ .,-]+(\d{4})", r"\1-\2-\3", text)
    text = re.sub(r"^([A-Za-z]{3})[a-z]*[ .-]+(\d{1,2})[ ,-]+(\d{4})", r"\1-\2-\3", text)
    text = re.sub(r"^(\d+-\d+-\d+)T", r"\1 ", text)
    return re.sub(r"(:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?$", r"\1", text)
