"""Data that a run was not trained on, as its model gets them: scaled, encoded and numbered with what the run learned
from its own training samples, in the order of its classes.

A data set learns from the samples that it is given (means, vocabularies, classes); here nothing is learned. A file or a
folder of another place is taken as a whole, for nothing of it is to be trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dltrain import registry
from dltrain.data import Data, Source, Task
from dltrain.data.images.dataset import PresetSettings
from dltrain.data.images.folder import ImageFolderSettings
from dltrain.data.series.dataset import SeriesSettings
from dltrain.data.streams.images import ImageListSettings, TarSettings
from dltrain.data.streams.parquet_shards import ParquetSettings
from dltrain.data.tables.settings import TableSettings
from dltrain.data.text.classes import TextCsvSettings
from dltrain.data.text.language import KoreanTextSettings
from dltrain.data.text.pairs import PairsCsvSettings
from dltrain.errors import ConfigError, DataError
from dltrain.fingerprint import fingerprint
from dltrain.other_data import images, series, tables, texts

# What reads a file or folder as a whole, by the settings of the data sets that have a ``path``.
_READERS: tuple[tuple[type[Any], Callable[[Any, dict[str, Any], Task], Source]], ...] = (
    (TableSettings, tables.table),
    (ParquetSettings, tables.shards),
    (ImageFolderSettings, images.folder),
    (ImageListSettings, images.streamed),
    (TarSettings, images.streamed),
    (SeriesSettings, series.windows),
    (TextCsvSettings, texts.classified),
    (KoreanTextSettings, texts.language),
    (PairsCsvSettings, texts.pairs),
)


@dataclass(frozen=True)
class Found:
    """
    Attributes:
        is_own: they are the run's own data, wherever they lie.
        is_whole: all samples are its ``validation``, and there are no other splits.
    """

    data: Data
    is_own: bool = False
    is_whole: bool = False


def load(settings: Any, changed: list[str], kept: dict[str, Any], task: Task) -> Found:
    """Returns the data of these settings as a run's model gets them.

    Args:
        settings: of the data set, with what is to be other than in training.
        changed: the keys that are, such as "data.path".
        kept: what ``task.json`` of the run holds.
        task: of the run.

    Raises:
        ConfigError: what the run learned of its data cannot be applied to these.
        DataError: the data cannot be used.
    """
    problem: DataError | None = None
    try:
        data = registry.build("data", settings)
        if fingerprint(data) == kept.get("fingerprint"):
            return Found(data, is_own=True)
    except DataError as error:  # as it may well be with data that nothing is to be learned from
        problem, data = error, None
    reader = next((read for kind, read in _READERS if isinstance(settings, kind)), None)
    if "data.path" in changed and getattr(settings, "path", None) and reader is not None:
        source = reader(settings, kept["preprocessing"], task)
        if not len(source):
            raise DataError(f"data.path={settings.path}: there is nothing in it to evaluate")
        return Found(Data(task, source, source, None, kept["preprocessing"]), is_whole=True)
    if data is None:
        assert problem is not None
        raise problem
    if isinstance(settings, PresetSettings):
        data = images.scaled_as(data, kept["preprocessing"], task)
    if (data.task, data.preprocessing) == (task, kept["preprocessing"]):
        return Found(data)
    raise ConfigError(_refusal(settings, changed))


def _refusal(settings: Any, changed: list[str]) -> str:
    instead = (
        "Name the file to evaluate, as data.path=FILE, and leave the rest as it was"
        if hasattr(settings, "path")
        else "Its samples are those that it was trained on"
    )
    return (
        f"{', '.join(changed)}: with these the data set learns other means, classes or words, from other samples than "
        f"the run did, and data={settings.name} cannot be made to take the run's. {instead}"
    )
