"""A picture of the images of a data set: the first ones of each class, and beside them as training may change them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dltrain.data import Batch, Data, Samples, Source
from dltrain.run_folder import write_file

if TYPE_CHECKING:
    from PIL.Image import Image

# Small images are enlarged by a whole number to about this side, large ones are shrunk to it.
CELL = 64
MOST_CLASSES = 20
MOST_EACH = 20

_GAP = 2
_BETWEEN = 24
_PAPER, _INK = (255, 255, 255), (0, 0, 0)

# Samples that are looked through where a source cannot say where each class lies.
_SEARCHED = 1000


def are_images(data: Data) -> bool:
    """Tells whether a sample is one grey or RGB image."""
    inputs = data.task.inputs
    return not isinstance(inputs, dict) and len(inputs.shape) == 3 and inputs.shape[0] in (1, 3)


def write_grid(data: Data, split: str, each: int, seed: int, path: Path) -> str:
    """Writes the first ``each`` images of each class of a split as a PNG, and returns what it shows.

    In training with augmentation the same images stand to the right as epoch 0 augments them with ``seed``.

    Raises:
        MachineError: the file cannot be written.
    """
    plain, augmented, rows = _chosen(data, split, min(each, MOST_EACH), seed)
    grids = [plain] if augmented is None else [plain, augmented]
    picture = _picture([to_bytes(grid, data) for grid in grids], rows, _labels(data, rows))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    write_file(path, stream.getvalue())
    told = f"wrote {path}: the first images of each class of {split}, a row for each class"
    if augmented is not None:
        told += "; to the right the same, augmented as in epoch 0 (mixing blends in images of other rows)"
    names = ", ".join(_name(data, place) for place, _ in rows)
    return f"{told}\nthe rows from top to bottom: {names}"


def _chosen(
    data: Data, split: str, each: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor | None, list[tuple[int, int]]]:
    """Returns the images as evaluated, as trained on (or None), and (class, number) of each row."""
    source = data.splits[split]
    if isinstance(source, Samples) and isinstance(source.targets, torch.Tensor):
        places, rows = _first_of_each(source.targets, each)
        stored = Batch(_tensor(source.inputs)[places], source.targets[places])
        if source.transform is None:
            return _tensor(stored.inputs), None, rows
        plain = _tensor(source.transform(stored, places, None).inputs)
        if split != "train":
            return plain, None, rows
        changed = _tensor(source.transform.seeded(seed)(stored, places, 0).inputs)
        return plain, None if torch.equal(plain, changed) else changed, rows
    head = _head(source)
    places, rows = _first_of_each(_tensor(head.targets), each)
    return _tensor(head.inputs)[places], None, rows


def _head(source: Source) -> Batch:
    return source.head(_SEARCHED)


def _tensor(value: object) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value


def _first_of_each(targets: torch.Tensor, each: int) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Returns the places of the first samples of each class, class by class, and (class, number) of each."""
    classes = targets.reshape(len(targets), -1)[:, 0].long()
    places, rows = [], []
    for label in classes.unique().tolist()[:MOST_CLASSES]:
        found = torch.nonzero(classes == label).flatten()[:each]
        places.append(found)
        rows.append((label, len(found)))
    return torch.cat(places), rows


def _name(data: Data, place: int) -> str:
    names = data.task.class_names
    return names[place] if place < len(names) else str(place)


def _labels(data: Data, rows: list[tuple[int, int]]) -> list[str]:
    """Returns what stands before each row: the class, or its number where the picture's font lacks its letters."""
    names = [_name(data, place) for place, _ in rows]
    return [name if name.isascii() else str(place) for name, (place, _) in zip(names, rows, strict=True)]


def to_bytes(images: torch.Tensor, data: Data) -> torch.Tensor:
    """Returns (N, H, W, C) uint8 pixels of images as a model gets them, undoing the scaling where it is known."""
    shift, scale = data.preprocessing.get("shift"), data.preprocessing.get("scale")
    channels = images.shape[1]
    if isinstance(shift, list) and isinstance(scale, list) and len(shift) == len(scale) == channels:
        pixels = images * torch.tensor(scale)[:, None, None] + torch.tensor(shift)[:, None, None]
    else:
        low, high = images.min(), images.max()
        pixels = (images - low) * (255 / max(float(high - low), 1e-9))
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _picture(grids: list[torch.Tensor], rows: list[tuple[int, int]], labels: list[str]) -> Image:
    """Lays out the rows of images, one grid beside the other, with a label before each row."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default()
    height, width = grids[0].shape[1:3]
    factor = max(1, CELL // max(height, width)) if max(height, width) <= CELL else CELL / max(height, width)
    cell = (max(1, round(width * factor)), max(1, round(height * factor)))
    margin = 2 * _GAP + round(max(font.getlength(label) for label in labels))
    columns = max(count for _, count in rows)
    grid_width = columns * (cell[0] + _GAP)
    size = (margin + len(grids) * grid_width + (len(grids) - 1) * _BETWEEN, len(rows) * (cell[1] + _GAP) + _GAP)
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    place = 0
    for row, ((_, count), label) in enumerate(zip(rows, labels, strict=True)):
        top = _GAP + row * (cell[1] + _GAP)
        draw.text((_GAP, top + cell[1] // 2), label, fill=_INK, font=font, anchor="lm")
        for column in range(count):
            for number, grid in enumerate(grids):
                left = margin + number * (grid_width + _BETWEEN) + column * (cell[0] + _GAP)
                picture.paste(image_of(grid[place], cell), (left, top))
            place += 1
    return picture


def image_of(pixels: torch.Tensor, cell: tuple[int, int]) -> Image:
    from PIL import Image

    array = pixels.numpy()
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    larger = cell[0] >= image.width
    return image.resize(cell, Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS)
