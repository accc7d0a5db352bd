"""Reading what a run folder says, fast: thousands of configs differ in a few lines, and each line is parsed once.

A damaged file is no error here: what it would say is missing, and the run says what is wrong with it.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain import config_files, quick_yaml
from dltrain.directions import is_higher_better
from dltrain.errors import DltrainError
from dltrain.history import History, Row

# The settings of one group by their full keys, shared by all runs that say the same of it, which nobody changes.
Section = dict[str, Any]

_LONGEST = 1_000_000  # characters

# Where the YAML that dltrain writes can be cut: before a key at the left, and before one below that. A cut in the
# middle of a value gives pieces that are no mapping, and the text is then read as a whole.
_GROUPS = re.compile(r"\n(?=\w+:)")
_KEYS = re.compile(r"\n(?=  \w+:)")

_AT_ONCE = 2**15

# Names (&a, *a), documents (---, ...) and directives (%) hold beyond the place where they stand.
_WHOLE = ("&", "*", "<<", "---", "...", "%")

_NUMBERS = ("epochs", "steps", "seconds")
_TEXTS = ("status", "stop_reason", "error", "pruned")


Figures = dict[str, "float | None"]


@dataclass
class Outcome:
    """What is known of how a run went.

    Attributes:
        status: as ``result.json`` says; None where that is missing.
        numbers: epochs, steps and seconds, as far as they are known.
        texts: stop_reason, error and pruned, as far as there are such.
        best: of the metric that decides which weights are best: metric, value, epoch and step; {} where there is none.
        test: figures of the test split; None for what is not finite.
        last: those of the last row, in a function because there are many and they are seldom asked for.
    """

    status: str | None
    numbers: dict[str, float]
    texts: dict[str, str]
    best: dict[str, Any]
    test: Figures
    last: Callable[[], Figures]


def nothing(status: str | None = None) -> Outcome:
    """Returns the outcome of a run that has told nothing."""
    return Outcome(status, {}, {}, {}, {}, dict)


class ConfigReader:
    """Reads the configs of many runs, each distinct part once."""

    def __init__(self) -> None:
        import yaml  # here, because whoever has an index hardly ever reads one

        self._yaml = yaml
        self._sections: dict[str, Section] = {}
        self._pieces: dict[str, dict[Any, Any]] = {}

    def read(self, path: str) -> tuple[list[Section] | None, str]:
        """Returns the settings of a run by group, or None and what is wrong with the file."""
        try:
            text = _content(path).decode()
            if len(text) > _LONGEST:
                return None, f"{path} is longer than any config"
            return self._cut(text) or self._whole(path, text)
        except self._yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            return None, f"{path} is damaged: it is no YAML{f' (line {mark.line + 1})' if mark is not None else ''}"
        except (OSError, ValueError, RecursionError) as error:
            return None, f"{path} cannot be read: {error}"

    def _cut(self, text: str) -> tuple[list[Section], str] | None:
        """Returns the settings by group; None where the text cannot be cut."""
        if any(mark in text for mark in _WHOLE):
            return None
        sections: list[Section] = []
        for part in _GROUPS.split(text):
            section = self._sections.get(part)
            if section is None:
                values = self._values(part)
                if values is None:
                    return None
                section = self._sections[part] = _flat(values)
            if section:
                sections.append(section)
        return (sections, "") if sections else None

    def _values(self, part: str) -> dict[Any, Any] | None:
        """Returns the values of a group, each of its lines parsed once; None where it cannot be cut there."""
        head, *pieces = _KEYS.split(part)
        if not pieces or not head.endswith(":") or not head[:-1].isidentifier():
            return self._parsed(part)
        inner: dict[Any, Any] = {}
        for piece in pieces:
            values = self._parsed(piece)
            if values is None:
                return self._parsed(part)
            inner.update(values)
        return {head[:-1]: inner}

    def _parsed(self, text: str) -> dict[Any, Any] | None:
        values = self._pieces.get(text)
        if values is None:
            try:
                values = quick_yaml.load(text) if text.strip() else {}
            except (self._yaml.YAMLError, ValueError):
                return None
            if values is None:  # comments alone
                values = {}
            if not isinstance(values, dict):
                return None
            self._pieces[text] = values
        return values

    def _whole(self, path: str, text: str) -> tuple[list[Section] | None, str]:
        values = quick_yaml.load(text)
        if not isinstance(values, dict):
            return None, f"{path} holds no settings"
        problem = config_files.too_large(values)
        if problem is not None:
            return None, f"{path}: {problem}"
        return [_flat({key: value}) for key, value in values.items()], ""


def _content(path: str) -> bytes:
    """Reads a file that is mostly small: in two calls instead of the six that ``open`` makes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # something else than a file may have its name
    try:
        pieces = [os.read(descriptor, _AT_ONCE)]
        while len(pieces[-1]) == _AT_ONCE:
            pieces.append(os.read(descriptor, _AT_ONCE))
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _flat(values: dict[Any, Any]) -> Section:
    flat: Section = {}
    for key, value in values.items():
        flat.update(config_files.flatten(value, str(key)))
    return {key: _plain(value) for key, value in flat.items()}


def _plain(value: Any) -> Any:
    """Returns a value as JSON can hold it: YAML has dates, too."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


# --- outcomes ---------------------------------------------------------------------------------------------


def read_result(path: str) -> tuple[Outcome | None, str]:
    """Returns what ``result.json`` says, or None and what is wrong with it."""
    try:
        result = json.loads(_content(path))
    except (OSError, ValueError, RecursionError) as error:
        return None, f"{path} cannot be read: {error}"
    if not isinstance(result, dict):
        return None, f"{path} cannot be read: it holds no JSON object"
    return _outcome(result), ""


def _outcome(result: dict[str, Any]) -> Outcome:
    best = result.get("best")
    kept: dict[str, Any] = {}
    if isinstance(best, dict) and isinstance(best.get("metric"), str) and finite(best.get("value")) is not None:
        kept = {"metric": best["metric"], **{name: finite(best.get(name)) for name in ("value", "epoch", "step")}}
    numbers = {name: finite(result.get(name)) for name in _NUMBERS}
    texts = {name: result[name] for name in _TEXTS if isinstance(result.get(name), str)}
    last = figures(result.get("last"))
    return Outcome(
        texts.pop("status", None),
        {name: value for name, value in numbers.items() if value is not None},
        texts,
        kept,
        figures(result.get("test")),
        lambda: last,
    )


def figures(values: Any) -> Figures:
    return {str(name): finite(value) for name, value in values.items()} if isinstance(values, dict) else {}


def finite(value: Any) -> float | None:
    """Returns a number, or None for what is none, NaN or infinite."""
    if value.__class__ is float:
        return value if math.isfinite(value) else None
    return value if value.__class__ is int and abs(value) < 2**63 else None


def so_far(path: str, monitor: str) -> tuple[Outcome, str]:
    """Returns what the rows of a run tell that has not come to an end, and what is wrong with them.

    Args:
        path: of ``metrics.jsonl``.
        monitor: the metric that decides which weights are best.
    """
    rows, problem = read_rows(path)
    outcome = nothing()
    if not rows:
        return outcome, problem
    last = figures(rows[-1])
    outcome.last = lambda: last
    reached = {"epochs": last.get("epoch"), "steps": last.get("step")}
    outcome.numbers = {name: value for name, value in reached.items() if value is not None}
    outcome.numbers["seconds"] = round(math.fsum(finite(row.get("epoch_seconds")) or 0.0 for row in rows), 3)
    kept = [(value, row) for row in rows if (value := finite(row.get(monitor))) is not None]
    if kept:
        value, row = (max if is_higher_better(monitor) else min)(kept, key=lambda pair: pair[0])
        outcome.best = {"metric": monitor, "value": value} | {name: finite(row.get(name)) for name in ("epoch", "step")}
    return outcome, problem


def read_rows(path: str) -> tuple[list[Row], str]:
    """Returns the rows of a run as far as they can be read, and what is wrong with the file."""
    try:
        return [row for row in History(Path(path)).rows() if isinstance(row, dict)], ""
    except (OSError, DltrainError, RecursionError) as error:
        return [], f"{path} cannot be read: {error}"
