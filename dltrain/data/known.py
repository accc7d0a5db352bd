"""What is known of a data set without its files: the task of its published form, so that a model can be looked at."""

from __future__ import annotations

from typing import Any

from dltrain.data.contract import InputSpec, Task

# Channels, height, width and number of classes of images that everybody has.
_IMAGES = {
    "mnist": ((1, 28, 28), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "imagenet": ((3, 224, 224), 1000),
}


def known_task(settings: Any) -> Task | None:
    """Returns the task that a data set poses in its published form; None where only the data can tell.

    Args:
        settings: of the data set; its size and channels, where it has such settings, are those of the task.
    """
    if settings.name not in _IMAGES:
        return None
    (channels, height, width), classes = _IMAGES[settings.name]
    size = getattr(settings, "size", None)
    if size is not None:
        height, width = size if isinstance(size, list) else (size, size)
    return Task("multiclass", InputSpec((getattr(settings, "channels", channels), height, width)), classes)
