"""Removing runs that a rule selects: listed first, and asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dltrain.errors import ConfigError
from dltrain.results import columns, folders
from dltrain.results.keys import spelled
from dltrain.results.record import DATA, MISSING, SAMPLES, Run, goodness
from dltrain.results.removing import CHECKPOINTS, Item, remove
from dltrain.results.selection import select
from dltrain.results.significance import FOLD


@dataclass(frozen=True)
class Rule:
    """What is to be removed.

    Attributes:
        words: names and comparisons, as ``dltrain runs`` takes them.
        trials: those of sweeps as well.
        keep_best: how many of the selected runs stay; None where none does for that.
        by: the figure that says which are best.
        checkpoints_only: remove what lies in their checkpoints, and nothing else.
    """

    words: list[str]
    trials: bool = False
    keep_best: int | None = None
    by: str = "best"
    checkpoints_only: bool = False


@dataclass
class Plan:
    """What would be removed, and why some of what was selected would not.

    Attributes:
        kept: a note for each that stays.
    """

    items: list[Item] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(item.size for item in self.items)


def plan(rule: Rule) -> Plan:
    """Returns what a rule selects.

    Raises:
        ConfigError: there is no rule, or it names something that there is not.
    """
    if not rule.words and rule.keep_best is None:
        raise ConfigError(
            "'runs prune' needs a rule, such as status=failed, 'age>30d' or --keep-best 10; 'dltrain runs' with the "
            "same words shows what they select"
        )
    selection = select(rule.words, rule.trials)
    runs = selection.runs
    found = Plan()
    if selection.why_none:
        found.kept.append(selection.why_none)
    if rule.keep_best is not None:
        key = selection.keys.find(rule.by)
        best, others = _best(runs, key, rule.keep_best)
        found.kept += [f"{run.path} stays: it is among the best {rule.keep_best}" for run in best]
        known = {run.path for run in (*best, *others)}
        found.kept += [f"{run.path} stays: it has no {key}" for run in runs if run.path not in known]
        runs = others
    if rule.checkpoints_only:
        for run in runs:
            _add(found, f"{run.path}/{CHECKPOINTS}", [f"{run.path}/{folders.LOCK}"], f"checkpoints of {run.path}")
        return found
    whole = _whole_sweeps(runs)
    for sweep, inside in whole.items():
        busy = [f"{run.path}/{folders.LOCK}" for run in inside]
        what = f"{sweep}, the whole sweep: {len(inside):,} run{'' if len(inside) == 1 else 's'}"
        _add(found, sweep, [f"{sweep}/{folders.SWEEP_LOCK}"], what, busy)
    gone = {run.path for inside in whole.values() for run in inside}
    for run in runs:
        if run.path not in gone:
            _add_run(found, run)
    return found


def _best(runs: Sequence[Run], key: str, count: int) -> tuple[list[Run], list[Run]]:
    """Returns the best runs by a key, and the others that have it.

    Raises:
        ConfigError: of none of the runs it can be said how good it is by the key, or their figures do not compare.
    """
    metrics = sorted({run.best["metric"] for run in runs if key == "best" and run.best})
    if len(metrics) > 1:
        raise ConfigError(
            f"--keep-best: the runs are called best by several figures: {', '.join(metrics)}. Name one: "
            f"--by {metrics[0]}"
        )
    known = [(value, run) for run in runs if (value := goodness(run, key)) is not None]
    for setting in DATA:
        found = sorted({spelled(value) for _, run in known if (value := run.setting(setting)) is not MISSING})
        if len(found) > 1:
            raise ConfigError(
                f"--keep-best: the runs are of several data sets, whose figures do not compare: {', '.join(found)}. "
                f"Choose one, such as {setting.removesuffix('.name')}={found[0]}"
            )
    for setting in (*SAMPLES, FOLD, *(["loss.name"] if _is_loss(key, metrics) else [])):
        found = sorted({spelled(value) for _, run in known if (value := run.setting(setting)) is not MISSING})
        if len(found) > 1:
            raise ConfigError(
                f"--keep-best: the figures of the runs do not compare, for they differ in {setting}: "
                f"{', '.join(found)}. Choose one, such as {setting.removesuffix('.name')}={found[0]}"
            )
    if runs and not known:
        raise ConfigError(f"--by {key}: none of the runs has such a figure")
    best = [run for _, run in sorted(known, key=lambda pair: pair[0], reverse=True)[:count]]
    paths = {run.path for run in best}
    return best, [run for _, run in known if run.path not in paths]


def _is_loss(key: str, metrics: Sequence[str]) -> bool:
    return (metrics[0] if key == "best" and metrics else key).endswith("/loss")


def _whole_sweeps(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Returns the sweeps all of whose runs are selected, with these."""
    inside: dict[str, list[Run]] = {}
    for run in runs:
        sweep = folders.sweep_of(run.path)
        if sweep is not None:
            inside.setdefault(sweep, []).append(run)
    return {sweep: own for sweep, own in inside.items() if {run.path for run in own} == set(folders.trials(sweep))}


def _add_run(found: Plan, run: Run) -> None:
    sweep = folders.sweep_of(run.path)
    locks = [f"{run.path}/{folders.LOCK}"]
    if sweep is not None:
        best = Path(sweep, "best")
        if best.is_symlink() and best.resolve() == Path(run.path).resolve():
            found.kept.append(f"{run.path} stays: it is the best run of its sweep")
            return
        locks.append(f"{sweep}/{folders.SWEEP_LOCK}")
    _add(found, run.path, locks, run.path)


def _add(found: Plan, path: str, locks: list[str], what: str, busy: Sequence[str] = ()) -> None:
    """Adds a folder, or a note why it stays."""
    folder = Path(path)
    linked = next((part for part in (folder, *map(Path, locks)) if part.is_symlink()), None)
    if linked is not None:
        found.kept.append(f"{what} stays: {linked} is a link")
    elif any(map(folders.is_held, (*locks, *busy))):
        found.kept.append(f"{what} stays: it is being trained")
    elif folder.is_dir():
        found.items.append(Item(path, locks, list(busy), folders.size_of(path), what))


# --- removed ----------------------------------------------------------------------------------------------


def run(rule: Rule, is_sure: bool) -> int:
    """Lists what a rule selects, asks, and removes it.

    Args:
        is_sure: do not ask.

    Raises:
        ConfigError: see ``plan``; or nobody is there to be asked.
        MachineError: something could not be removed.
    """
    found = plan(rule)
    for note in found.kept:
        print(columns.printable(note), file=sys.stderr)
    if not found.items:
        print("nothing is removed", file=sys.stderr)
        return 0
    print(_listed(found), flush=True)
    if not is_sure and not _agrees(found):
        print("nothing is removed", file=sys.stderr)
        return 0
    removed = remove(found.items)
    print(f"removed {columns.bytes_text(sum(item.size for item in removed))}", file=sys.stderr)
    for sweep in dict.fromkeys(sweep for item in removed if (sweep := folders.sweep_of(item.path)) is not None):
        if Path(sweep, "report.html").exists() and not rule.checkpoints_only:
            told = f"{sweep}/report.html still links to them: 'dltrain report {sweep}' writes it anew"
            print(columns.printable(told), file=sys.stderr)
    return 0


def _listed(found: Plan) -> str:
    sizes = [columns.bytes_text(item.size) for item in found.items]
    width = max(map(len, [*sizes, columns.bytes_text(found.size)]))
    lines = [f"{size:>{width}}  {columns.printable(item.what)}" for size, item in zip(sizes, found.items, strict=True)]
    return "\n".join([*lines, f"{columns.bytes_text(found.size):>{width}}  in all: {_counted(found)}"])


def _counted(found: Plan) -> str:
    count = len(found.items)
    return f"{count:,} folder{'' if count == 1 else 's'}"


def _agrees(found: Plan) -> bool:
    """Asks whether to go on.

    Raises:
        ConfigError: there is no terminal to ask at.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError("there is no terminal to ask at. With --yes they are removed")
    print(f"Remove {_counted(found)}, {columns.bytes_text(found.size)}? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")
