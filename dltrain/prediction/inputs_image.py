"""Images, decoded, brought to the size and the colours of the training, and scaled as there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.console import log
from dltrain.data import Batch, Tensors
from dltrain.data.images.dataset import ImageTransform
from dltrain.data.images.decoding import MAX_FILE, BadImageError, Form, decode, opened, to_array
from dltrain.data.images.loading import quiet
from dltrain.prediction.image_files import CONTENT, FILE, ImageSource
from dltrain.prediction.rows import Inputs, Places, Rows

# Bytes from which on a file is worth a thread.
_LARGE_FILE = 24 * 1024

# Grey values between which neither ink nor paper is told from a mean.
_DARK, _LIGHT = 96, 160

Scaling = Callable[[NDArray[np.uint8]], torch.Tensor]


class ImageInputs(Inputs):
    def __init__(
        self,
        source: ImageSource,
        form: Form,
        scaling: Scaling,
        *,
        mean: float | None = None,
        invert: bool = False,
    ) -> None:
        """
        Args:
            form: channels and size that the model looks at.
            scaling: makes of bytes (N, C, H, W) what the model gets.
            mean: of the bytes of the training images, where it is known.
            invert: black is white, and white is black.
        """
        self.where, self.columns, self._source = source.where, source.columns, source
        self.shown = (FILE,) if FILE in source.columns else ()
        self._form, self._scaling, self._mean, self._invert = form, scaling, mean, invert
        self._is_looked_at = self._mean is None or invert
        self._resized: str | None = None

    def rows(self, keep: Sequence[str], most: int) -> Iterator[Rows]:
        yield from self._source.rows(keep)

    def close(self) -> None:
        self._source.close()

    def name_of(self, rows: Rows, place: int) -> str:
        file = rows.cells[FILE][place] if FILE in rows.cells else None
        return str(file) if file else super().name_of(rows, place)

    def batches(self, rows: Rows, size: int) -> Iterator[tuple[Places, Tensors]]:
        contents = rows.cells[CONTENT]
        good = rows.good
        for first in range(0, len(good), size):
            places, images = [], []
            some = good[first : first + size].tolist()
            for place, found in zip(some, self._decoded([contents[place] for place in some]), strict=True):
                if isinstance(found, str):
                    rows.problems[place] = found
                else:
                    places.append(place)
                    images.append(found)
            if places:
                pixels = np.stack(images)
                pixels = 255 - pixels if self._invert else pixels
                self._compare(pixels)
                yield np.array(places), self._scaling(pixels)

    def _decoded(self, contents: list[Any]) -> list[NDArray[np.uint8] | str]:
        """Returns each image, or why there is none."""
        read = [_read(content) if isinstance(content, Path) else content for content in contents]
        sizes = [len(content) for content in read if isinstance(content, bytes)]
        with quiet():
            if sum(sizes) < _LARGE_FILE * max(1, len(sizes)):
                return [self._image(content) for content in read]
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                return list(pool.map(self._image, read))

    def _image(self, content: bytes | str | NDArray[np.uint8]) -> NDArray[np.uint8] | str:
        if isinstance(content, str):
            return content
        if isinstance(content, np.ndarray):
            return self._of_array(content)
        try:
            if content and self._resized is None:
                with opened(content) as image:
                    self._note_size((image.height, image.width))
            return decode(content, self._form)
        except BadImageError as error:
            return str(error)

    def _of_array(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self._note_size(image.shape[1:])
        if image.shape == (self._form.channels, *(self._form.size or ())):
            return image
        from PIL import Image

        plain = image[0] if image.shape[0] == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        return to_array(Image.fromarray(plain), self._form)

    def _note_size(self, size: tuple[int, ...]) -> None:
        wanted = self._form.size or ()
        if size not in (wanted, wanted[::-1]):  # which may lie on its side
            self._resized = f"{size[0]}x{size[1]}"

    def _compare(self, images: NDArray[np.uint8]) -> None:
        """Says once where the images are light and those of the training dark, or the other way round."""
        if self._is_looked_at or self._form.channels != 1 or self._mean is None:
            return
        self._is_looked_at = True
        own = float(images.mean())
        if (own > _LIGHT and self._mean < _DARK) or (own < _DARK and self._mean > _LIGHT):
            log.warning(
                "the images have a mean of %.0f of 255, and those of the training one of %.0f: where ink and paper "
                "have changed places, --invert turns them",
                own,
                self._mean,
            )

    def notes(self) -> Iterator[str]:
        yield from self._source.notes
        if self._resized is not None and self._form.size is not None:
            height, width = self._form.size
            yield (
                f"images of another size, such as {self._resized} (height x width), were brought to {height}x{width} "
                f"({self._form.resize})"
            )


def _read(path: Path) -> bytes | str:
    """Returns the bytes of a file, or why there are none."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {getattr(error, 'strerror', None) or error}"


def by_channel(shift: list[float], scale: list[float]) -> Scaling:
    """Returns the scaling of images whose channels have a shift and a scale each."""
    transform = ImageTransform(shift, scale)

    def scaled(images: NDArray[np.uint8]) -> torch.Tensor:
        pixels = torch.from_numpy(images)
        inputs = transform(Batch(pixels, pixels), torch.arange(len(pixels)), None).inputs
        assert isinstance(inputs, torch.Tensor)
        return inputs

    return scaled


def by_pixel(shift: list[float], scale: list[float], highest: float) -> Scaling:
    """Returns the scaling of images whose pixels have a shift and a scale each, and go from 0 to ``highest``."""

    def scaled(images: NDArray[np.uint8]) -> torch.Tensor:
        values = images.reshape(len(images), -1) * (highest / 255)
        found = (values - np.array(shift)) / np.array(scale)
        return torch.from_numpy(found.astype(np.float32)).reshape(images.shape)

    return scaled
