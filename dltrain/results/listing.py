"""The table of ``dltrain runs``: sorted, cut to what a terminal shows, or whole for a pipe."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dltrain.results import columns, folders, written
from dltrain.results.columns import Column
from dltrain.results.keys import Keys, spelled
from dltrain.results.record import MISSING, Run, goodness
from dltrain.results.selection import Selection

# A terminal shows so many unless told otherwise.
SHOWN = 30

# Of so few runs the size on the disk is counted without being asked for.
_FEW = 100

# Of files that cannot be read so many are named.
_TOLD = 3

_STYLES = {"done": "green", "running": "cyan", "failed": "red", "damaged": "red"}

# The columns in the order in which a narrow terminal gives them a place, before and after the most telling settings.
_FIRST, _SECOND = ("name", "status", "best", "age"), ("test", "time", "size", "epochs")
_SETTINGS_FIRST = 3
# And the order in which they stand.
_ORDER = ("name", "status", "best", "test", "epochs", "age", "time", "size")


@dataclass(frozen=True)
class Wish:
    """What of the runs is wanted.

    Attributes:
        sort: a key, with - before it for the other direction; None for the last trained first.
        reverse: turn the order round.
        limit: how many at most; None for the default, 0 for all.
        keys: settings and figures to show instead of those that differ; None for these.
        all_keys: show whatever differs, fitting or not.
        sizes: of the folders, even where counting takes a while.
    """

    sort: str | None = None
    reverse: bool = False
    limit: int | None = None
    keys: list[str] | None = None
    all_keys: bool = False
    sizes: bool = False


def _sorted(selection: Selection, wish: Wish) -> list[Run]:
    """
    Raises:
        ConfigError: no run has the key to sort by.
    """
    if wish.sort is None:
        return list(reversed(selection.runs)) if wish.reverse else selection.runs
    key = selection.keys.find(wish.sort.removeprefix("-"))
    return ordered(selection.runs, key, turned=wish.reverse != wish.sort.startswith("-"))


def ordered(runs: Sequence[Run], key: str, turned: bool = False) -> list[Run]:
    """Returns the runs sorted by a key, those that lack it last: of figures the best first, else the smallest."""
    if key == "best" or "/" in key:
        rated = [(run, goodness(run, key)) for run in runs]
        metrics = {id(run): run.best.get("metric", "") if key == "best" else "" for run in runs}
        known = [(run, value) for run, value in rated if value is not None]
        known.sort(key=lambda pair: pair[1], reverse=not turned)
        known.sort(key=lambda pair: metrics[id(pair[0])])  # of several metrics each by itself
        return [run for run, _ in known] + [run for run, value in rated if value is None]
    valued = [(run, run.value(key)) for run in runs]
    there = [(run, _rank(value)) for run, value in valued if value is not MISSING and value is not None]
    there.sort(key=lambda pair: pair[1], reverse=turned)
    return [run for run, _ in there] + [run for run, value in valued if value is MISSING or value is None]


def _rank(value: object) -> tuple[bool, float, str]:
    if isinstance(value, (int, float)):
        return False, float(value), ""
    return True, 0.0, spelled(value)


def table(selection: Selection, wish: Wish, width: int | None) -> tuple[str, list[Column], list[str]]:
    """Returns the runs as text for a pipe or as columns for a terminal, and notes on what is not shown.

    Args:
        width: of the terminal; None for a pipe.
    """
    runs = _sorted(selection, wish)
    limit = wish.limit if wish.limit is not None else SHOWN if width is not None else 0
    shown = runs[:limit] if limit else runs
    notes = _notes(selection, len(shown), width is not None)
    if not shown:
        return "", [], notes
    known = columns.facts(shown, selection.runs)
    if wish.sizes or (width is not None and len(shown) <= _FEW):
        known["size"] = columns.size(shown)
    told, more = _told(shown, selection, wish, known)
    if width is None or wish.all_keys:
        return written.text([*_in_order(known), *told, *more]), [], notes
    chosen, hidden = _fitting(known, told, more, width, wish.keys is not None)
    if hidden and wish.keys is not None:  # a terminal breaks its lines
        return written.text([known["name"], *told]), [], notes
    if hidden:
        notes.append(f"{hidden} more settings differ: --all-keys shows all, --keys A,B chooses")
    return "", chosen, notes


def _told(
    shown: list[Run], selection: Selection, wish: Wish, known: Collection[str]
) -> tuple[list[Column], list[Column]]:
    """Returns the columns of settings, and those of all other figures where they are wanted.

    Args:
        known: what has its column anyway.
    """
    if wish.keys is not None:
        found = [key for typed in wish.keys if (key := selection.keys.find(typed)) not in known]
        return [columns.column(shown, key, selection.runs) for key in found], []
    keys = selection.keys if shown is selection.named else Keys(shown)
    settings = [columns.setting(shown, key) for key in columns.ranked(keys, shown)]
    figures = keys.figures if wish.all_keys else []
    return settings, [columns.figure(shown, name) for name in figures]


def _in_order(known: dict[str, Column]) -> list[Column]:
    return [known[name] for name in _ORDER if name in known and not known[name].says_nothing]


def _fitting(
    known: dict[str, Column], told: list[Column], more: list[Column], width: int, is_chosen: bool
) -> tuple[list[Column], int]:
    """Returns the columns that fit a terminal, and how many settings do not."""
    told = [columns.narrowed(each) for each in told]
    first = 0 if is_chosen else _SETTINGS_FIRST
    head = [known[name] for name in _FIRST]
    tail = [known[name] for name in _SECOND if name in known and not known[name].says_nothing]
    wanted = [head[0], *told, *head[1:], *tail] if is_chosen else [*head, *told[:first], *tail, *told[first:], *more]
    kept = columns.fitting(wanted, width)
    facts = [each for each in _in_order(known) if each in kept]
    settings = [each for each in told if each in kept]
    return [*facts, *settings], len(told) - len(settings)


def _notes(selection: Selection, shown: int, is_terminal: bool) -> list[str]:
    notes = []
    if selection.why_none:
        notes.append(f"{selection.why_none} (of {len(selection.named):,})")
    elif shown < len(selection.runs):
        notes.append(f"{shown:,} of {len(selection.runs):,} runs: --limit N shows more, --limit 0 all")
    if selection.left_out and (is_terminal or not selection.runs):
        trials = sum(map(folders.num_trials, selection.left_out))
        count = len(selection.left_out)
        sweeps = f"{count:,} sweep{'s' if count > 1 else ''} with {trials:,} trials"
        notes.append(f"and {sweeps}: --trials shows them too, 'dltrain runs SWEEP' those of one")
    problems = [columns.printable(problem) for run in selection.runs for problem in run.problems]
    notes += problems[:_TOLD]
    if len(problems) > _TOLD:
        notes.append(f"and {len(problems) - _TOLD:,} more files that cannot be read: --json names them")
    return notes


def as_json(selection: Selection, wish: Wish) -> str:
    """Returns the runs as JSON: a list with an object for each, with all that is known of it."""
    runs = _wanted(selection, wish)
    values = written.as_dicts(runs, _settings(selection, wish), wish.sizes)
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


def as_csv(selection: Selection, wish: Wish) -> str:
    """Returns the runs as CSV: a line for each, with all that is known of it."""
    figures = selection.keys.figures
    if wish.keys is not None:
        found = list(map(selection.keys.find, wish.keys))
        figures = [key for key in found if "/" in key]
    others = [key for key in _settings(selection, wish) if key not in written.COLUMNS]
    return written.as_csv(_wanted(selection, wish), others, figures, wish.sizes)


def _wanted(selection: Selection, wish: Wish) -> list[Run]:
    runs = _sorted(selection, wish)
    return runs[: wish.limit] if wish.limit else runs


def _settings(selection: Selection, wish: Wish) -> list[str]:
    if wish.keys is None:
        return selection.keys.settings
    return [key for key in map(selection.keys.find, wish.keys) if "/" not in key]


def show(found: list[Column]) -> None:
    """Prints the columns in a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for each in found:
        shown.add_column(Text(each.title), justify="right" if each.is_number else "left", overflow="fold")
    for row in zip(*(each.cells for each in found), strict=True):
        cells = [Text(cell) for cell in row]
        for each, cell in zip(found, cells, strict=True):
            if each.title == "status":
                cell.stylize(_STYLES.get(cell.plain, "yellow"))
        shown.add_row(*cells)
    Console(highlight=False).print(shown)
