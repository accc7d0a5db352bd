"""``image_folder``: image files of your own, in a folder for each class or listed in a CSV with their labels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Data
from dltrain.data.cache import Arrays, cached
from dltrain.data.images.augmentation import AugmentationSettings
from dltrain.data.images.dataset import SCALING, SCALINGS, image_data, sums_of
from dltrain.data.images.decoding import Form
from dltrain.data.images.listing import SPLITS, Listing, list_images
from dltrain.data.images.loading import decode_all
from dltrain.data.splitting import Indices, SplitSettings, split_indices
from dltrain.errors import ConfigError, DataError

# Raised when the same file comes to be decoded to other values.
_VERSION = "1"


@dataclass(frozen=True)
class ImageFolderSettings(SplitSettings):
    path: str | None = setting(
        "A folder with a folder of images for each class, or with train/, validation/ and test/ folders of those; "
        "or, with labels, the folder that the CSV's paths begin in.",
        path=True,
    )
    labels: str | None = setting("A CSV inside the folder with a path and a label in each row; null: class folders.")
    path_column: str | None = setting("Column of the paths; null finds path, file, filename or image.")
    label_column: str | None = setting("Column of the labels; null finds label or class.")
    channels: Literal["auto", 1, 3] = setting("1 reads as grey, 3 as RGB; auto takes grey if all images are grey.")
    size: int | list[int] | None = setting(
        "Height and width, [H, W], or one number for both; null takes the images' own, if all are equal.", min=1
    )
    resize: str = setting(
        "How to bring an image to the size: stretch it; crop what is too long; pad with black what is too short.",
        choices=("stretch", "crop", "pad"),
    )
    bad_images: str = setting(
        "What to do with a damaged file: stop with an error, or skip it.", choices=("error", "skip")
    )
    scaling: str = setting(SCALING, choices=SCALINGS)
    augmentation: AugmentationSettings = setting("Random changes to the training images.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.size, list) and len(self.size) != 2:
            raise ValueError(f"size = {self.size}: must be one whole number, or two: [H, W]")


@registry.register("data", "image_folder", ImageFolderSettings)
def image_folder(settings: ImageFolderSettings) -> Data:
    """JPEG, PNG, BMP, GIF (first frame) and WebP files; decoded once and kept in the cache."""
    return folder_data(settings)


def folder_data(settings: ImageFolderSettings, *, may_be_one_class: bool = False) -> Data:
    """Returns what ``image_folder`` makes, also of images of a single class, from which nothing can be learned."""
    if not settings.path:
        raise ConfigError("data.path: no value. Give the folder of your images: data.path=FOLDER")
    columns = (settings.path_column, settings.label_column)
    may_lack = settings.bad_images == "skip"
    listing = list_images(Path(settings.path).expanduser(), settings.labels, columns, may_lack)
    if not may_be_one_class:
        listing.require_two_classes()
    form = _form(settings)
    arrays = _decoded(listing, form, skip_bad=may_lack)
    images, kept = arrays["images"], arrays["kept"]
    labels, given = listing.labels[kept], listing.splits[kept]
    notes = [*listing.notes, *_skipped(arrays, len(listing.names))]
    _check_classes(labels, listing)
    parts = _parts(settings, labels, given)
    train, validation, test = ((_taken(images, part), labels[part]) for part in parts)
    data = image_data(
        train,
        validation,
        test,
        listing.class_names,
        scaling=settings.scaling,
        augmentation=settings.augmentation,
        sums={name: arrays[name][parts[0]] for name in ("sums", "squares")},
        notes=tuple(notes),
    )
    data.preprocessing.update(resize=settings.resize, class_names=list(listing.class_names))
    return data


def _form(settings: ImageFolderSettings) -> Form:
    size = settings.size
    if isinstance(size, int):
        size = [size, size]
    channels = None if settings.channels == "auto" else settings.channels
    return Form(channels, None if size is None else (size[0], size[1]), settings.resize)


# --- decoding, through the cache ----------------------------------------------------------------------------


def _decoded(listing: Listing, form: Form, *, skip_bad: bool) -> Arrays:
    """Returns the images, from the cache if the files are as they were.

    The first key is cheap: names, sizes and times of all files. It leads to a second one, the hash of their content,
    under which the images lie; so files that were only copied or touched are read again but not kept twice.
    """
    settings = [_VERSION, *map(str, asdict(form).values()), str(skip_bad)]
    made: list[Arrays] = []

    def decode() -> tuple[str, Arrays]:
        decoded = decode_all(listing.paths, form, skip_bad=skip_bad)
        skipped = np.frombuffer(json.dumps(decoded.skipped).encode(), dtype=np.uint8).copy()
        arrays: Arrays = {"images": decoded.images, "kept": decoded.kept, "skipped": skipped, **sums_of(decoded.images)}
        names = hashlib.sha256("\0".join(listing.names).encode("utf-8", "surrogateescape")).hexdigest()
        return names + decoded.content, arrays

    def content() -> Arrays:
        key, arrays = decode()
        made.append(arrays)
        return {"content": np.frombuffer(key.encode(), dtype=np.uint8).copy()}

    what = f"the images of {listing.folder}"
    found = cached(["image listing", *settings, str(listing.folder.absolute()), listing.key], content, what)
    key = found["content"].tobytes().decode()
    return cached(["images", *settings, key], lambda: made.pop() if made else decode()[1], what)


def _skipped(arrays: Arrays, total: int) -> list[str]:
    problems: list[str] = json.loads(arrays["skipped"].tobytes())
    if not problems:
        return []
    return [f"{len(problems)} of {total} images are left out (data.bad_images=skip), the first: {problems[0]}"]


# --- splits -------------------------------------------------------------------------------------------------


def _check_classes(labels: NDArray[np.int64], listing: Listing) -> None:
    """
    Raises:
        DataError: of a class, no image could be read.
    """
    counts = np.bincount(labels, minlength=len(listing.class_names))
    for name, count in zip(listing.class_names, counts, strict=True):
        if count == 0:
            raise DataError(f"data.path={listing.folder}: none of the images of class '{name}' can be read")


def _parts(
    settings: ImageFolderSettings, labels: NDArray[np.int64], given: NDArray[np.int64]
) -> tuple[Indices, Indices, Indices]:
    """Returns the places of the training, validation and test images; what has no folder is split off training."""
    train, validation, test = (np.flatnonzero(given == number) for number in range(len(SPLITS)))
    has_validation, has_test = len(validation) > 0, len(test) > 0
    if settings.folds is not None and (has_validation or has_test):
        raise ConfigError(
            f"data.folds = {settings.folds}: the folder has splits of its own. Give a folder of classes alone"
        )
    shares = SplitSettings(
        settings.name,
        0.0 if has_validation else settings.validation_fraction,
        0.0 if has_test else settings.test_fraction,
        settings.split_seed,
        settings.folds,
        settings.fold,
    )
    kept, split_off, held_out = split_indices(len(train), shares, labels[train])
    return (
        train[kept],
        validation if has_validation else train[split_off],
        test if has_test else train[held_out],
    )


def _taken(images: NDArray[np.uint8], places: Indices) -> NDArray[np.uint8]:
    """Returns these images, without a copy where they lie together."""
    if len(places) and places[-1] - places[0] + 1 == len(places):
        return images[places[0] : places[-1] + 1]
    return images[places]
