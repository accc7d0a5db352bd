"""Which runs the words of a command line mean: parts of names, sweeps, ``last``, and comparisons."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dltrain import run_folder
from dltrain.errors import ConfigError, did_you_mean
from dltrain.results import filters, folders, index
from dltrain.results.keys import Keys
from dltrain.results.record import Run


@dataclass
class Selection:
    """The runs that some words mean.

    Attributes:
        runs: in the order of the words; those of one word, or of none, as they were trained.
        named: all that the names mean, before the comparisons.
        left_out: sweeps whose trials are not among the runs, because nothing asked for them.
        why_none: why no run is left, where none is.
    """

    runs: list[Run]
    named: list[Run]
    left_out: list[str]
    why_none: str = ""

    @functools.cached_property
    def keys(self) -> Keys:
        """The keys of all that the names mean."""
        return Keys(self.named)


def select(words: Sequence[str], trials: bool = False, newest_first: bool = True) -> Selection:
    """Returns the runs that words mean: names choose, each one some runs, and a run must pass every comparison.

    Args:
        words: a run's or a sweep's folder, a part of such a name, ``last``, or a comparison.
        trials: take the trials of all sweeps, too, where no word names a sweep.
        newest_first: of the runs that one word means.

    Raises:
        ConfigError: there are no runs, a name fits none, or a comparison cannot be made.
    """
    compared = [word for word in words if filters.is_comparison(word) and not _is_folder(word)]
    names = [word for word in words if word not in compared]
    if not all(name.strip(" /") for name in names):  # it is a part of every name: a variable of the shell that is unset
        raise ConfigError("the name of a run is empty. Give a folder, a part of a name, last, or no word for all runs")
    root = run_folder.RUNS
    singles, sweeps = list(folders.single_runs(root)), folders.sweeps(root)
    if not singles and not sweeps and not any(_is_folder(name) or Path(name).is_dir() for name in names):
        raise ConfigError(
            f"there are no runs in {root.absolute()}. Train one first, or change to the folder of your runs"
        )
    shown = [*singles, *(path for sweep in sweeps if trials for path in folders.trials(sweep))]
    unknown: list[str] = []
    if names:
        chosen = [_meant(name, shown, sweeps) for name in names]
        unknown = [name for name, paths in zip(names, chosen, strict=True) if not paths]
        groups = chosen
    else:
        groups = [shown]
    if unknown:
        raise ConfigError(*(_unknown(name, shown, sweeps) for name in unknown))
    runs = _known(groups, newest_first)
    selection = Selection(runs, runs, [] if trials or names else sweeps)
    if compared:
        found = filters.parse(compared, selection.keys)
        selection.runs = [run for run in runs if all(one.fits(run) for one in found)]
        if not selection.runs:
            selection.why_none = filters.without_match(found, runs, selection.keys)
    return selection


def _known(groups: list[list[str]], newest_first: bool) -> list[Run]:
    """Returns what is known of the runs in the folders, each once: those of a group together, in its place."""
    place: dict[str, int] = {}
    for number, paths in enumerate(groups):
        for path in paths:
            place.setdefault(path, number)
    runs = index.load(run_folder.RUNS, place)
    return sorted(runs if newest_first else reversed(runs), key=lambda run: place[run.path])


def _is_folder(word: str) -> bool:
    path = _plain(word)
    return folders.is_run(path) or folders.is_sweep(path)


def _plain(word: str) -> str:
    """Returns a path as the scan of the folders gives it."""
    path = os.path.normpath(word)
    here = f"{Path.cwd()}/"
    return path.removeprefix(here) if path.startswith(f"{here}{run_folder.RUNS}/") else path


def _meant(name: str, paths: list[str], sweeps: list[str]) -> list[str]:
    """Returns the run folders that a name means; [] where it means none."""
    folder = _plain(name)
    if folders.is_run(folder):
        return [folder]
    if folders.is_sweep(folder):
        return list(folders.trials(folder))
    if name != "last" and Path(folder).is_dir():  # one that holds runs, such as that of a day
        within = [
            *folders.single_runs(Path(folder)),
            *(run for sweep in folders.sweeps(Path(folder)) for run in folders.trials(sweep)),
        ]
        if within:
            return within
    if name == "last":
        return folders.newest_first([*paths, *(path for sweep in sweeps for path in folders.trials(sweep))])[:1]
    part = f"/{name.rstrip('/')}" if name.startswith("trials/") else name.rstrip("/")
    whose, between, _ = part.partition("/trials/")
    own = [path for sweep in sweeps if _fits(whose, sweep) for path in folders.trials(sweep)]
    if between:
        fitting = [path for path in own if _fits(part, path)]
    else:  # a sweep's name means all its trials
        fitting = list(dict.fromkeys([*(path for path in paths if _fits(part, path)), *own]))
    whole = f"{part}/" if between else f"/{part}/"
    return [path for path in fitting if whole in f"/{path}/"] or fitting  # trials/1, and not trials/10


def _fits(part: str, path: str) -> bool:
    """Tells whether a part of a name, or a pattern with * or ? for a whole one, fits a folder."""
    return filters.contains(path.rpartition("/")[2] if filters.is_pattern(part) and "/" not in part else path, part)


def _unknown(name: str, paths: list[str], sweeps: list[str]) -> str:
    """Returns the message for a name that fits no run."""
    with contextlib.suppress(ConfigError):
        Keys(index.load(run_folder.RUNS, paths)).find(name)
        return (
            f"no run is named '{name}', but runs have such a key. Compare it: {name}=..., and in quotes where the "
            f"shell would take > or < for a file: '{name}>0.9'"
        )
    last = [path.rpartition("/")[2] for path in [*sorted(paths)[-10:], *sweeps[-10:]]]
    return f"no run is named '{name}'.{did_you_mean(name, last)}"
