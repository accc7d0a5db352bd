"""Lets the user's YAML folders (``DLTRAIN_CONFIG_PATH``) come before dltrain's own.

Hydra executes this file at the start of every Hydra program in the environment, so it imports nothing heavy and
touches the search path of dltrain alone.
"""

import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class DltrainSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Puts each folder first, the last one first, so that the first one ends up first."""
        folders = [folder for folder in os.environ.get("DLTRAIN_CONFIG_PATH", "").split(os.pathsep) if folder]
        if folders and any(_is_dltrain(item.path) for item in search_path.get_path()):
            for folder in reversed(folders):
                search_path.prepend("dltrain-user", f"file://{Path(folder).expanduser().absolute()}")


def _is_dltrain(path: str | None) -> bool:
    """Tells whether a search path is dltrain's own configs, by a file that no other program has."""
    folder = Path((path or "").removeprefix("file://"))
    return (folder / "callbacks" / "early_stopping.yaml").is_file() and (folder / "train.yaml").is_file()
