"""``imagenet``: the pictures of the ILSVRC 2012 challenge, or a part of them, in their original folders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dltrain import catalog, files, registry
from dltrain.data import Data
from dltrain.data.streams.images import ImageListSettings, image_list
from dltrain.errors import DataError


@dataclass(frozen=True)
class ImageNetSettings(ImageListSettings):
    """As of image_list; ``path`` is the folder that holds train/ and val/, or null."""


@registry.register("data", "imagenet", ImageNetSettings)
def imagenet(settings: ImageNetSettings) -> Data:
    """Streams train/<class>/*.JPEG and val/<class>/*.JPEG; classes are numbered in the order of their names (wnids).

    Raises:
        DataError: there is no such folder, or it has other folders.
    """
    return image_list(replace(settings, path=str(_folder(settings))))


def _folder(settings: ImageNetSettings) -> Path:
    if settings.path is None:
        found = files.find(catalog.find(settings.name))
        if found is not None:
            return found["train"].parent
        places = [known / settings.name for known in files.known_folders()]
    else:
        folder = Path(settings.path).expanduser()
        if not folder.is_dir():
            raise DataError(f"data.path={settings.path}: there is no such folder. {_WANTED}")
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            return folder
        places = [folder]
    looked = ", ".join(map(str, places))
    raise DataError(f"data=imagenet: there are no folders train and val in {looked}. {_WANTED}")


_WANTED = (
    "ImageNet may not be passed on: get it from https://image-net.org, put its pictures into train/<class>/ and "
    "val/<class>/ of one folder, and name that folder: data.path=FOLDER"
)
