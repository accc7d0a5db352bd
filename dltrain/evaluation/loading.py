"""Loads a run with what is to be evaluated: its own data, or others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dltrain import other_data, registry, resume_rules, saved
from dltrain.config import Config
from dltrain.data import Data
from dltrain.errors import ConfigError
from dltrain.fingerprint import check_fingerprint
from dltrain.run_folder import RunFolder
from dltrain.trained import load_trained, load_trained_on

if TYPE_CHECKING:
    from dltrain.assembly import Parts

# Keys that may have another value than in training; the beginnings of keys where they end in a dot.
MAY_CHANGE = ("data.", "device.", "trainer.evaluation_batch_size")

# What data that are not split are called.
WHOLE = "all"


@dataclass(frozen=True)
class Loaded:
    """
    Attributes:
        parts: with the data that are evaluated.
        checkpoint: the name of that which the weights are from.
        folder, before: of the run, and its config as it was trained.
        is_own: the data are those of the run.
        is_whole: they are evaluated as a whole.
    """

    parts: Parts
    checkpoint: str
    folder: RunFolder
    before: Config
    is_own: bool = True
    is_whole: bool = False

    def split(self, wanted: str | None) -> str:
        """Returns the split to evaluate.

        Raises:
            ConfigError: the data have none of that name.
        """
        data = self.parts.data
        if self.is_whole:
            if wanted is not None:
                raise ConfigError(f"--split {wanted}: other data are evaluated as a whole. Leave --split out")
            return "validation"
        split = wanted or ("test" if data.test is not None else "validation")
        if split not in data.splits:
            raise ConfigError(f"--split {split}: this data has none. There is: {', '.join(data.splits)}")
        return split

    def called(self, split: str) -> str:
        """Returns the name of the split in what is written."""
        return WHOLE if self.is_whole else split

    def described(self, split: str) -> str:
        """Returns what a person calls the split."""
        if self.is_whole:
            return f"{self.parts.config.data.path}, with what the run learned of its own data"
        if split == "validation" and self.parts.data.evaluates_training_data:
            return "validation (the training data)"
        return split if self.is_own else f"the {split} split of other data"

    def trained_on(self) -> Data:
        """Returns the data that the run was trained on.

        Raises:
            CheckpointError: they have changed.
            DataError: they cannot be read any more.
        """
        if self.is_own:
            return self.parts.data
        data: Data = registry.build("data", self.before.data)
        check_fingerprint(self.folder, data)
        return data


def load(folder: RunFolder, overrides: list[str], checkpoint: str, config_dirs: list[str] | None) -> Loaded:
    """Loads a run, with the overrides of an evaluation.

    Raises:
        ConfigError: an override that an evaluation cannot take.
        CheckpointError, DataError, MachineError: what is needed cannot be used.
    """
    container = saved.saved_config(folder)
    before = saved.load_config(container, folder, config_dirs)
    if not overrides:
        return Loaded(*load_trained(folder, before, checkpoint), folder, before)
    config, changed = _overridden(container, overrides, folder, config_dirs)
    if not any(key.startswith("data.") for key in changed):
        return Loaded(*load_trained(folder, config, checkpoint), folder, before)
    of_data = [key for key in changed if key.startswith("data.")]
    found = other_data.load(config.data, of_data, folder.read_task(), saved.saved_task(folder))
    parts, name = load_trained_on(folder, config, checkpoint, found.data)
    return Loaded(parts, name, folder, before, found.is_own, found.is_whole)


def _overridden(
    before: dict[str, Any], overrides: list[str], folder: RunFolder, config_dirs: list[str] | None
) -> tuple[Config, list[str]]:
    """Returns the config, and the keys that have another value than in training."""
    from dltrain import compose

    container = compose.override_values(before, overrides)
    changes = resume_rules.differences(before, container)
    refused = [
        f"{change}. An evaluation computes what the run has learned: it takes other data of the same kind (data.path, "
        "data.root, ...), device.* and trainer.evaluation_batch_size"
        for change in changes
        if not change.key.startswith(MAY_CHANGE)
    ]
    if refused:
        raise ConfigError(*refused)
    return saved.load_config(container, folder, config_dirs), [change.key for change in changes]
