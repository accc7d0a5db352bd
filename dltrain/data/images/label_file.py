"""A CSV of paths and labels: its columns found, its rows read, the files that it names looked up."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from pathlib import Path

from dltrain.data.images.decoding import ENDINGS
from dltrain.errors import DataError, did_you_mean

PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "image", "filepath", "file_path"),
    *("경로", "파일", "파일명", "이미지"),
)
_LABEL_COLUMNS = ("label", "class", "target", "category", "라벨", "레이블", "클래스", "분류")
_MAX_CSV = 2**28


def read_labels(file: Path, columns: tuple[str | None, str | None]) -> list[tuple[int, str, str]]:
    """Returns (line, path, label) of each row.

    Args:
        columns: those of the paths and of the labels; None finds them by their usual names.

    Raises:
        DataError: the file cannot be read, lacks a column, or a row lacks its path or label.
    """
    header, rows = _rows(file)
    of_path = _column(file, header, columns[0], PATH_COLUMNS, "path_column", "paths")
    of_label = _column(file, header, columns[1], _LABEL_COLUMNS, "label_column", "labels")
    found: list[tuple[int, str, str]] = []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"{file}: line {line} has {len(row)} cells where the header has {len(header)}")
        name, label = row[of_path].strip(), row[of_label].strip()
        if not name or not label:
            raise DataError(f"{file}: line {line} has no {'path' if not name else 'label'}")
        found.append((line, name, unicodedata.normalize("NFC", label)))
    if not found:
        raise DataError(f"{file}: has no rows below its header, so there are no images")
    return found


def looked_up(folder: Path, name: str) -> tuple[str, os.stat_result] | None:
    """Returns a file's real name and what the disk says of it, or None where there is no such file.

    A list from Windows may have backslashes, and one from a Mac names that are decomposed.
    """
    slashed = name.replace("\\", "/")
    for tried in dict.fromkeys((name, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")))):
        try:
            return tried, (folder / tried).stat()
        except (OSError, ValueError):
            continue
    return None


def near_names(name: str, known: list[str]) -> str:
    """Returns the nearest of the known names as a sentence, or all of them where they are few."""
    hint = did_you_mean(name, known)
    return hint if len(known) <= 12 else hint.partition(" There is:")[0]


def _rows(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Returns the header and the rows, each with the number of its line."""
    try:
        if file.stat().st_size > _MAX_CSV:
            raise DataError(f"{file}: has more than {_MAX_CSV >> 20} MB, so it is no list of images")
        content = file.read_bytes()
    except FileNotFoundError as error:
        beside = [entry.name for entry in file.parent.glob("*.[ct]sv")] if file.parent.is_dir() else []
        raise DataError(
            f"data.labels={file.name}: there is no such file in {file.parent}.{near_names(file.name, beside)}"
        ) from error
    except OSError as error:
        raise DataError(f"data.labels={file.name}: cannot be read: {error.strerror}") from error
    text = _text(content, file)
    first = text.partition("\n")[0]
    delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num} cannot be read: {error}") from error
    if not rows:
        raise DataError(f"{file}: the file is empty")
    return [name.strip() for name in rows[0][1]], rows[1:]


def _text(content: bytes, file: Path) -> str:
    for encoding in ("utf-8-sig", "cp949"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise DataError(f"{file}: is neither UTF-8 nor CP949 text. Save it as UTF-8")


def _column(file: Path, header: list[str], given: str | None, usual: tuple[str, ...], setting: str, what: str) -> int:
    """Returns the place of a column that is given, or of the first with a usual name."""
    if given is not None:
        if given not in header:
            raise DataError(f"data.{setting}={given}: {file} has no such column.{did_you_mean(given, header)}")
        return header.index(given)
    lower = [name.lower() for name in header]
    place = next((lower.index(name) for name in usual if name in lower), None)
    if place is None:
        has = ", ".join(header)
        if any(name.lower().endswith(tuple(ENDINGS)) for name in header):
            raise DataError(f"{file}: its first line is a row ({has}). Write a header above it, such as path,label")
        raise DataError(f"{file}: which column holds the {what}? It has {has}. Give data.{setting}=...")
    return place
