"""Configs that differ in few values, as the trials of a sweep do: composed once, and each derived from that.

Composing reads and merges dozens of YAML files, which takes as long as many a small network trains. So what is composed
of the options of the groups is kept, until a YAML file is changed, and the values of single settings are put into it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from dltrain import config_files, hydra_config
from dltrain.hydra_config import Composed, Unresolved
from dltrain.overrides import parse

# So many composed configs are kept; each takes about half a megabyte.
_MOST_KEPT = 32

# Folders with more than so many folders or YAML files in them, or with larger ones, are left to Hydra alone: a look at
# them would take longer than composing.
_MOST_FOLDERS, _MOST_FILES, _LARGEST = 200, 1000, 2**20


def derive(overrides: list[str], root: Path | None = None) -> Composed:
    """Returns the config that Hydra would compose; called within ``hydra_config.searching``.

    Args:
        overrides: as Hydra's grammar has them.
        root: instead of dltrain's own YAML folder.

    Raises:
        KeyError: a setting is not there. What else is raised is as of ``hydra_config.unresolved``.
        ValueError: an override has several values.
    """
    parsed = parse(overrides)
    if any(override.is_sweep_override() for override in parsed):
        raise ValueError("several values")
    is_fixed = _fixed(parsed)
    base = _base([text for text, fixed in zip(overrides, is_fixed, strict=True) if fixed], root)
    values = [(o.key_or_group, o.value()) for o, fixed in zip(parsed, is_fixed, strict=True) if not fixed]
    return Composed(base.with_values(values), dict(base.choices))


def _chooses(override: Override) -> bool:
    """Tells whether an override chooses an option of a group, which has the same meaning in each place.

    As for Hydra, what is called as a folder of YAML files is a group.
    """
    key = override.key_or_group
    if key in config_files.GROUPS or "/" in key or override.package is not None:
        return True
    return "." not in key and any((folder / key).is_dir() for folder in config_files.user_dirs())


def _fixed(overrides: list[Override]) -> list[bool]:
    """Tells of each override whether Hydra has to compose with it, as it does of more than the value of a setting.

    So it is with values that are set before that key is removed or added, or one above or below it: their order counts.
    """
    is_fixed, paths = list[bool](), list[str]()
    for override in reversed(overrides):
        path = f"{override.key_or_group}."  # those below it begin with it
        is_fixed.append(not _sets_a_value(override) or any(p.startswith(path) or path.startswith(p) for p in paths))
        if is_fixed[-1] and (not _chooses(override) or isinstance(override.value(), dict)):
            paths.append(path)
    return is_fixed[::-1]


def _sets_a_value(override: Override) -> bool:
    """Tells whether an override sets a setting that is there, or of one that may be there adds names and values."""
    is_value = not _chooses(override) and override.key_or_group.partition(".")[0] not in ("hydra", "")
    adds_names = override.is_force_add() and isinstance(override.value(), dict)
    return is_value and (adds_names or not (override.is_add() or override.is_delete()))


# --- what is kept -----------------------------------------------------------------------------------------

_kept: dict[tuple[Any, ...], _Base] = {}

# What is composed of these depends on more than the folders: on files beside them, and on the environment.
_LEADS_ELSEWHERE = re.compile(r"\.\./|\$\{")


def _base(overrides: list[str], root: Path | None) -> _Base:
    """Returns the config that others are derived from; of the same YAML files it is composed once."""
    contents = _contents([*config_files.user_dirs(), root or config_files.config_dir()])
    key = (*overrides, contents)
    base = _kept.pop(key, None)
    if base is None:
        unresolved = hydra_config.unresolved(overrides, root)
        base = _Base(unresolved)
        if contents is None or unresolved.searches_elsewhere or any(map(_LEADS_ELSEWHERE.search, overrides)):
            return base
    _kept[key] = base  # as the last, which goes last
    while len(_kept) > _MOST_KEPT:
        del _kept[next(iter(_kept))]
    return base


def _contents(folders: list[Path]) -> str | None:
    """Returns a hash of the YAML files of some folders, with their order; None where there is too much to look at.

    A copy of a folder, as a sweep keeps one, counts as the folder itself.
    """
    found = hashlib.sha256()
    try:
        for folder in folders:
            for number, file in enumerate(_yaml_files(folder, [0])):
                status = file.stat()
                if number == _MOST_FILES or status.st_size > _LARGEST:
                    return None
                changing = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                line = f"{file.path[len(str(folder)) :]}\0{_hashed(file.path, *changing)}\n"
                found.update(line.encode("utf-8", "surrogateescape"))
            found.update(b"\n")
    except (OSError, _NotKnown):  # a file that cannot be read is told by Hydra, where it is one that is needed
        return None
    return found.hexdigest()


class _NotKnown(Exception):
    """It takes too long to look at all that counts, or it is not known what that is."""


def _yaml_files(folder: str | Path, seen: list[int]) -> Iterator[os.DirEntry[str]]:
    """Yields the YAML files of a folder and of those below it, in the order of their names."""
    seen[0] += 1
    if seen[0] > _MOST_FOLDERS:
        raise _NotKnown
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.endswith((".yaml", ".yml")):
            yield entry
        elif entry.is_dir():
            yield from _yaml_files(entry.path, seen)


@functools.lru_cache(maxsize=4096)
def _hashed(path: str, *_: int) -> str:
    """Returns the hash of a file; the numbers are of what changes when the file is written.

    Raises:
        _NotKnown: its list of defaults may name files outside the folders.
    """
    content = Path(path).read_bytes()
    if b"../" in content:
        raise _NotKnown
    return hashlib.sha256(content).hexdigest()


class _Base:
    """A composed config, from which others are derived."""

    def __init__(self, unresolved: Unresolved) -> None:
        self._config, self.choices = unresolved.config, unresolved.choices
        raw = OmegaConf.to_container(self._config, resolve=False)
        self._plain = None if _interpolates(raw) else hydra_config.container_of(self._config)

    def with_values(self, values: list[tuple[str, Any]]) -> dict[str, Any]:
        """
        Raises:
            KeyError: it has no such key.
        """
        if self._plain is not None and not any(isinstance(value, dict) or _interpolates(value) for _, value in values):
            with contextlib.suppress(KeyError):  # as of a place in a list
                container = copy.deepcopy(self._plain)
                for key, value in values:
                    _replace(container, key.split("."), value)
                return container
        config = copy.deepcopy(self._config)
        for key, value in values:
            if isinstance(OmegaConf.select(config, key, default=_NOT_THERE), _NotThere):
                raise KeyError(key)
            OmegaConf.update(config, key, value, merge=True)
        return hydra_config.container_of(config)


def _interpolates(value: Any) -> bool:
    """Tells whether a value, or one below it, is read from somewhere else or missing."""
    if isinstance(value, dict):
        return any(map(_interpolates, value.values()))
    if isinstance(value, list):
        return any(map(_interpolates, value))
    return isinstance(value, str) and ("${" in value or value == "???")


def _replace(container: dict[str, Any], path: list[str], value: Any) -> None:
    """Puts a value in the place of another one.

    Raises:
        KeyError: there is none, or a group stands there.
    """
    for name in path[:-1]:
        container = container[name]
        if not isinstance(container, dict):
            raise KeyError(name)
    if isinstance(container[path[-1]], dict):
        raise KeyError(path[-1])
    container[path[-1]] = value


class _NotThere:
    """Stands for no value, which None does not."""


_NOT_THERE = _NotThere()
