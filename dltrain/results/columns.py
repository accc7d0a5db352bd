"""The columns of a table of runs: their cells, and which of them say something."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dltrain.console import duration, number
from dltrain.results.keys import Keys, spelled
from dltrain.results.record import MISSING, Run, settings_of

# A setting's column is not wider than this in a terminal, a list of layers say.
_WIDEST = 28


@dataclass(frozen=True)
class Column:
    """One column: a title, a cell for each run, and whether numbers stand there."""

    title: str
    cells: list[str]
    is_number: bool = False

    @functools.cached_property
    def width(self) -> int:
        return max(widths([self.title, *self.cells]))

    @property
    def says_nothing(self) -> bool:
        return not any(self.cells)


def cell_width(text: str) -> int:
    """Returns how many columns of a terminal a text takes; a letter of Korean takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def widths(texts: Sequence[str]) -> list[int]:
    """Returns the widths of many texts."""
    return list(map(len if "".join(texts).isascii() else cell_width, texts))


def printable(text: str) -> str:
    """Returns a text on one line, without what would steer a terminal; a run folder may be a stranger's."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " for letter in text)


# --- the parts of a table ---------------------------------------------------------------------------------


def names(runs: Sequence[Run], among: Iterable[Run]) -> list[str]:
    """Returns a name for each run that its verbs take: without the date's folder where it is the only one.

    Args:
        among: all runs that there are.
    """
    counts: dict[str, int] = {}
    for run in among:
        short = run.name.rpartition("/")[2]
        counts[short] = counts.get(short, 0) + 1
    named = []
    for run in runs:
        name = run.name.removeprefix("sweeps/")
        short = name.rpartition("/")[2]
        named.append(printable(short if "/trials/" not in name and counts.get(short, 1) == 1 else name))
    return named


def facts(runs: Sequence[Run], among: Iterable[Run]) -> dict[str, Column]:
    """Returns the columns of what is no setting: name, status, best, test, epochs, age and time."""
    columns = {
        "name": Column("name", names(runs, among)),
        "status": Column("status", [printable(run.status) for run in runs]),
        "best": _best(runs),
    }
    tested = main_test(runs)
    if tested:
        columns["test"] = figure(runs, tested)
    columns["epochs"] = Column("epochs", [_count(run.numbers.get("epochs")) for run in runs], True)
    columns["age"] = Column("age", [age(run.age) for run in runs], True)
    columns["time"] = Column("time", ["" if run.seconds is None else duration(run.seconds) for run in runs], True)
    return columns


def _best(runs: Sequence[Run]) -> Column:
    """Returns the best values; the metric stands in the title where it is the same for all."""
    metrics = {run.best["metric"] for run in runs if run.best}
    if len(metrics) == 1:
        values = [number(run.best["value"]) if run.best else "" for run in runs]
        return Column(f"best {printable(next(iter(metrics)))}", values, True)
    told = [f"{run.best['metric']} {number(run.best['value'])}" if run.best else "" for run in runs]
    return Column("best", [printable(text) for text in told])


def main_test(runs: Sequence[Run]) -> str | None:
    """Returns the test figure that most runs have, the loss only where there is no other."""
    counts: dict[str, int] = {}
    for run in runs:
        for name, value in run.test.items():
            if value is not None:
                counts[name] = counts.get(name, 0) + 1
    others = [name for name in counts if not name.endswith("/loss")]
    return max(others or counts, key=lambda name: counts[name], default=None)


def figure(runs: Sequence[Run], name: str) -> Column:
    values = [run.figure(name) for run in runs]
    return Column(printable(name), ["" if value is None else number(value) for value in values], True)


def setting(runs: Sequence[Run], key: str) -> Column:
    values = settings_of(runs, key)
    distinct = {id(value): value for value in values if value is not MISSING}
    told = {number: printable(spelled(value)) for number, value in distinct.items()}
    is_number = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in distinct.values())
    return Column(printable(key), [told.get(id(value), "") for value in values], is_number)


def size(runs: Sequence[Run]) -> Column:
    return Column("size", [bytes_text(run.size) for run in runs], True)


def column(runs: Sequence[Run], key: str, among: Iterable[Run]) -> Column:
    """Returns the column of any key."""
    known = facts(runs, among)
    if key in known:
        return known[key]
    if key == "size":
        return size(runs)
    if key in ("steps", "metric"):
        cells = [run.value(key) for run in runs]
        return Column(key, ["" if cell is MISSING else printable(spelled(cell)) for cell in cells], key == "steps")
    return figure(runs, key) if "/" in key else setting(runs, key)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def age(seconds: float) -> str:
    """Returns how long ago something was, roughly: 40 s, 12 min, 5 h, 3 d."""
    for unit, length, least in (("d", 86400, 2 * 86400), ("h", 3600, 2 * 3600), ("min", 60, 120)):
        if seconds >= least:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def bytes_text(count: int) -> str:
    """Returns a size as a person reads it: 812 B, 3.4 MB."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"


# --- which settings ---------------------------------------------------------------------------------------


def ranked(keys: Keys, runs: Sequence[Run]) -> list[str]:
    """Returns the settings that tell the runs apart, the most telling first.

    Last comes what only says how a training is watched, before that what the names of the runs say already, and seeds.
    """
    found = keys.differing()

    def rank(key: str) -> tuple[bool, bool, bool, bool, int]:
        told = key in ("data.name", "model.name") and all(_says(run, key) for run in runs)
        group = key.partition(".")[0]
        is_choice = key.endswith(".name") and group != "callbacks"
        return group in ("callbacks", "device"), told, key == "seed", not is_choice, -keys.variety(key)

    return sorted(found, key=rank)


def _says(run: Run, key: str) -> bool:
    """Tells whether a run's name holds the value of a setting."""
    value = run.setting(key)
    return value is MISSING or f"-{value}-" in f"{run.name}-"


def fitting(columns: Sequence[Column], width: int, apart: int = 2) -> list[Column]:
    """Returns as many of the columns as fit a width, each tried in turn."""
    kept, left = list[Column](), width
    for each in columns:
        needed = each.width + (apart if kept else 0)
        if needed <= left:
            kept.append(each)
            left -= needed
    return kept


def narrowed(each: Column) -> Column:
    """Returns a column whose long cells are cut."""
    return Column(each.title, list(map(cut, each.cells)), each.is_number)


def cut(text: str) -> str:
    """Returns a text that is no wider than a column should be."""
    if cell_width(text) <= _WIDEST:
        return text
    kept, width = "", 1
    for letter in text:
        width += cell_width(letter)
        if width > _WIDEST:
            break
        kept += letter
    return f"{kept}…"
