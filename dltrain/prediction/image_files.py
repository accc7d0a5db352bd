"""Where images come from: a folder, one file, a list of paths, a tar, or arrays in memory."""

from __future__ import annotations

import contextlib
import io
import math
import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dltrain.data.images.decoding import ENDINGS
from dltrain.data.images.label_file import PATH_COLUMNS, looked_up, near_names
from dltrain.data.tables.columns import listed
from dltrain.errors import DataError
from dltrain.prediction.lines import open_lines
from dltrain.prediction.records import printable
from dltrain.prediction.rows import Rows
from dltrain.prediction.tables import open_new_table
from dltrain.prediction.texts import TEXT, LinesTable
from dltrain.prediction.wanted import NewTable, Wanted

FILE = "file"

if TYPE_CHECKING:
    from PIL.Image import Image

# The cells that hold the images themselves: a path, the bytes of a file, or an array; None where there is none.
CONTENT = "<content>"

# Images that are decoded before the first of them are predicted.
_AT_ONCE = 256


class ImageSource(ABC):
    """
    Attributes:
        where: what it is called in messages.
        columns: of the rows, besides CONTENT.
        notes: what a person should know of it.
    """

    where: str
    columns: list[str]
    notes: list[str]

    @abstractmethod
    def rows(self, keep: Sequence[str]) -> Iterator[Rows]: ...

    def close(self) -> None:  # noqa: B027 - most have nothing open
        """Closes what is read."""


class _Paths(ImageSource):
    """Files by their paths, each called as it is named."""

    def __init__(self, where: str, named: Sequence[tuple[str, Path]], notes: list[str]) -> None:
        self.where, self.columns, self._named, self.notes = where, [FILE], named, notes

    def rows(self, keep: Sequence[str]) -> Iterator[Rows]:
        for first in range(0, len(self._named), _AT_ONCE):
            part = self._named[first : first + _AT_ONCE]
            cells = {FILE: [name for name, _ in part], CONTENT: [path for _, path in part]}
            yield Rows(range(first + 1, first + 1 + len(part)), cells)


class _Listed(ImageSource):
    """Files whose paths stand in a column of a table."""

    def __init__(self, table: NewTable, column: str, folder: Path) -> None:
        self.where, self.notes, self._table, self._folder = table.where, table.notes, table, folder
        self._column = column
        others = [] if isinstance(table, LinesTable) else table.names
        self.columns = [FILE, *(name for name in others if name != FILE)]

    def rows(self, keep: Sequence[str]) -> Iterator[Rows]:
        for rows in self._table.rows(list(dict.fromkeys([self._column, *(set(keep) - {FILE})])), _AT_ONCE):
            names = rows.cells[self._column].to_pylist()
            rows.cells[FILE] = names
            rows.cells[CONTENT] = [None if name is None else self._path(str(name).strip()) for name in names]
            for place, name in enumerate(names):
                if not name:
                    rows.problems.setdefault(place, "it names no file")
            yield rows

    def close(self) -> None:
        self._table.close()

    def _path(self, name: str) -> Path:
        found = looked_up(self._folder, name)
        return self._folder / (found[0] if found else name)


class _Tar(ImageSource):
    """The images in a tar, whatever else lies there."""

    def __init__(self, path: Path) -> None:
        self.where, self.columns, self.notes, self._path = str(path), [FILE], [], path

    def rows(self, keep: Sequence[str]) -> Iterator[Rows]:
        names: list[str] = []
        contents: list[bytes] = []
        first = 1
        try:
            with tarfile.open(self._path, "r|*") as archive:
                for member in archive:
                    if not member.isreg() or Path(member.name).suffix.lower() not in ENDINGS:
                        continue
                    extracted = archive.extractfile(member)
                    names.append(member.name)
                    contents.append(b"" if extracted is None else extracted.read())
                    if len(names) == _AT_ONCE:
                        yield Rows(range(first, first + len(names)), {FILE: names, CONTENT: contents})
                        first, names, contents = first + len(names), [], []
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{self.where}: the tar is damaged or cannot be read: {error}") from error
        if names:
            yield Rows(range(first, first + len(names)), {FILE: names, CONTENT: contents})
        elif first == 1:
            raise DataError(f"{self.where}: there is no image in the tar ({', '.join(sorted(ENDINGS))})")


class ArraySource(ImageSource):
    """Images in memory, (N, C, H, W) uint8, called by their places from 1."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.where, self.columns, self.notes, self._images = "the array", [], [], images

    def rows(self, keep: Sequence[str]) -> Iterator[Rows]:
        for first in range(0, len(self._images), _AT_ONCE):
            part = self._images[first : first + _AT_ONCE]
            yield Rows(range(first + 1, first + 1 + len(part)), {CONTENT: list(part)})


class PillowSource(ImageSource):
    """Images of Pillow's in memory, called by their places from 1, which are read as their files would be."""

    def __init__(self, images: Sequence[Image]) -> None:
        self.where, self.columns, self.notes, self._images = "the list", [], [], images

    def rows(self, keep: Sequence[str]) -> Iterator[Rows]:
        for first in range(0, len(self._images), _AT_ONCE):
            part = self._images[first : first + _AT_ONCE]
            yield Rows(range(first + 1, first + 1 + len(part)), {CONTENT: [_packed(image) for image in part]})


def _packed(image: Image) -> bytes:
    """Returns an image as a PNG, which keeps its palette, what is transparent, and how the camera was held."""
    if image.mode not in ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"):
        image = image.convert("L" if image.mode == "F" else "RGB")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1, exif=image.getexif())
    return file.getvalue()


# --- finding ----------------------------------------------------------------------------------------------


def image_source(path: Path | None, column: str | None = None) -> ImageSource:
    """Returns the images that a path means.

    Args:
        path: a folder, an image, a CSV or TSV with a column of paths, or a tar; None reads paths from standard input, a
            line each.
        column: of a table, that with the paths; None finds it by its name.

    Raises:
        DataError: there is no such file, or no image in it.
    """
    if path is None:
        return _Listed(LinesTable(open_lines(None, "auto")), TEXT, Path())
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        folder = path.absolute().parent
        beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        raise DataError(f"{path}: there is no such file or folder in {folder}.{near_names(path.name, beside)}")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".csv", ".tsv", ".parquet")):
        return _of_table(path, column)
    if name.endswith((".tar", ".tgz")):
        return _Tar(path)
    if name.endswith(".txt"):
        return _Listed(LinesTable(open_lines(path, "auto")), TEXT, path.parent)
    return paths_source([path], str(path))


def paths_source(paths: Sequence[Path], where: str = "the list") -> ImageSource:
    return _Paths(where, [(printable(str(path)), path) for path in paths], [])


def _of_folder(folder: Path) -> ImageSource:
    found: list[str] = []
    others: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                relative = (Path(place) / name).relative_to(folder).as_posix()
                (found if Path(name).suffix.lower() in ENDINGS else others).append(relative)
    if not found:
        there = f"it holds {listed(sorted(others), 5)}" if others else "it is empty"
        raise DataError(f"{folder}: there is no image in this folder ({', '.join(sorted(ENDINGS))}): {there}")
    left_out = f"left out of {folder}, for they are no images that are read: {listed(sorted(others), 3)}"
    named = [(printable(name), folder / name) for name in sorted(found)]
    return _Paths(str(folder), named, [left_out] if others else [])


def _of_table(path: Path, column: str | None) -> ImageSource:
    """
    Raises:
        DataError: there is no such column, or none is called as paths are.
    """
    if column is not None:
        return _Listed(open_new_table(path, Wanted([column], option="--column")), column, path.parent)
    try:
        table = open_new_table(path, Wanted([FILE], alias=_as_file))
    except DataError as error:
        if "no column" not in str(error):
            raise
        raise DataError(
            f"{path}: no column is called as one with the paths of images is: {', '.join(PATH_COLUMNS)}. "
            "Name it with --column"
        ) from error
    return _Listed(table, FILE, path.parent)


def _as_file(column: str) -> str:
    return FILE if column.lower() in PATH_COLUMNS else column


def lists_images(path: Path, column: str | None) -> bool:
    """Tells whether a file that may be a table of pixels is one of paths, in a column that was named or is told."""
    try:
        if path.name.lower().endswith(".txt"):
            with contextlib.closing(open_lines(path, "auto")) as lines:
                return Path(lines.ahead().lstrip().partition("\n")[0].strip()).suffix.lower() in ENDINGS
        wanted = Wanted([FILE], alias=_as_file) if column is None else Wanted([column])
        with contextlib.closing(open_new_table(path, wanted)):
            return True
    except DataError:
        return False


def as_images(array: NDArray[Any], channels: int) -> NDArray[np.uint8]:
    """Returns images in memory as (N, C, H, W) uint8.

    Args:
        array: (N, H, W), (N, C, H, W) or (N, H, W, C) whole numbers from 0 to 255.
        channels: that the model looks at, which tells where either may be meant.

    Raises:
        DataError: it is nothing of the kind.
    """
    is_one = array.ndim == 3 and (array.shape[2] in (1, 3) or (array.shape[0] == channels == 3))
    if array.ndim not in (3, 4) or is_one:  # of one colour image each row would be taken for an image
        side = math.isqrt(array.shape[-1] // channels) if array.ndim == 2 else 0
        is_flat = side > 1 and side**2 * channels == array.shape[-1] and array.shape[0] != array.shape[1]
        shape = f"-1, {side}, {side}" if channels == 1 else f"-1, {channels}, {side}, {side}"
        advice = f"Of flat images write array.reshape({shape})" if is_flat else "Of a single image write array[None]"
        raise DataError(
            f"images are (N, H, W), (N, C, H, W) or (N, H, W, C), and the array has the shape {array.shape}. {advice}"
        )
    if array.ndim == 3:
        array = array[:, None]
    is_first, is_last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
    if is_last and (not is_first or (array.shape[3] == channels and array.shape[1] != channels)):
        array = array.transpose(0, 3, 1, 2)
    elif not is_first:
        raise DataError(f"the images have neither 1 nor 3 channels: the array has the shape {array.shape}")
    _check_bytes(array)
    return np.ascontiguousarray(array, dtype=np.uint8)


def _check_bytes(array: NDArray[Any]) -> None:
    """
    Raises:
        DataError: the values are no bytes, or such that 1 would be white, of which all images were taken for black.
    """
    needed = f"the images are {array.dtype}, where bytes from 0 to 255 are needed"
    if not len(array):
        return
    if not np.issubdtype(array.dtype, np.number):
        raise DataError(needed)
    low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():
        raise DataError(f"{needed}, and some values are no numbers (NaN) or infinite")
    if low < 0 or high > 255:
        raise DataError(f"{needed}: they go from {low:g} to {high:g}")
    if 0 < high <= 1:
        raise DataError(f"{needed}, and none is above 1: give (array * 255).astype('uint8')")
    if not (array == np.rint(array)).all():
        raise DataError(f"{needed}, and some are no whole numbers: give array.round().astype('uint8')")
