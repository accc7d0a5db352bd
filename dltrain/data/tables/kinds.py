"""What a column is: a number, a category, ..., told from the rows that are trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from dltrain.data.tables.columns import (
    Column,
    Floats,
    Indices,
    Table,
    listed,
    number_text,
    to_numbers,
    to_texts,
)
from dltrain.data.tables.spelling import example, spelled, units

TRUE_WORDS = frozenset({"t", "true", "y", "yes"})
FALSE_WORDS = frozenset({"f", "false", "n", "no"})

# What the cells of a column of such words mean, in small letters; 1 and 0 do, too, where they stand among words.
MEANINGS = {**dict.fromkeys(TRUE_WORDS, 1.0), **dict.fromkeys(FALSE_WORDS, 0.0), "1": 1.0, "0": 0.0}

LEARNED = ("number", "category", "boolean")
CHOICES = (*LEARNED, "date", "id", "skip")

_STORED = "stored as such"  # detail of a date that is no text and no number

_MIN_ROWS = 20  # of fewer rows nothing is told from their being all different
_TIME_NAME = re.compile(r"year|month|week|day|hour|age|연도|년도|나이|개월|시간", re.IGNORECASE)
_ID_NAME = re.compile(
    r"(^|[\W_])(id|uuid|guid|index|idx|key|번호|아이디)$|(?<=[a-z])I[dD]$|^__index_level_\d+__$|^Unnamed: \d+$",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\.?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{4}년 ?\d{1,2}월( ?\d{1,2}일)?"
    r"|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{4})"
    r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?(Z| ?[+-]\d{2}:?\d{2})?)?"
    r"|\d{4}[-/]\d{1,2}|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?"
)


@dataclass(frozen=True)
class Kind:
    """What a column is taken for.

    Attributes:
        kind: one of ``LEARNED``, or why it is left out: "date", "id", "skip", "constant", "empty", "text", "other".
        detail: what a note adds, such as the constant's value, or how a number is spelled.
    """

    name: str
    kind: str
    detail: str = ""


def infer(column: Column, train: Indices, table: Table, max_categories: int, is_first: bool) -> Kind:
    """Tells a column's kind from the rows that are trained on.

    Raises:
        DataError: nearly all cells are numbers and one is not.
    """
    name = column.name
    if column.stored == "date":
        return Kind(name, "date", _STORED)
    if column.stored == "other":
        return Kind(name, "other")
    if column.stored == "empty":
        return Kind(name, "empty")
    if column.stored == "number":
        return _of_numbers(name, column.numbers(train), is_first)
    return _of_texts(column, train, table, max_categories, is_first)


def _of_numbers(name: str, values: Floats, is_first: bool) -> Kind:
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)  # fmin and fmax pass over NaN
    if np.isnan(low):
        return Kind(name, "empty")
    if low == high:
        return Kind(name, "constant", number_text(float(low)))
    counts_time = _TIME_NAME.search(name) is not None  # years in order name the rows too, and mean something
    may_be_id = len(values) >= _MIN_ROWS and ((is_first and not counts_time) or _ID_NAME.search(name) is not None)
    may_be_date = low >= 1900_01_01 and high <= 2100_12_31
    if (may_be_id or may_be_date) and bool((values == np.rint(values)).all()):
        if may_be_date and bool(((values % 100 >= 1) & (values % 100 <= 31)).all()):
            months = values // 100 % 100
            if bool(((months >= 1) & (months <= 12)).all()):
                return Kind(name, "date")
        if may_be_id and _names_rows(name, values):
            return Kind(name, "id")
    return Kind(name, "number")


def _names_rows(name: str, values: Floats) -> bool:
    """Tells whether whole numbers, all different, are called an id or run through the rows."""
    if _ID_NAME.search(name) and len(np.unique(values)) == len(values):
        return True
    steps = np.diff(values)
    return bool((steps > 0).all()) and values[-1] - values[0] <= 4 * len(values)


def _of_texts(column: Column, train: Indices, table: Table, max_categories: int, is_first: bool) -> Kind:
    name = column.name
    codes, words = to_texts(column, train, table)
    counts = np.bincount(codes + 1, minlength=len(words) + 1)[1:]
    used = np.flatnonzero(counts)
    present = [words[i] for i in used]
    num_cells = int(counts.sum())
    if not present:
        return Kind(name, "empty")
    if len(present) == 1:
        return Kind(name, "constant", repr(present[0]))
    if {word.casefold() for word in present} <= TRUE_WORDS | FALSE_WORDS:
        return Kind(name, "boolean")
    if all(_DATE.fullmatch(word) for word in present):
        return Kind(name, "date")
    if not column.as_text:
        numbers = _mostly_numbers(column, present, counts[used], train, table)
        if numbers is not None:
            kind = _of_numbers(name, numbers, is_first)
            return replace(kind, detail=example(present, table.decimal)) if kind.kind == "number" else kind
    if len(present) == num_cells and num_cells >= _MIN_ROWS:
        short = max(len(word) for word in present) <= 40 and not any(" " in word for word in present)
        return Kind(name, "id" if short else "text", "" if short else f"{len(present):,} different texts")
    if len(present) > max_categories or (num_cells >= _MIN_ROWS and len(present) > 0.9 * num_cells):
        return Kind(name, "text", f"{len(present):,} different texts")
    return Kind(name, "category", str(len(present)))


def _mostly_numbers(column: Column, present: list[str], counts: Indices, train: Indices, table: Table) -> Floats | None:
    """Returns the training cells as numbers where all are, or None where too few are.

    Raises:
        DataError: more than nine in ten are, of many different values: the others are mistakes.
    """
    is_number = np.array([spelled(word, table.decimal) is not None for word in present])
    coded = sum(re.fullmatch(r"0\d+|\d{16,}", word) is not None for word in present)
    if coded or not is_number.any() or len(units(present, table.decimal)) > 1:
        return None  # zip codes and the like, or amounts in several currencies
    share = counts[is_number].sum() / counts.sum()
    if not is_number.all() and (share < 0.9 or is_number.sum() <= 20):
        return None
    return to_numbers(column, train, table)


def described(kinds: list[Kind]) -> list[str]:
    """Returns the notes that say what each column is taken for."""
    words = {"number": "numbers", "category": "categories", "boolean": "booleans"}
    learned = []
    for kind, word in words.items():
        names = [_with_detail(k) if kind == "category" else k.name for k in kinds if k.kind == kind]
        if names:
            learned.append(f"{len(names)} {word if len(names) > 1 else kind} ({listed(names)})")
    notes = [f"columns: {'; '.join(learned)}"] if learned else []
    spreadsheet = [_with_detail(k) for k in kinds if k.kind == "number" and k.detail]
    if spreadsheet:
        notes.append(f"read as numbers ({listed(spreadsheet)})")
    left_out = [_with_reason(k) for k in kinds if k.kind not in (*LEARNED, "constant", "skip")]
    if left_out:
        hints = [k.name for k in kinds if k.kind in ("id", "text") or (k.kind == "date" and k.detail != _STORED)]
        hint = f". 'data.columns={{{hints[0]}: category}}' would take one in" if hints else ""
        notes.append(f"left out: {listed(left_out, 24)}{hint}")
    constants = [f"{k.name} (always {k.detail})" for k in kinds if k.kind == "constant"]
    if constants:
        notes.append(f"left out, for they never change in the training rows: {listed(constants, 24)}")
    skipped = [k.name for k in kinds if k.kind == "skip"]
    if skipped:
        notes.append(f"left out by data.columns: {listed(skipped)}")
    return notes


def _with_detail(kind: Kind) -> str:
    return f"{kind.name}: {kind.detail}" if kind.detail else kind.name


def _with_reason(kind: Kind) -> str:
    reasons = {"id": "id", "date": "date", "empty": "empty", "other": "no plain values"}
    return f"{kind.name} ({reasons.get(kind.kind, kind.detail or kind.kind)})"
