"""``tar_shards`` and ``image_list``: images larger than memory, in tars or in files of their own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Data
from dltrain.data.images.augmentation import AugmentationSettings
from dltrain.data.images.dataset import SCALING, SCALINGS
from dltrain.data.images.decoding import Form
from dltrain.data.images.listing import list_images
from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.data.streams.content import cache_key
from dltrain.data.streams.image_blocks import ImageBlocks, ImageReader, image_stream
from dltrain.data.streams.shard_files import PARTS, Places, StreamSettings, counted, deal_blocks, find_shards
from dltrain.data.streams.tar_index import TarIndex, index_of
from dltrain.errors import ConfigError, DataError, did_you_mean

# Images of a tar that are read together: some hundred kilobytes, so that a disk or a network reads more than it seeks.
_RANGE = 64

_SIZE_HINT = "Give the size that all shall have, such as data.size=224 or 'data.size=[H, W]'"


@dataclass(frozen=True)
class TarSettings(StreamSettings):
    target: str = setting("Ending of the member with the label: cls, txt or json.", choices=("cls", "txt", "json"))
    target_key: str | None = setting("For json: the label's name in the object.")
    classes: list[str] | None = setting(
        "Names of the classes; a label is one of them, or its number from 0. null: the labels found."
    )
    channels: int = setting("1 reads images as grey, 3 as RGB.", min=1, max=3)
    size: int | list[int] | None = setting(
        "Height and width, [H, W], or one number for both; null takes the images' own, if all are equal.", min=1
    )
    resize: str = setting(
        "How to bring an image to the size: stretch it; crop what is too long; pad with black what is too short.",
        choices=("stretch", "crop", "pad"),
    )
    scaling: str = setting(SCALING, choices=SCALINGS)
    augmentation: AugmentationSettings = setting("Random changes to the training images.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_form(self.channels, self.size)
        if (self.target == "json") != (self.target_key is not None):
            raise ValueError("target = json needs target_key, the label's name in the object; others have none")


def check_form(channels: int, size: int | list[int] | None) -> None:
    """
    Raises:
        ValueError: no images are of this form.
    """
    if channels == 2:
        raise ValueError("channels = 2: must be 1 (grey) or 3 (RGB)")
    if isinstance(size, list) and len(size) != 2:
        raise ValueError(f"size = {size}: must be one whole number, or two: [H, W]")


@registry.register("data", "tar_shards", TarSettings)
def tar_shards(settings: TarSettings) -> Data:
    """Images and labels in uncompressed tars, in the WebDataset convention."""
    paths = {"train": settings.path, "validation": settings.validation_path, "test": settings.test_path}
    found: dict[str, tuple[list[Path], list[TarIndex]]] = {}
    for part, path in paths.items():
        if part == "train" or path:
            key = "data.path" if part == "train" else f"data.{part}_path"
            shards = find_shards(key, path, (".tar",))
            indices = [index_of(shard, settings.target, settings.target_key) for shard in shards]
            if not any(len(index.labels) for index in indices):
                raise DataError(f"{key}={path}: there is no sample in {counted(len(shards), 'tar')}")
            found[part] = shards, indices
    names = _class_names(settings, found["train"])
    reader = ImageReader(_form(settings.channels, settings.size, settings.resize), _SIZE_HINT)
    count = sum(len(index.labels) for index in found["train"][1])
    range_size = max(1, min(_RANGE, count // 100))
    made = {
        part: _blocks(shards, indices, names, settings, range_size, reader) for part, (shards, indices) in found.items()
    }
    num_blocks = len(made["train"].sizes)
    dealt = deal_blocks(num_blocks, settings, f"{num_blocks} ranges of {range_size} images")
    members = {
        part: np.arange(len(made[part].sizes)) if part in made and part != "train" else places
        for part, places in zip(PARTS, dealt, strict=True)
    }
    blocks = {part: made.get(part, made["train"]) for part in PARTS}
    return image_stream(
        blocks,
        members,
        names,
        key=_digest(made["train"]),
        scaling=settings.scaling,
        augmentation=settings.augmentation,
        buffer=settings.buffer,
        workers=settings.workers,
        notes=[f"{count:,} images in {counted(len(found['train'][0]), 'tar')}"],
    )


def _form(channels: int, size: int | list[int] | None, resize: str) -> Form:
    if isinstance(size, int):
        size = [size, size]
    return Form(channels, None if size is None else (size[0], size[1]), resize)


def _digest(blocks: ImageBlocks) -> str:
    digest = hashlib.sha256(cache_key(blocks.files).encode())
    for piece in blocks.content():
        digest.update(piece)
    return digest.hexdigest()


def _blocks(
    shards: list[Path],
    indices: list[TarIndex],
    names: tuple[str, ...],
    settings: TarSettings,
    range_size: int,
    reader: ImageReader,
) -> ImageBlocks:
    number = {name: place for place, name in enumerate(names)}
    if settings.classes is not None:
        number = {**{str(place): place for place in range(len(names))}, **number}
    labels = [
        _number_of(label, number, names, shard)
        for shard, index in zip(shards, indices, strict=True)
        for label in index.labels
    ]
    return ImageBlocks(
        [str(shard) for shard in shards],
        np.repeat(np.arange(len(shards)), [len(index.labels) for index in indices]),
        np.concatenate([index.offsets for index in indices]),
        np.concatenate([index.sizes for index in indices]),
        np.array(labels, dtype=np.int64),
        range_size,
        reader,
    )


def _number_of(label: str, number: dict[str, int], names: tuple[str, ...], shard: Path) -> int:
    """
    Raises:
        DataError: the label is no class.
    """
    if label not in number:
        hint = did_you_mean(label, names) if len(names) <= 20 else ""
        raise DataError(f"{shard}: label '{label}' is none of the {len(names)} classes.{hint}")
    return number[label]


def _class_names(settings: TarSettings, train: tuple[list[Path], list[TarIndex]]) -> tuple[str, ...]:
    """Returns the classes: those of the settings, or the labels of the training shards, numbers in their order.

    Raises:
        ConfigError: the classes of the settings are too few or not all different.
        DataError: the labels are of one class, or numbers and words.
    """
    if settings.classes is not None:
        if len(set(settings.classes)) < max(2, len(settings.classes)):
            raise ConfigError("data.classes: give two different names or more, each once")
        return tuple(settings.classes)
    labels = {label for index in train[1] for label in index.labels}
    numbers = {label for label in labels if label.isascii() and label.isdigit()}
    if numbers and numbers != labels:
        word = min(labels - numbers)
        shard = next(shard for shard, index in zip(*train, strict=True) if word in index.labels)
        raise DataError(
            f"{shard}: label '{word}' is no number, and others are, such as {min(numbers)}. Name them in data.classes"
        )
    if len(labels) < 2:
        raise DataError(
            f"data.path={settings.path}: all images are of class '{min(labels)}', so there is nothing to tell apart"
        )
    return tuple(sorted(labels, key=int) if numbers else sorted(labels))


# --- files of their own -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageListSettings(SplitSettings):
    path: str | None = setting(
        "A folder with a folder of images for each class, or with train/, validation/ and test/ folders of those; a "
        "CSV of paths and labels; or, with labels, the folder that the CSV's paths begin in.",
        path=True,
    )
    labels: str | None = setting("A CSV inside the folder with a path and a label in each row; null: class folders.")
    path_column: str | None = setting("Column of the paths; null finds path, file, filename or image.")
    label_column: str | None = setting("Column of the labels; null finds label or class.")
    channels: int = setting("1 reads images as grey, 3 as RGB.", min=1, max=3)
    size: int | list[int] | None = setting(
        "Height and width, [H, W], or one number for both; null takes the images' own, if all are equal.", min=1
    )
    resize: str = setting(
        "How to bring an image to the size: stretch it; crop what is too long; pad with black what is too short.",
        choices=("stretch", "crop", "pad"),
    )
    buffer: int = setting(
        "Images that are read and shuffled together; the order of all images is random as it is.", min=1
    )
    workers: int = setting("Processes that read ahead; 0 reads in the process that trains.", min=0, max=256)
    scaling: str = setting(SCALING, choices=SCALINGS)
    augmentation: AugmentationSettings = setting("Random changes to the training images.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_form(self.channels, self.size)


@registry.register("data", "image_list", ImageListSettings)
def image_list(settings: ImageListSettings) -> Data:
    """Image files as in image_folder, but read anew in each epoch and never all in memory."""
    return list_data(settings)


def list_data(settings: ImageListSettings, *, may_be_one_class: bool = False) -> Data:
    """Returns what ``image_list`` makes, also of images of a single class, from which nothing can be learned."""
    if not settings.path:
        raise ConfigError("data.path: no value. Give the folder of your images: data.path=FOLDER")
    columns = (settings.path_column, settings.label_column)
    folder = Path(settings.path).expanduser()
    listing = list_images(folder, settings.labels, columns, may_lack=False, skip_hint="")
    if not may_be_one_class:
        listing.require_two_classes()
    reader = ImageReader(_form(settings.channels, settings.size, settings.resize), _SIZE_HINT)
    count = len(listing.names)
    every: NDArray[np.int64] = np.arange(count)
    blocks = ImageBlocks(
        [str(path) for path in listing.paths],
        every,
        np.full(count, -1, dtype=np.int64),
        np.array([path.stat().st_size for path in listing.paths], dtype=np.int64),
        listing.labels,
        1,
        reader,
    )
    return image_stream(
        dict.fromkeys(PARTS, blocks),
        _parts(settings, listing.splits, listing.labels),
        listing.class_names,
        key=listing.key,
        scaling=settings.scaling,
        augmentation=settings.augmentation,
        buffer=settings.buffer,
        workers=settings.workers,
        notes=list(listing.notes),
    )


def _parts(settings: ImageListSettings, given: Places, labels: Places) -> dict[str, Places]:
    """Returns the places of each part's images; a part that has no folder of its own is split off the training."""
    own = {part: np.flatnonzero(given == number) for number, part in enumerate(PARTS)}
    if settings.folds is not None and len(own["train"]) < len(given):
        raise ConfigError(
            f"data.folds = {settings.folds}: the folder has splits of its own. Give a folder of classes alone"
        )
    shares = SplitSettings(
        settings.name,
        0.0 if len(own["validation"]) else settings.validation_fraction,
        0.0 if len(own["test"]) else settings.test_fraction,
        settings.split_seed,
        settings.folds,
        settings.fold,
    )
    dealt = split_indices(len(own["train"]), shares, labels[own["train"]])
    parts = dict(zip(PARTS, (own["train"][places] for places in dealt), strict=True))
    return {part: own[part] if part != "train" and len(own[part]) else parts[part] for part in PARTS}
