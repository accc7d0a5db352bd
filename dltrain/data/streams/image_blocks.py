"""Encoded images as blocks of a stream: files of their own, or members of a tar, decoded as they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.data.cache import Arrays, cached
from dltrain.data.contract import Batch, Data, InputSpec, Task
from dltrain.data.images.augmentation import Augmentation, AugmentationSettings
from dltrain.data.images.dataset import ImageTransform, scaling_of, sums_of
from dltrain.data.images.decoding import BadImageError, Form, decode
from dltrain.data.streams.content import fingerprint
from dltrain.data.streams.shard_files import PARTS, Places, stream_data
from dltrain.data.streams.streaming import Blocks, Reader, StreamSource
from dltrain.errors import ConfigError, DataError

# Training images of which mean and deviation are taken: three digits of them are sure then, and to decode millions
# for one more would take as long as an epoch.
_MEASURED = 4096


@dataclass(frozen=True)
class ImageRange:
    """Images that lie in one file, or one image that is a file.

    Attributes:
        offsets, sizes: (n,) bytes; an offset of -1 is the whole file.
        labels: (n,) classes.
    """

    path: str
    offsets: Places
    sizes: Places
    labels: Places


@dataclass(frozen=True)
class ImageReader(Reader):
    """Reads and decodes images: (N, C, H, W) uint8, and classes (N,) int64.

    Attributes:
        form: with channels and size given, so that all images are alike.
        hint: what to do where one has another size.
    """

    form: Form
    hint: str

    imports = ("PIL.Image", "PIL.JpegImagePlugin", "PIL.PngImagePlugin")

    def read(self, requests: list[ImageRange]) -> Batch:
        labels = np.concatenate([request.labels for request in requests])
        images: NDArray[np.uint8] | None = None
        place = 0
        for request in requests:
            for content, where in _contents(request):
                try:
                    image = decode(content, self.form)
                except BadImageError as error:
                    raise DataError(f"{where}: {error}") from error
                if images is None:
                    images = np.empty((len(labels), *image.shape), dtype=np.uint8)
                if image.shape != images.shape[1:]:
                    one, other = (f"{shape[1]}x{shape[2]}" for shape in (image.shape, images.shape[1:]))
                    raise DataError(f"{where}: the image has {one} pixels, and others have {other}. {self.hint}")
                images[place] = image
                place += 1
        assert images is not None
        return Batch(torch.from_numpy(images), torch.from_numpy(labels))


def _contents(request: ImageRange) -> Iterator[tuple[bytes, str]]:
    """Yields the bytes of each image, with its name for messages."""
    try:
        with Path(request.path).open("rb") as file:
            for offset, size in zip(request.offsets.tolist(), request.sizes.tolist(), strict=True):
                if offset < 0:
                    content = file.read()
                    if len(content) != size:
                        raise DataError(f"{request.path}: the file has changed since the start")
                    yield content, request.path
                    continue
                file.seek(offset - 512)
                header, content = file.read(512), file.read(size)
                name = header[:100].rstrip(b"\0").decode("utf-8", "replace")
                if len(content) < size:
                    raise DataError(
                        f"{request.path}: the tar is cut off in member '{name}', or has changed since the start"
                    )
                yield content, f"{request.path}, member '{name}'"
    except FileNotFoundError as error:
        raise DataError(f"{request.path}: the file is gone") from error
    except OSError as error:
        raise DataError(f"{request.path}: cannot be read: {error.strerror}") from error


class ImageBlocks(Blocks):
    """Images in ranges of neighbours.

    Attributes:
        files: the files that the images lie in.
    """

    def __init__(
        self,
        files: list[str],
        file: Places,
        offsets: Places,
        sizes: Places,
        labels: Places,
        range_size: int,
        reader: Reader,
    ) -> None:
        """
        Args:
            file: (N,) each image's file, in ascending order.
            offsets, sizes, labels: (N,) as in ``ImageRange``.
            range_size: most images of a block; a block does not go over the end of a file.
        """
        self.files, self.reader = files, reader
        self._arrays = (file, offsets, sizes, labels)
        begins = np.flatnonzero(np.diff(file, prepend=-1))  # where a file begins
        within = np.arange(len(file)) - np.repeat(begins, np.diff(np.append(begins, len(file))))
        self._firsts = np.flatnonzero(within % range_size == 0)
        self.sizes = np.diff(np.append(self._firsts, len(file)))

    def request(self, block: int) -> ImageRange:
        part = slice(int(self._firsts[block]), int(self._firsts[block] + self.sizes[block]))
        file, offsets, sizes, labels = self._arrays
        return ImageRange(self.files[int(file[part.start])], offsets[part], sizes[part], labels[part])

    def content(self) -> Iterator[bytes | memoryview]:
        yield fingerprint(self.files)
        for array in self._arrays:
            yield np.ascontiguousarray(array).data


def image_stream(
    blocks: dict[str, ImageBlocks],
    members: dict[str, Places],
    class_names: tuple[str, ...],
    *,
    key: str,
    scaling: str,
    augmentation: AugmentationSettings,
    buffer: int,
    workers: int,
    notes: list[str],
) -> Data:
    """Makes data of images that are decoded as they are read.

    Args:
        blocks, members: of each of PARTS; a part without members is one that there is not.
        key: changes with the training images.

    Raises:
        ConfigError: the augmentation needs all images at hand.
        DataError: an image cannot be decoded.
    """
    if augmentation.mixes:
        raise ConfigError("data.augmentation: mixup and cutmix take partners among all images, which a stream has not")
    train = blocks["train"]
    shift, scale, shape, counted = _measured(train, members["train"], scaling, key)
    plain = augmented = ImageTransform(shift, scale)
    if augmentation.any:
        augmented = ImageTransform(shift, scale, Augmentation(augmentation, *shape[1:]))
    if scaling == "standard" and counted < int(train.sizes[members["train"]].sum()):
        notes = [*notes, f"mean and deviation are those of {counted:,} training images"]
    sources = {
        part: StreamSource(
            blocks[part],
            members[part],
            buffer=buffer,
            workers=workers,
            transform=augmented if part == "train" else plain,
        )
        for part in PARTS
    }
    task = Task("multiclass", InputSpec(shape), len(class_names), class_names)
    values: dict[str, Any] = {"shape": list(shape), "shift": shift, "scale": scale, "class_names": list(class_names)}
    return stream_data(task, sources, values, notes)


def _measured(
    blocks: ImageBlocks, members: Places, scaling: str, key: str
) -> tuple[list[float], list[float], tuple[int, ...], int]:
    """Returns shift and scale of each channel, the images' shape, and of how many images they are."""
    order = np.random.default_rng(0).permutation(members)
    enough = int(np.searchsorted(np.cumsum(blocks.sizes[order]), _MEASURED)) + 1
    chosen = np.sort(order[:enough]) if scaling == "standard" else members[:1]

    def build() -> Arrays:
        found: list[Arrays] = []
        shape: tuple[int, ...] = ()
        for block in chosen:
            images = blocks.reader.read([blocks.request(int(block))]).inputs
            assert isinstance(images, torch.Tensor)
            if shape and shape != tuple(images.shape[1:]):
                blocks.reader.read([blocks.request(int(chosen[0])), blocks.request(int(block))])  # says which one
            shape = tuple(images.shape[1:])
            found.append(sums_of(images.numpy()))
        sums = {name: np.concatenate([part[name] for part in found]) for name in ("sums", "squares")}
        return {**sums, "shape": np.array(shape, dtype=np.int64)}

    digest = hashlib.sha256(chosen.tobytes()).hexdigest()
    found = cached(["image sums", key, digest, repr(blocks.reader)], build, "the mean of the images")
    shape = tuple(found["shape"].tolist())
    sums = {name: found[name] for name in ("sums", "squares")}
    shift, scale = scaling_of(_of_shape(len(sums["sums"]), shape), scaling, sums)
    return shift, scale, shape, len(sums["sums"])


def _of_shape(count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns an array of which only the shape is looked at, so that it takes no memory."""
    return np.broadcast_to(np.zeros(1, dtype=np.uint8), (count, *shape))
