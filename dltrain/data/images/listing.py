"""Which image files there are, of which class, and for which split: from folders, or from a CSV."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dltrain.data.images.decoding import ENDINGS
from dltrain.data.images.label_file import looked_up, near_names, read_labels
from dltrain.errors import DataError

# The splits by number, and the names of their folders.
SPLITS = (("train", "training"), ("validation", "val", "valid"), ("test", "testing"))
_SPLIT_OF = {name: number for number, names in enumerate(SPLITS) for name in names}

# Endings of what a person takes for an image and Pillow, or this project, does not read.
_UNREAD = frozenset(
    (".heic", ".heif", ".avif", ".tif", ".tiff", ".svg", ".jp2", ".jxl", ".dng", ".cr2", ".nef", ".arw", ".psd")
)

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
        where: what an error begins with.
    """

    folder: Path
    names: list[str]
    labels: NDArray[np.int64]
    splits: NDArray[np.int64]
    class_names: tuple[str, ...]
    key: str
    where: str
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.names]

    def require_two_classes(self) -> None:
        """
        Raises:
            DataError: there is nothing to tell apart.
        """
        if len(self.class_names) == 1:
            name = self.class_names[0]
            raise DataError(f"{self.where}: all images are of one class, '{name}'; learning needs two or more")


def list_images(
    path: Path,
    labels: str | None,
    columns: tuple[str | None, str | None],
    may_lack: bool,
    skip_hint: str = ", or leave {} out with data.bad_images=skip",
) -> Listing:
    """Lists the images of a folder of class folders, or of a CSV.

    Args:
        path: the folder, or the CSV itself.
        labels: the name of a CSV inside of the folder; None looks for class folders.
        columns: the CSV's columns of paths and labels; None finds them.
        may_lack: a file that the CSV names, or a link leads to, may be missing; it is listed all the same.
        skip_hint: how the user lets them be left out; "" where that cannot be.

    Raises:
        DataError: there is no such folder or file, a class has no image, and more.
    """
    where = f"data.path={path}"
    if path.is_dir():
        return (
            _of_folder(path, may_lack, skip_hint)
            if labels is None
            else _of_csv(path, path / labels, columns, may_lack, skip_hint)
        )
    if path.is_file() and labels is None and path.suffix.lower() in (".csv", ".tsv"):
        return _of_csv(path.parent, path, columns, may_lack, skip_hint)
    if path.exists():
        raise DataError(f"{where}: this is a file. Give the folder of the images, or a CSV of paths and labels")
    folder = path.parent.resolve()
    beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    raise DataError(f"{where}: there is no such folder in {folder}.{near_names(path.name, beside)}")


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Sorts class names; numbers by their value, so that 10 comes after 9."""
    if all(name.isascii() and name.isdigit() and len(name) < 20 for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _key_of(found: list[Found]) -> str:
    text = "\0".join(f"{name}\0{size}\0{changed}" for name, size, changed in found)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


# --- class folders ------------------------------------------------------------------------------------------


def _of_folder(folder: Path, may_lack: bool, skip_hint: str) -> Listing:
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
                below = [other for other in others if other.startswith(f"{split}/{name}/" if split else f"{name}/")]
                raise DataError(f"{where}: the class folder {folder / split / name} has no images. {_instead(below)}")
            lost = next((name for name, size, _ in images if size < 0), None)
            if lost is not None and not may_lack:
                raise DataError(
                    f"{where}: {lost} is a link to nowhere. Mend or remove it{skip_hint.format('such files')}"
                )
            found += images
            labels += [unicodedata.normalize("NFC", name)] * len(images)  # a Mac's folders may be decomposed
            numbers += [number] * len(images)
    training = {label for label, number in zip(labels, numbers, strict=True) if number == 0}
    if not training:
        raise DataError(
            f"{where}: there are no class folders with images ({', '.join(sorted(ENDINGS))}). Put the images of each "
            "class into a folder with its name, or give a CSV of paths and labels: data.labels=labels.csv"
        )
    strange = sorted(set(labels) - training)
    if strange:
        raise DataError(
            f"{where}: class '{strange[0]}' has no folder among the training images, so no model can learn it. "
            "Add one, or remove the class"
        )
    class_names = _in_order(training)
    notes += _left_out(folder, others)
    index = {name: place for place, name in enumerate(class_names)}
    return Listing(
        folder,
        [name for name, _, _ in found],
        np.array([index[label] for label in labels], dtype=np.int64),
        np.array(numbers, dtype=np.int64),
        class_names,
        _key_of(found),
        where,
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
                elif _ending(name) in ENDINGS and (entry.is_file() or entry.is_symlink()):
                    found.append((f"{below}/{name}", *_size_and_time(entry)))
                else:
                    others.append(f"{below}/{name}")
    except OSError as error:
        raise DataError(f"data.path={folder}: {below} cannot be read: {error.strerror}") from error
    for name in deeper:
        found += _images(folder, name, others)
    return sorted(found)


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    """Returns a file's bytes and when it was changed; -1 for both of a link to nowhere."""
    try:
        stat = entry.stat()
    except FileNotFoundError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _instead(others: list[str]) -> str:
    """Says what to do with a class folder that holds these files and no images."""
    unread = [name for name in others if _ending(name) in _UNREAD]
    return f"{unread[0]} and its like are not read: save them as JPEG or PNG" if unread else "Fill or remove it"


def _left_out(folder: Path, others: list[str]) -> list[str]:
    """Returns notes on files that are left out, first those that are images to a person."""
    unread = [name for name in others if _ending(name) in _UNREAD]
    rest = [name for name in others if _ending(name) not in _UNREAD]
    notes = []
    if unread:
        kinds = ", ".join(sorted({_ending(name) for name in unread}))
        notes.append(
            f"{len(unread)} {'image' if len(unread) == 1 else 'images'} of {folder} in a format that is not read "
            f"({kinds}) {'is' if len(unread) == 1 else 'are'} left out: save as JPEG or PNG, the first: {unread[0]}"
        )
    if len(rest) == 1:
        notes.append(f"1 file of {folder} that is no image is left out: {rest[0]}")
    elif rest:
        notes.append(f"{len(rest)} files of {folder} that are no images are left out, the first: {rest[0]}")
    return notes


def _ending(name: str) -> str:
    return name[name.rfind(".") :].lower()


# --- a CSV --------------------------------------------------------------------------------------------------


def _of_csv(
    folder: Path, file: Path, columns: tuple[str | None, str | None], may_lack: bool, skip_hint: str
) -> Listing:
    found: list[Found] = []
    labels: list[str] = []
    missing: list[str] = []
    rows: dict[str, tuple[int, str]] = {}  # line and label of a file
    again = 0
    for line, name, label in read_labels(file, columns):
        located = looked_up(folder, name)
        if located is None:
            missing.append(f"line {line} names {name}")
        else:
            name = located[0]
        first, other = rows.setdefault(name, (line, label))
        if other != label:
            raise DataError(
                f"{file}: {name} is '{other}' in line {first} and '{label}' in line {line}. Keep one of the two"
            )
        if first != line:  # else it could be trained on and tested on
            again += 1
            continue
        found.append((name, located[1].st_size, located[1].st_mtime_ns) if located else (name, -1, -1))
        labels.append(label)
    if missing and not may_lack:
        raise DataError(
            f"{file}: {missing[0]}, which is not in {folder} ({len(missing)} of {len(rows)} files are missing). "
            f"Mend the paths{skip_hint.format('such rows')}"
        )
    class_names = _in_order(set(labels))
    index = {name: place for place, name in enumerate(class_names)}
    names, stands = ("1 row names", "is") if again == 1 else (f"{again} rows name", "are")
    return Listing(
        folder,
        [name for name, _, _ in found],
        np.array([index[label] for label in labels], dtype=np.int64),
        np.zeros(len(found), dtype=np.int64),
        class_names,
        _key_of(found),
        str(file),
        (f"{file}: {names} an image of an earlier row, and {stands} left out",) if again else (),
    )
