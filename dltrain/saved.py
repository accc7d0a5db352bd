"""What a run folder keeps of the run's config and task, read back."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import config_files, quick_yaml
from dltrain.errors import CheckpointError
from dltrain.run_folder import RunFolder

if TYPE_CHECKING:
    from dltrain.config import Config
    from dltrain.data import Task


def saved_config(folder: RunFolder) -> dict[str, Any]:
    """Returns the config of a run as plain values.

    Raises:
        CheckpointError: the file is damaged.
    """
    import yaml

    try:
        container = quick_yaml.load(folder.config.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise CheckpointError(f"{folder.config} is damaged: it is no YAML{line}") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{folder.config} cannot be read: {error}") from error
    if not isinstance(container, dict):
        raise CheckpointError(f"{folder.config} holds no settings")
    problem = config_files.too_large(container)
    if problem is not None:
        raise CheckpointError(f"{folder.config}: {problem}")
    return config_files.completed(container)


def load_config(container: dict[str, Any], folder: RunFolder, config_dirs: list[str] | None = None) -> Config:
    """Returns a run's config, checked.

    Modules of the user's are looked for in ``config_dirs`` too; one that came with the run, as in a folder that a
    stranger sends, is never run.
    """
    from dltrain import config

    return config.load(container, tuple(config_files.user_dirs(config_dirs)), distrusted=folder.path)


def data_paths(config: Config) -> list[Path]:
    """Returns the files and folders that the data of a config are read from."""
    named = (getattr(config.data, field.name) for field in fields(config.data) if field.metadata.get("path"))
    return [Path(value).expanduser() for value in named if isinstance(value, str)]


def saved_task(folder: RunFolder) -> Task:
    """Returns the task that a run's model was built for, without reading its data."""
    from dltrain.data.contract import task_from_dict

    return task_from_dict(folder.read_task()["task"])
