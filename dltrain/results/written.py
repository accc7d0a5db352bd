"""Runs as lines of text, as CSV, and as JSON."""

from __future__ import annotations

import csv
import io
import operator
import time
from collections.abc import Sequence
from typing import Any

from dltrain.results.columns import Column, widths
from dltrain.results.keys import spelled
from dltrain.results.record import MISSING, Run

# Facts that the CSV has always; "best", "metric" and "time" under other names.
COLUMNS = ("name", "path", "status", "epochs", "steps", "best", "metric", "time")


def text(columns: Sequence[Column]) -> str:
    """Returns a table as lines of text, columns below each other, numbers to the right."""
    padded = []
    for each in columns:
        cells = [each.title, *each.cells]
        blanks = [" " * (each.width - width) for width in widths(cells)]
        first, second = (blanks, cells) if each.is_number else (cells, blanks)
        padded.append(list(map(operator.add, first, second)))
    return "".join(f"{'  '.join(row).rstrip()}\n" for row in zip(*padded, strict=True))


def as_dicts(runs: Sequence[Run], keys: Sequence[str], sizes: bool) -> list[dict[str, Any]]:
    """Returns the runs as JSON can hold them.

    Args:
        keys: settings to give, by their full names.
        sizes: also of their folders.
    """
    return [_as_dict(run, keys, sizes) for run in runs]


def _as_dict(run: Run, keys: Sequence[str], sizes: bool) -> dict[str, Any]:
    config = run.config
    seconds = run.seconds
    return {
        "name": run.name,
        "path": run.path,
        "status": run.status,
        "trained": _time(run),
        "age_seconds": round(run.age, 1),
        "seconds": None if seconds is None else round(seconds, 3),
        **({"bytes": run.size} if sizes else {}),
        **{name: run.numbers.get(name) for name in ("epochs", "steps")},
        **run.outcome.texts,
        "best": run.best or None,
        "last": run.last,
        "test": run.test,
        "config": {key: config[key] for key in keys if key in config},
        **({"problems": run.problems} if run.problems else {}),
    }


def as_csv(runs: Sequence[Run], keys: Sequence[str], figures: Sequence[str], sizes: bool) -> str:
    """Returns the runs as CSV: a line each, with settings and figures by their full names, and nothing shortened."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    best = ("metric", "value", "epoch")
    titles = ["name", "path", "status", "trained", "seconds", *(["bytes"] if sizes else []), "epochs", "steps"]
    writer.writerow([*titles, *(f"best {part}" for part in best), *figures, *keys])
    for run in runs:
        row: list[Any] = [run.name, run.path, run.status, _time(run), run.seconds, *([run.size] if sizes else [])]
        row += [run.numbers.get(name) for name in ("epochs", "steps")] + [run.best.get(part) for part in best]
        row += [run.figure(name) for name in figures]
        values = (run.value(key) for key in keys)
        writer.writerow([*row, *("" if value is MISSING else spelled(value) for value in values)])
    return stream.getvalue()


def _time(run: Run) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(run.trained))
