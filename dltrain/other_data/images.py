"""Other images, scaled as the run's, in the order of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dltrain import registry
from dltrain.data import Batch, Data, Samples, Source, Task, Transform
from dltrain.data.images.dataset import ImageTransform
from dltrain.data.images.folder import ImageFolderSettings, folder_data
from dltrain.data.streams.images import ImageListSettings, TarSettings, list_data
from dltrain.data.streams.streaming import StreamSource
from dltrain.errors import ConfigError, DataError, did_you_mean


class _AsTheRun(Transform):
    """Scales images as a run does, and turns the numbers of the classes into the run's."""

    def __init__(self, kept: dict[str, Any], number: torch.Tensor) -> None:
        """
        Args:
            number: (K,) the run's number of each class.
        """
        self._scaled = ImageTransform(kept["shift"], kept["scale"])
        self._number = number

    def __call__(self, batch: Batch, indices: torch.Tensor, epoch: int | None) -> Batch:
        assert isinstance(batch.targets, torch.Tensor)
        numbered = self._number.to(batch.targets.device)[batch.targets]
        return self._scaled(batch._replace(targets=numbered), indices, None)


def folder(settings: ImageFolderSettings, kept: dict[str, Any], task: Task) -> Source:
    """Returns all images of a folder.

    Raises:
        DataError: an image cannot be read, or a class is none that the run knows.
    """
    channels, *size = kept["shape"]
    assert channels in (1, 3)
    data = folder_data(
        replace(
            settings,
            channels=channels,
            size=settings.size if settings.size is not None else size,
            scaling="none",
            augmentation=_none(settings.augmentation),
            validation_fraction=0.0,
            test_fraction=0.0,
            folds=None,
        ),
        may_be_one_class=True,
    )
    _check_shape(data, task)
    parts = [source for source in {id(s): s for s in data.splits.values()}.values() if isinstance(source, Samples)]
    images, labels = (torch.cat([_tensor(part, name) for part in parts]) for name in ("inputs", "targets"))
    return Samples(images, numbers(data, task)[labels], transform=ImageTransform(kept["shift"], kept["scale"]))


def streamed(settings: ImageListSettings | TarSettings, kept: dict[str, Any], task: Task) -> Source:
    """Returns all images that are read as they are needed.

    Raises:
        DataError: they cannot be used, or a class is none that the run knows.
    """
    whole: dict[str, Any] = {"scaling": "none", "augmentation": _none(settings.augmentation)}
    whole |= {"validation_fraction": 0.0, "test_fraction": 0.0}
    if isinstance(settings, TarSettings):
        whole |= {"validation_path": None, "test_path": None}
    else:
        whole["folds"] = None
    if settings.size is None:
        whole["size"] = list(kept["shape"][1:])
    changed = replace(settings, **whole)
    if isinstance(changed, ImageListSettings):
        data = list_data(changed, may_be_one_class=True)
    else:
        data = registry.build("data", changed)
    _check_shape(data, task)
    train = data.train
    assert isinstance(train, StreamSource)
    members = np.arange(len(train.blocks.sizes))
    return StreamSource(
        train.blocks,
        members,
        buffer=train.buffer,
        workers=train.workers,
        transform=_AsTheRun(kept, numbers(data, task)),
    )


def scaled_as(data: Data, kept: dict[str, Any], task: Task) -> Data:
    """Returns a well-known data set of images, each split of it scaled as the run's.

    Raises:
        ConfigError: it has other classes, or images of another size.
    """
    _check_shape(data, task)
    if data.task.class_names != task.class_names:
        raise ConfigError("data: these images have other classes than those that the run was trained on")
    transform = ImageTransform(kept["shift"], kept["scale"])

    def scaled(source: Source) -> Samples:
        assert isinstance(source, Samples)
        return replace(source, transform=transform)

    train = scaled(data.train)
    validation = train if data.evaluates_training_data else scaled(data.validation)
    test = None if data.test is None else scaled(data.test)
    return Data(task, train, validation, test, kept, data.notes)


def numbers(data: Data, task: Task) -> torch.Tensor:
    """Returns (K,) the run's number of each class of the data.

    Raises:
        DataError: the run has no such class.
    """
    return torch.tensor([number_of(name, task.class_names) for name in data.task.class_names])


def number_of(name: str, known: Sequence[str]) -> int:
    if name not in known:
        raise DataError(f"the class '{name}' is none that the run was trained on.{did_you_mean(name, known)}")
    return known.index(name)


def _none(augmentation: Any) -> Any:
    """Returns the settings of an augmentation that does nothing."""
    return replace(augmentation, **{name: type(value)() for name, value in vars(augmentation).items()})


def _check_shape(data: Data, task: Task) -> None:
    one, other = data.task.input.shape, task.input.shape
    if one != other:
        shapes = " and ".join("x".join(map(str, shape)) for shape in (one, other))
        raise ConfigError(f"data: images of another shape than the run's, {shapes}. Leave data.size as it was")


def _tensor(samples: Samples, name: str) -> torch.Tensor:
    tensor = getattr(samples, name)
    assert isinstance(tensor, torch.Tensor)
    return tensor
