"""What to call runs that stand side by side: by what differs among them, shortly.

Such as ``lstm lr=0.01 · abcd``: the model, the settings that are not the same in all runs, and what the run's folder is
found by. This module imports nothing heavy.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain import config_files, quick_yaml

# The groups of settings that decide what comes out of a training, those that one looks at first at the beginning.
GROUPS = ("model", "data", "optimizer", "loss", "scheduler", "trainer", "seed", "callbacks", "device")

_MOST_SETTINGS = 5
_LONGEST_VALUE = 24
_LONGEST = 72
_LONGEST_BYTES = 200  # a file's name has 255 at most

# What belongs to the files of a run, and says nothing of the training.
_OF_FILES = ("run_dir", "resume", "imports", "sweep", "hydra")

Flat = dict[str, Any]


def differing(runs: Sequence[Flat]) -> list[str]:
    """Returns the keys whose values are not the same in all runs, those that tell most first.

    A setting of a component, such as ``model.hidden``, is compared among the runs that have this component: an lstm has
    no ``model.blocks``, and that it has none is told by ``model.name``.
    """
    found = []
    for key in dict.fromkeys(key for run in runs for key in run):
        values: dict[tuple[Any, ...], set[str]] = {}
        for run in runs:
            if key in run and not key.startswith(_OF_FILES):
                values.setdefault(_component(key, run), set()).add(repr(run[key]))
        if any(len(own) > 1 for own in values.values()):
            found.append(key)
    return sorted(found, key=_rank)  # stable: else as they stand in the config


def _component(key: str, run: Flat) -> tuple[Any, ...]:
    """Returns the names of the components around a setting."""
    parts = key.split(".")
    return tuple(run.get(".".join([*parts[:end], "name"])) for end in range(1, len(parts)) if parts[end:] != ["name"])


def _rank(key: str) -> tuple[int, int]:
    group = key.partition(".")[0]
    return (GROUPS.index(group) if group in GROUPS else len(GROUPS), 0 if key.endswith(".name") else 1)


def labels(runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> list[str]:
    """Returns what to call each of some runs; no two alike, and none with a character that a file's name may not have.

    Args:
        runs: the folder of each, and its config as plain values ({} where that cannot be read).
    """
    settings = [config_files.flatten(config) if config else {} for _, config in runs]
    finders = _finders([folder for folder, _ in runs])
    days = {_when(folder)[0] for folder, _ in runs} - {""}
    told = _told(settings)
    often = Counter(told)
    found = []
    for (folder, _), words, finder in zip(runs, told, finders, strict=True):
        day, time = _when(folder)
        if often[words] > 1 and time:  # repeats, which their time tells apart
            finder = " ".join([*([day] if len(days) > 1 else []), time, finder])
        found.append(_as_file_name(f"{words} · {finder}" if words else finder))
    return list(unique(found))


def alone(folder: Path) -> str:
    """Returns what to call a run that stands by no other: as its folder, or its sweep and its number in it."""
    sweep, trial = _sweep_and_trial(folder)
    return _as_file_name(folder.name if trial is None else f"{sweep} trial {trial}")


def _told(runs: list[Flat]) -> list[str]:
    """Returns what each run is called by: its model, its data where these differ, and the settings that are not the
    same in all runs of this model and data.
    """
    several = len({run["data.name"] for run in runs if "data.name" in run}) > 1
    heads = [
        " ".join(str(run[key]) for key in ("model.name", "data.name")[: 1 + several] if key in run) for run in runs
    ]
    keys = {
        head: differing([run for run, other in zip(runs, heads, strict=True) if other == head])
        for head in dict.fromkeys(heads)
    }
    return [
        " ".join([*([head] if head else []), *_words(run, keys[head])]) for run, head in zip(runs, heads, strict=True)
    ]


def _words(run: Flat, keys: list[str]) -> Iterator[str]:
    """Yields some of the settings that differ, the first ones."""
    length, shown = 0, 0
    for key in keys:
        if key not in run:
            continue
        value = _value(run[key])
        word = value if key.endswith(".name") else f"{_short(key, keys)}={value}"
        if shown == _MOST_SETTINGS or length + len(word) > _LONGEST:
            yield "…"
            return
        length, shown = length + len(word) + 1, shown + 1
        yield word


def _short(key: str, keys: list[str]) -> str:
    """Returns the last parts of a key, as many as tell it from the others."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        end = "." + ".".join(parts[-count:])
        if sum(f".{other}".endswith(end) for other in keys) == 1:
            return end[1:]
    return key


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        text = value.rstrip("/").rpartition("/")[2] or value  # of a path its last part
    else:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


# --- folders ----------------------------------------------------------------------------------------------


def _finders(folders: list[Path]) -> list[str]:
    """Returns the part of each folder's name that it is found by: the four letters, or a trial's number."""
    sweeps = {_sweep_and_trial(folder)[0] for folder in folders}
    found = []
    for folder in folders:
        sweep, trial = _sweep_and_trial(folder)
        if trial is not None:
            found.append(f"trial {trial}" if len(sweeps) == 1 else f"{_letters(sweep)} trial {trial}")
        else:
            found.append(_letters(folder.name))
    often = Counter(found)
    return [finder if often[finder] == 1 else folder.name for folder, finder in zip(folders, found, strict=True)]


def _sweep_and_trial(folder: Path) -> tuple[str, str | None]:
    """Returns the names of the sweep and of the trial that a run is of, such as ("..-grid-abcd", "3 seed-1")."""
    parts = folder.parts
    if "trials" not in parts[:-1]:
        return "", None
    place = len(parts) - 1 - parts[::-1].index("trials")
    return parts[place - 1] if place else "", " ".join(parts[place + 1 :])


def _letters(name: str) -> str:
    """Returns the four letters at the end of a name that dltrain gave, else the name."""
    found = re.fullmatch(r"\d\d(?:\d\d)?[-\d_]*-.*-([a-z]{4})", name)
    return found[1] if found else name


def _when(folder: Path) -> tuple[str, str]:
    """Returns the day (month and day) and the time at which a run was started; empty where its folder does not tell."""
    time = re.match(r"\d\d-\d\d-\d\d(?=-)", folder.name)
    day = re.fullmatch(r"\d{4}-(\d\d-\d\d)", folder.parent.name)
    return (day[1], time[0]) if time and day else ("", "")


def _as_file_name(name: str) -> str:
    name = name.encode(errors="replace").decode()  # bytes that are no UTF-8, as in folders from another system
    clean = re.sub(r"[/\\\x00-\x1f\x7f]", "_", name).strip(". ") or "run"
    while len(clean.encode()) > _LONGEST_BYTES:
        clean = clean[1:]  # what the run is found by stands at the end
    return clean


def unique(names: Iterable[str], taken: Iterable[str] = ()) -> Iterator[str]:
    """Yields names, with a number behind one that stood before or is taken."""
    seen = set(taken)
    for name in names:
        chosen, number = name, 2
        while chosen in seen:
            chosen, number = f"{name} ({number})", number + 1
        seen.add(chosen)
        yield chosen


# --- configs ----------------------------------------------------------------------------------------------


def read_config(path: Path) -> dict[str, Any]:
    """Returns the config of a run as plain values; {} where it cannot be read, for a name needs none."""
    import yaml

    try:
        values = quick_yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return values if isinstance(values, dict) and config_files.too_large(values) is None else {}
