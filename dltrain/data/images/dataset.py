"""Images as samples: kept as bytes, scaled (and in training augmented) a batch at a time on the device.

Presets: ``mnist``, ``fashion_mnist`` and ``cifar10``, with the test files as their authors made them and the validation
split off the training files.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Batch, Data, InputSpec, Samples, Task, Transform
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.cache import Arrays, cached, content_key
from dltrain.data.images import cifar, idx
from dltrain.data.images.augmentation import Augmentation, AugmentationSettings
from dltrain.data.images.hashing import key_of
from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.errors import DataError
from dltrain.files import locate

SCALING = "standard gives each colour mean 0 and deviation 1 in the training images, minmax maps 0-255 to 0-1."
SCALINGS = ("standard", "minmax", "none")

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Images whose sums are taken at once, as int64: few megabytes.
_SUMMED = 256


@dataclass(frozen=True)
class PresetSettings:
    name: str = setting("Name of the data set.")
    root: str | None = setting("Folder with its files; null looks in the known places, then downloads.", path=True)
    validation_fraction: float = setting(
        "Share of the training images that is evaluated while training; 0 evaluates the training images.",
        min=0,
        below=1,
    )
    split_seed: int = setting("Seed of the split; apart from 'seed', so that runs with other seeds compare.", min=0)
    scaling: str = setting(SCALING, choices=SCALINGS)
    augmentation: AugmentationSettings = setting("Random changes to the training images.")


@registry.register("data", "mnist", PresetSettings)
def mnist(settings: PresetSettings) -> Data:
    """70,000 handwritten digits of 28x28 grey values (LeCun, Cortes and Burges 1998)."""
    return _from_idx(settings, tuple(str(digit) for digit in range(10)))


@registry.register("data", "fashion_mnist", PresetSettings)
def fashion_mnist(settings: PresetSettings) -> Data:
    """70,000 pieces of clothing of 28x28 grey values (Xiao, Rasul and Vollgraf 2017)."""
    return _from_idx(settings, FASHION_CLASSES)


@registry.register("data", "cifar10", PresetSettings)
def cifar10(settings: PresetSettings) -> Data:
    """60,000 photographs of 32x32 in RGB (Krizhevsky 2009), from the binary or the pickled archive."""
    (path,) = locate(settings.name, settings.root).values()

    def read() -> Arrays:
        (images, labels), (test_images, test_labels) = cifar.read_archive(path)
        return {"images": images, "labels": labels, "test_images": test_images, "test_labels": test_labels}

    try:
        key = content_key([path])
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    arrays = cached(["cifar10", key], read, f"the images of {path.name}")
    train = (arrays["images"], arrays["labels"])
    return _of_preset(settings, train, (arrays["test_images"], arrays["test_labels"]), CIFAR_CLASSES)


def _from_idx(settings: PresetSettings, class_names: tuple[str, ...]) -> Data:
    files = locate(settings.name, settings.root)

    def read(part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        images_path, labels_path = (files[f"{part}-{kind}-ubyte.gz"] for kind in ("images-idx3", "labels-idx1"))
        images = idx.read_images(images_path)
        return images[:, None], idx.read_labels(labels_path, len(images), len(class_names))

    train, test = read("train"), read("t10k")
    if train[0].shape[1:] != test[0].shape[1:]:
        sizes = " and ".join(f"{images.shape[2]}x{images.shape[3]}" for images, _ in (train, test))
        raise DataError(f"data={settings.name}: training and test images have different sizes, {sizes}")
    return _of_preset(settings, train, test, class_names)


def _of_preset(
    settings: PresetSettings,
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
    class_names: tuple[str, ...],
) -> Data:
    images, labels = train
    shares = SplitSettings(settings.name, settings.validation_fraction, 0.0, settings.split_seed, folds=None, fold=0)
    kept, validation, _ = split_indices(len(labels), shares, labels)
    return image_data(
        (images[kept], labels[kept]),
        (images[validation], labels[validation]),
        test,
        class_names,
        scaling=settings.scaling,
        augmentation=settings.augmentation,
    )


# --- samples of images --------------------------------------------------------------------------------------

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


def image_data(
    train: Part,
    validation: Part,
    test: Part | None,
    class_names: tuple[str, ...],
    *,
    scaling: str,
    augmentation: AugmentationSettings,
    sums: Arrays | None = None,
    notes: tuple[str, ...] = (),
) -> Data:
    """Makes data of images and their classes, (N, C, H, W) uint8 and (N,) int64.

    Args:
        validation: empty to evaluate the training images.
        sums: of the training images, from ``sums_of``, where they are known.
    """
    images, labels = train
    shift, scale = scaling_of(images, scaling, sums)
    pixels, targets = torch.from_numpy(images), torch.from_numpy(labels)
    plain = ImageTransform(shift, scale)
    augmented = plain
    if augmentation.any:
        changes = Augmentation(augmentation, *images.shape[2:])
        stored = (pixels, functional.one_hot(targets, len(class_names)).float()) if augmentation.mixes else None
        augmented = ImageTransform(shift, scale, changes, stored)
    training = Samples(pixels, targets, transform=augmented)

    def samples(part: Part) -> Samples:
        return Samples(torch.from_numpy(part[0]), torch.from_numpy(part[1]), transform=plain)

    evaluates_training = len(validation[1]) == 0
    return Data(
        Task("multiclass", InputSpec(tuple(images.shape[1:])), len(class_names), class_names),
        train=training,
        validation=training if evaluates_training else samples(validation),
        test=None if test is None or len(test[1]) == 0 else samples(test),
        preprocessing={"shape": list(images.shape[1:]), "shift": shift, "scale": scale},
        notes=(*notes, TRAINS_AND_EVALUATES_THE_SAME) if evaluates_training else notes,
    )


def sums_of(images: NDArray[np.uint8]) -> Arrays:
    """Returns the sum and the sum of squares of each image and channel, (N, C) int64 each: exact in any order."""
    sums = np.empty(images.shape[:2], dtype=np.int64)
    squares = np.empty_like(sums)
    for first in range(0, len(images), _SUMMED):
        block = images[first : first + _SUMMED].reshape(-1, images.shape[1], images.shape[2] * images.shape[3])
        sums[first : first + _SUMMED] = block.sum(axis=2, dtype=np.int64)
        wide = block.astype(np.int64)
        squares[first : first + _SUMMED] = np.einsum("ncp,ncp->nc", wide, wide)
    return {"sums": sums, "squares": squares}


def scaling_of(images: NDArray[np.uint8], kind: str, sums: Arrays | None = None) -> tuple[list[float], list[float]]:
    """Returns the shift and the scale of each channel; a channel of one value has scale 1."""
    channels = images.shape[1]
    if kind != "standard":
        return [0.0] * channels, [255.0 if kind == "minmax" else 1.0] * channels
    sums = sums_of(images) if sums is None else sums
    count = len(images) * images.shape[2] * images.shape[3]
    total, squares = (sums[name].sum(axis=0).tolist() for name in ("sums", "squares"))
    variance = [(count * square - value * value) / count**2 for value, square in zip(total, squares, strict=True)]
    return [value / count for value in total], [value**0.5 if value > 0 else 1.0 for value in variance]


class ImageTransform(Transform):
    """Scales bytes to float32 per channel, and in training augments them first.

    Args:
        shift, scale: of each channel; a value v becomes (v - shift) / scale.
        augmentation: None does nothing more.
        stored: all training images (N, C, H, W) and targets (N, K), of which mixing takes partners.
    """

    def __init__(
        self,
        shift: list[float],
        scale: list[float],
        augmentation: Augmentation | None = None,
        stored: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:
        self._shift = torch.tensor(shift)[:, None, None]
        self._factor = torch.tensor([1 / value for value in scale])[:, None, None]
        self._augmentation = augmentation
        self._stored = stored
        self._seed = 0

    def seeded(self, seed: int) -> ImageTransform:
        other = copy.copy(self)
        other._seed = seed
        return other

    def __call__(self, batch: Batch, indices: torch.Tensor, epoch: int | None) -> Batch:
        images = batch.inputs
        assert isinstance(images, torch.Tensor)
        if images.device != self._shift.device:
            self._move(images.device)
        if epoch is None or self._augmentation is None:
            return batch._replace(inputs=self._scaled(images))
        key = key_of(self._seed, epoch)
        bits = self._augmentation.hashes(key, indices)
        values = self._scaled(self._augmentation.images(images, bits))
        targets = batch.targets
        if self._stored is not None:
            assert isinstance(targets, torch.Tensor)
            values, targets = self._mixed(values, targets, bits, key)
        return batch._replace(inputs=self._augmentation.cut(values, bits), targets=targets)

    def _scaled(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self._shift).mul_(self._factor)

    def _mixed(
        self, values: torch.Tensor, targets: torch.Tensor, bits: torch.Tensor, key: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixes each image with a partner, which is augmented as it is in its own right."""
        assert self._augmentation is not None and self._stored is not None
        images, shares = self._stored
        places = self._augmentation.partners(bits, len(images))
        others = self._augmentation.images(images[places], self._augmentation.hashes(key, places))
        mixed, share = self._augmentation.mix(values, self._scaled(others), bits)
        own = functional.one_hot(targets, shares.shape[1]).float()
        return mixed, own * share[:, None] + shares[places] * (1 - share[:, None])

    def _move(self, device: torch.device) -> None:
        self._shift, self._factor = self._shift.to(device), self._factor.to(device)
        if self._stored is not None:
            self._stored = (self._stored[0].to(device), self._stored[1].to(device))
