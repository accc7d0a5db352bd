"""The shards of a data set: found, and dealt to training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dltrain.config import setting
from dltrain.data import Data, Task
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.streams.streaming import StreamSource
from dltrain.errors import ConfigError, DataError, did_you_mean

Places = NDArray[np.int64]

PARTS = ("train", "validation", "test")

# Endings of compressed files.
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".tgz")


@dataclass(frozen=True)
class StreamSettings:
    """The settings that streamed data sets share."""

    name: str = setting("Name of the data set.")
    path: str | None = setting("A folder of shards, one shard, or a pattern such as data/train-*.parquet.", path=True)
    validation_path: str | None = setting("Shards that are evaluated while training; null takes a share.", path=True)
    test_path: str | None = setting("Shards of the test at the end; null takes a share.", path=True)
    validation_fraction: float = setting(
        "Share of the blocks that is evaluated while training, where validation_path is null; 0 evaluates the training "
        "samples.",
        min=0,
        below=1,
    )
    test_fraction: float = setting(
        "Share of the blocks kept for the test at the end, where test_path is null; 0 keeps none.", min=0, below=1
    )
    split_seed: int = setting("Seed of the split; apart from 'seed', so that runs with other seeds compare.", min=0)
    buffer: int = setting(
        "Samples that are read and shuffled together; more shuffle better and take more memory.", min=1
    )
    workers: int = setting("Processes that read ahead; 0 reads in the process that trains.", min=0, max=256)

    def __post_init__(self) -> None:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction together must leave blocks to train on")


def counted(number: int, what: str) -> str:
    """Returns "1 tar" or "2 tars"."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def find_shards(key: str, path: str | None, endings: tuple[str, ...]) -> list[Path]:
    """Returns the shards that a setting names, sorted by name; what begins with a dot or an underscore is none.

    Args:
        key: the setting, such as "data.path".
        endings: of a shard's name, such as ".parquet".

    Raises:
        ConfigError: no path is given.
        DataError: there is no such file, folder, or none that fits.
    """
    what = " or ".join(f"*{ending}" for ending in endings)
    if not path:
        raise ConfigError(f"{key}: no value. Give a folder of shards ({what}): {key}=FOLDER")
    where, given = Path(path).expanduser(), f"{key}={path}"
    if where.is_dir():
        found = [item for item in where.iterdir() if item.name.endswith(endings)]
        names = sorted(item.name for item in where.iterdir())
    elif any(letter in where.name for letter in "*?[") and where.parent.is_dir():
        found = list(where.parent.glob(where.name))
        names = sorted(item.name for item in where.parent.iterdir())
    elif where.exists():
        return [where]
    else:
        beside = [item.name for item in where.parent.iterdir()] if where.parent.is_dir() else []
        hint = did_you_mean(where.name, beside)
        if len(beside) > 12:  # too many to list
            hint = hint.partition(" There is:")[0]
        raise DataError(f"{given}: there is no such file or folder.{hint}")
    shards = sorted(item for item in found if item.is_file() and item.name[0] not in "._")
    if not shards:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        there = f"it holds {', '.join(names[:5])}{more}" if names else "it is empty"
        packed = any(name.endswith(_PACKED) for name in names)
        unpack = ". Compressed shards are not read: unpack them" if packed else ""
        raise DataError(f"{given}: no shard is there ({what}): {there}{unpack}")
    return shards


def deal_blocks(num_blocks: int, settings: StreamSettings, of_what: str) -> tuple[Places, Places, Places]:
    """Deals the blocks at random to training, validation and test, each sorted; a split with a path of its own, and
    one whose share is 0, is empty.

    Raises:
        DataError: there are too few.
    """
    shares = [
        0.0 if settings.validation_path else settings.validation_fraction,
        0.0 if settings.test_path else settings.test_fraction,
    ]
    num_validation, num_test = (max(1, round(num_blocks * share)) if share else 0 for share in shares)
    if num_validation + num_test >= num_blocks:
        raise DataError(
            f"data.path={settings.path}: {of_what}: too few to keep some for validation and test. Write more and "
            "smaller ones, name shards in data.validation_path and data.test_path, or give data.validation_fraction=0 "
            "data.test_fraction=0"
        )
    order = np.random.default_rng(settings.split_seed).permutation(num_blocks)
    test, validation, train = np.split(order, [num_test, num_test + num_validation])
    return np.sort(train), np.sort(validation), np.sort(test)


def stream_data(task: Task, sources: dict[str, StreamSource], preprocessing: dict[str, Any], notes: list[str]) -> Data:
    """Puts the sources of the three parts together; an empty one is a part that there is not."""
    train, validation, test = (sources[part] for part in PARTS)
    evaluates_training = not len(validation.members)
    return Data(
        task,
        train=train,
        validation=train if evaluates_training else validation,
        test=test if len(test.members) else None,
        preprocessing=preprocessing,
        notes=(*notes, TRAINS_AND_EVALUATES_THE_SAME) if evaluates_training else tuple(notes),
    )
