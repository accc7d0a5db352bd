"""Files for TensorBoard's embedding projector: points in a space of many dimensions, with what is known of each.

It reads a file with a line of numbers for each point, one with its labels, and one picture with a small image of each;
``projector_config.pbtxt`` lists them. They lie beside the run's file of events.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dltrain.album import Album
from dltrain.board import Board
from dltrain.run_folder import json_text

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

CONFIG = "projector_config.pbtxt"
FOLDER = "projector"

# What the projector takes at most as the side of the picture of all images.
_LARGEST_PICTURE = 8192
_LARGEST_IMAGE = 64
_SHRUNK_AT_ONCE = 256

# It looks for three axes.
_FEWEST_NUMBERS = 3

_LONGEST_LABEL = 120

# Texts that JavaScript takes for a number that is written in another way. Decimals may lose zeros at their end.
_READS_AS_ANOTHER = re.compile(
    r"-0|[+-]?0\d[\d.]*|\+[\d.]+|0[xXoObB][0-9a-fA-F]+|[+-]?[\d.]+[eE][+-]?\d+|[+-]?Infinity"
)


@dataclass(frozen=True)
class Points:
    """
    Attributes:
        title: what they are called, such as "last hidden layer".
        vectors: (N, D) on the CPU.
        header: what the columns of labels are called.
        labels: the cells of each point.
        images: (N, H, W, C) uint8; None where there are none.
    """

    title: str
    vectors: torch.Tensor
    header: list[str]
    labels: list[list[str]]
    images: torch.Tensor | None = None


class Projector:
    """Writes points; a folder that cannot be written is said once and does not end the training.

    The list is made of the files that are there, so that a run that is resumed or extended has each of them once.
    """

    def __init__(self, tensorboard: Path, board: Board) -> None:
        self._files = Album(tensorboard / FOLDER, board)
        self._list = Album(tensorboard, board)

    def begin(self, trainer: Trainer, every_epochs: int | None) -> None:
        """Removes what a resumed run will write again."""
        self._files.begin(trainer, every_epochs or 2**31)
        if self._files.folder.is_dir():
            self._write_list()

    def write(self, when: str, several: Sequence[Points]) -> None:
        """
        Args:
            when: the beginning of the files' names, as ``album.file_name`` gives it.
            several: the first one is what the projector shows at first.
        """
        for number, points in enumerate(several, 1):
            name = f"{when}-{number}"
            self._files.write(f"{name}.vectors.tsv", _vectors(points.vectors))
            lines = [points.header, *points.labels]
            self._files.write(f"{name}.labels.tsv", "".join("\t".join(map(_cell, line)) + "\n" for line in lines))
            side = (0, 0)
            if points.images is not None:
                side, picture = _picture(points.images)
                self._files.write(f"{name}.images.png", picture)
            told = {"title": points.title, "shape": list(points.vectors.shape), "image": side}
            self._files.write(f"{name}.json", json_text(told))
        self._write_list()

    def _write_list(self) -> None:
        entries = sorted(self._files.folder.glob("epoch-*.json"), key=lambda path: [-_epoch(path), _number(path)])
        text = ""
        for path in entries:
            told = json.loads(path.read_text(encoding="utf-8"))
            # The projector sorts by the name, whatever stands first: a space comes before a comma.
            epoch = _epoch(path)
            when = f" (epoch {epoch}, the newest)" if epoch == _epoch(entries[0]) else f", epoch {epoch}"
            text += _entry(path.stem, f"{told['title']}{when}", told["shape"], told["image"])
        self._list.write(CONFIG, text)


def _epoch(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _number(path: Path) -> int:
    return int(path.stem.split("-")[2])


def _vectors(vectors: torch.Tensor) -> str:
    missing = max(0, _FEWEST_NUMBERS - vectors.shape[1])
    rows = torch.nn.functional.pad(vectors.float(), (0, missing)).tolist()
    return "".join("\t".join([f"{value:.6g}" for value in row]) + "\n" for row in rows)


def _cell(text: str) -> str:
    """Returns a label on one line.

    A line of white space alone would be passed over, and every label behind it would stand at the wrong point; and
    what reads as a number, such as 007 or 1e3, would be shown as that number.
    """
    text = text.replace("\n", "⏎").replace("\t", "⇥")
    text = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", "�", text)
    if text.isspace():
        return "␣" * len(text)
    if text != text.strip() or _READS_AS_ANOTHER.fullmatch(text):
        text = f"'{text}'"
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _picture(images: torch.Tensor) -> tuple[tuple[int, int], bytes]:
    """Returns the width and height of each image, and the picture of all as PNG, in rows from the top left.

    Args:
        images: (N, H, W, C) uint8.
    """
    from PIL import Image

    count, height, width = images.shape[:3]
    columns = math.ceil(math.sqrt(count))
    largest = min(_LARGEST_IMAGE, _LARGEST_PICTURE // columns)
    factor = min(1.0, largest / max(height, width))
    side = (max(1, round(width * factor)), max(1, round(height * factor)))
    if factor < 1:
        images = torch.cat([_smaller(some, side) for some in images.split(_SHRUNK_AT_ONCE)])
    missing = columns * columns - count
    squares = torch.cat([images, images.new_zeros(missing, *images.shape[1:])]).unflatten(0, (columns, columns))
    pixels = squares.transpose(1, 2).flatten(2, 3).flatten(0, 1)  # (rows of pixels, columns of pixels, C)
    stream = io.BytesIO()
    Image.fromarray(pixels.squeeze(2).numpy()).convert("RGB").save(stream, format="PNG")
    return side, stream.getvalue()


def _smaller(images: torch.Tensor, side: tuple[int, int]) -> torch.Tensor:
    """Returns images (N, H, W, C) of another width and height."""
    values = images.permute(0, 3, 1, 2).float()
    shrunk = torch.nn.functional.interpolate(values, side[::-1], mode="bilinear", antialias=True)
    return shrunk.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _entry(name: str, title: str, shape: list[int], image: list[int]) -> str:
    """Returns what the list says of some points, in the text format of protocol buffers."""
    files = f"{FOLDER}/{name}"
    lines = [
        f"tensor_name: {json.dumps(title, ensure_ascii=False)}",
        *(f"tensor_shape: {size}" for size in (shape[0], max(_FEWEST_NUMBERS, shape[1]))),
        f'tensor_path: "{files}.vectors.tsv"',
        f'metadata_path: "{files}.labels.tsv"',
    ]
    if any(image):
        sides = " ".join(f"single_image_dim: {side}" for side in image)
        lines.append(f'sprite {{ image_path: "{files}.images.png" {sides} }}')
    return "embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
