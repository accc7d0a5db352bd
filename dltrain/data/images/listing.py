"""Which image files there are, of which class, and for which split: from folders, or from a CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dltrain.data.images.decoding import ENDINGS
from dltrain.errors import DataError, did_you_mean

# The splits by number, and the names of their folders.
SPLITS = (("train", "training"), ("validation", "val", "valid"), ("test", "testing"))
_SPLIT_OF = {name: number for number, names in enumerate(SPLITS) for name in names}

_PATH_COLUMNS = ("path", "file", "filename", "file_name", "image", "filepath", "file_path")
_LABEL_COLUMNS = ("label", "class", "target", "category")
_MAX_CSV = 2**28

# A file: its name from the folder on, its bytes, and when it was changed.
Found = tuple[str, int, int]


@dataclass(frozen=True)
class Listing:
    """Image files with their classes.

    Attributes:
        names: from the folder on.
        labels: (N,) classes.
        splits: (N,) places in SPLITS.
        key: changes when a file is added, removed, renamed or written.
    """

    folder: Path
    names: list[str]
    labels: NDArray[np.int64]
    splits: NDArray[np.int64]
    class_names: tuple[str, ...]
    key: str
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.names]


def list_images(path: Path, labels: str | None, columns: tuple[str | None, str | None], may_lack: bool) -> Listing:
    """Lists the images of a folder of class folders, or of a CSV.

    Args:
        path: the folder, or the CSV itself.
        labels: the name of a CSV inside of the folder; None looks for class folders.
        columns: the CSV's columns of paths and labels; None finds them.
        may_lack: a file that the CSV names may be missing; it is listed all the same.

    Raises:
        DataError: there is no such folder or file, a class has no image, there are fewer than two classes, and more.
    """
    where = f"data.path={path}"
    if path.is_dir():
        return _of_folder(path) if labels is None else _of_csv(path, path / labels, columns, may_lack)
    if path.is_file() and labels is None and path.suffix.lower() in (".csv", ".tsv"):
        return _of_csv(path.parent, path, columns, may_lack)
    if path.exists():
        raise DataError(f"{where}: this is a file. Give the folder of the images, or a CSV of paths and labels")
    folder = path.absolute().parent
    beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    raise DataError(f"{where}: there is no such folder in {folder}.{_nearest(path.name, beside)}")


def _nearest(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return hint if len(known) <= 12 else hint.partition(" There is:")[0]


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Sorts class names; numbers by their value, so that 10 comes after 9."""
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _key_of(found: list[Found]) -> str:
    text = "\0".join(f"{name}\0{size}\0{changed}" for name, size, changed in found)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _check_classes(class_names: tuple[str, ...], where: str) -> None:
    if len(class_names) == 1:
        raise DataError(f"{where}: all images are of one class, '{class_names[0]}'; learning needs two or more")


# --- class folders ------------------------------------------------------------------------------------------


def _of_folder(folder: Path) -> Listing:
    where = f"data.path={folder}"
    splits, notes = _splits(folder)
    found: list[Found] = []
    labels: list[str] = []
    numbers: list[int] = []
    others: list[str] = []
    for split, number in sorted(splits.items(), key=lambda item: item[1]):
        classes = _folders(folder / split)
        if not classes and number > 0:
            notes.append(f"{folder / split} has no class folders, so it is left out")
        for name in classes:
            images = _images(folder, f"{split}/{name}" if split else name, others)
            if not images:
                raise DataError(f"{where}: the class folder {folder / split / name} has no images. Fill or remove it")
            found += images
            labels += [name] * len(images)
            numbers += [number] * len(images)
    training = {label for label, number in zip(labels, numbers, strict=True) if number == 0}
    if not training:
        raise DataError(
            f"{where}: there are no class folders with images ({', '.join(sorted(ENDINGS))}). Put the images of each "
            "class into a folder with its name, or give a CSV of paths and labels: data.labels=labels.csv"
        )
    strange = sorted(set(labels) - training)
    if strange:
        raise DataError(f"{where}: class '{strange[0]}' has no folder among the training images")
    class_names = _in_order(training)
    _check_classes(class_names, where)
    if others:
        notes.append(f"{len(others)} files of {folder} that are no images are left out, the first: {others[0]}")
    index = {name: place for place, name in enumerate(class_names)}
    return Listing(
        folder,
        [name for name, _, _ in found],
        np.array([index[label] for label in labels], dtype=np.int64),
        np.array(numbers, dtype=np.int64),
        class_names,
        _key_of(found),
        tuple(notes),
    )


def _splits(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Returns the folders of splits by name, or the folder itself, as "", where it holds class folders; and notes."""
    top = _folders(folder)
    splits = {name: _SPLIT_OF[name.lower()] for name in top if name.lower() in _SPLIT_OF}
    training = [name for name, number in splits.items() if number == 0]
    if any(_folders(folder / name) for name in training):
        others = [name for name in top if name not in splits]
        left_out = f"folders of {folder} beside {', '.join(splits)} are left out: {', '.join(others)}"
        return splits, [left_out] if others else []
    if training and len(splits) == len(top):
        raise DataError(
            f"data.path={folder}: {training[0]}/ has no class folders. Put the images of each class into a folder with "
            "its name, or give a CSV of paths and labels: data.labels=labels.csv"
        )
    return {"": 0}, []


def _folders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder, sorted; hidden ones are no classes."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"data.path={folder}: cannot be read: {error.strerror}") from error


def _images(folder: Path, below: str, others: list[str]) -> list[Found]:
    """Returns the images of a folder and of the folders in it, sorted by name; notes other files."""
    found: list[Found] = []
    deeper: list[str] = []
    try:
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(f"{below}/{name}")
                elif name[name.rfind(".") :].lower() in ENDINGS:
                    stat = entry.stat()
                    found.append((f"{below}/{name}", stat.st_size, stat.st_mtime_ns))
                else:
                    others.append(f"{below}/{name}")
    except OSError as error:
        raise DataError(f"data.path={folder}: {below} cannot be read: {error.strerror}") from error
    for name in deeper:
        found += _images(folder, name, others)
    return sorted(found)


# --- a CSV --------------------------------------------------------------------------------------------------


def _of_csv(folder: Path, file: Path, columns: tuple[str | None, str | None], may_lack: bool) -> Listing:
    header, rows = _rows(file)
    of_path = _column(file, header, columns[0], _PATH_COLUMNS, "path_column", "paths")
    of_label = _column(file, header, columns[1], _LABEL_COLUMNS, "label_column", "labels")
    found: list[Found] = []
    labels: list[str] = []
    missing: list[str] = []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"{file}: line {line} has {len(row)} cells where the header has {len(header)}")
        name, label = row[of_path].strip(), row[of_label].strip()
        if not name or not label:
            raise DataError(f"{file}: line {line} has no {'path' if not name else 'label'}")
        try:
            stat = (folder / name).stat()
            found.append((name, stat.st_size, stat.st_mtime_ns))
        except (OSError, ValueError):
            missing.append(f"line {line} names {name}")
            found.append((name, -1, -1))
        labels.append(label)
    if not found:
        raise DataError(f"{file}: has no rows below its header, so there are no images")
    if missing and not may_lack:
        raise DataError(
            f"{file}: {missing[0]}, which is not in {folder} ({len(missing)} of {len(found)} files are missing). "
            "Mend the paths, or leave such rows out with data.bad_images=skip"
        )
    class_names = _in_order(set(labels))
    _check_classes(class_names, str(file))
    index = {name: place for place, name in enumerate(class_names)}
    return Listing(
        folder,
        [name for name, _, _ in found],
        np.array([index[label] for label in labels], dtype=np.int64),
        np.zeros(len(found), dtype=np.int64),
        class_names,
        _key_of(found),
    )


def _rows(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Returns the header and the rows, each with the number of its line."""
    try:
        if file.stat().st_size > _MAX_CSV:
            raise DataError(f"{file}: has more than {_MAX_CSV >> 20} MB, so it is no list of images")
        content = file.read_bytes()
    except FileNotFoundError as error:
        beside = [entry.name for entry in file.parent.glob("*.[ct]sv")] if file.parent.is_dir() else []
        raise DataError(
            f"data.labels={file.name}: there is no such file in {file.parent}.{_nearest(file.name, beside)}"
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
        raise DataError(f"{file}: which column holds the {what}? It has {', '.join(header)}. Give data.{setting}=...")
    return place
