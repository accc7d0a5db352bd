"""What the verbs share that work on a sweep: driving it, and its leaderboard in the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dltrain.errors import Interrupted

if TYPE_CHECKING:
    from dltrain.sweeps.folder import SweepFolder
    from dltrain.sweeps.leaderboard import Place

FAILED_TRIALS = 8

_WIDTH_OF_A_FILE = 160

# Of more trials than these the terminal shows the best.
_MOST_LINES, _BEST_LINES = 40, 20

# What a trial is called that has not ended when the sweep has.
_STATES = {"running": "interrupted", "waiting": "not started"}


def drive(sweep: SweepFolder) -> int:
    """Trains what a sweep has left to do, and prints its leaderboard.

    Raises:
        Interrupted: a signal ended it; it can go on.
    """
    from dltrain import multirun, signals
    from dltrain.sweeps import leaderboard
    from dltrain.sweeps.view import spoken

    plan = sweep.read_plan()
    try:
        with signals.raising():
            multirun.drive(sweep)
            places = leaderboard.ranked(sweep)
            leaderboard.write(sweep, places)
    except Interrupted as error:
        places = leaderboard.ranked(sweep)
        leaderboard.write(sweep, places, report=False)
        left = plan.trials - sum(place.has_ended for place in places)
        raise Interrupted(
            f"{error}; what was under way is saved. {left} of {plan.trials} trials {_is_or_are(left)} left. "
            f"Go on with: dltrain resume {sweep.path}",
            error.exit_code - 128,
        ) from error
    print_leaderboard(sweep, places)
    failed = [place.trial for place in places if place.trial.status == "failed"]
    if failed:
        print(f"error: {len(failed)} of the trials failed; error.txt in the folder of each says more:", file=sys.stderr)
        for trial in failed:
            print(f"  {trial.number}: {spoken(trial.values)}: {_first_sentence(trial.reason or '')}", file=sys.stderr)
        print(f"train them again with: dltrain resume {sweep.path} --retry-failed", file=sys.stderr)
    return FAILED_TRIALS if failed else 0


def resume(sweep: SweepFolder, overrides: list[str], retry_failed: bool) -> int:
    """Goes on with a sweep where it was started: relative paths of its overrides begin there.

    Args:
        overrides: what changes, see ``sweeps.changing``.

    Raises:
        ConfigError: something is given that cannot change.
    """
    from dltrain.sweeps import changing
    from dltrain.sweeps.folder import SweepFolder
    from dltrain.sweeps.ledger import Ledger

    plan = sweep.read_plan()
    changed = changing.changed(plan, overrides)
    if changed != plan:
        with sweep.locked():
            sweep.write_plan(changed)
    start = Path(plan.working_directory)
    if start.is_dir() and start != Path.cwd():
        path = sweep.path.absolute()
        os.chdir(start)
        sweep = SweepFolder(path.relative_to(start) if path.is_relative_to(start) else path)
    if retry_failed:
        with sweep.locked():
            ledger = Ledger(sweep.journal)
            for trial in ledger.trials():
                if trial.status == "failed":
                    ledger.retry(trial.number)
    return drive(sweep)


def print_leaderboard(sweep: SweepFolder, places: list[Place]) -> None:
    """Prints the trials side by side, the best first, and where they lie."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dltrain.console import duration, number
    from dltrain.overrides import shown

    # A file or a pipe has no width, and a table that is folded to 80 columns serves nobody there.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    console.print()
    if len(places) > 1:
        keys = list(dict.fromkeys(key for place in places for key in place.trial.values))
        metric, spreads = sweep.read_plan().metric, any(place.trial.spread is not None for place in places)
        tested = list(dict.fromkeys(name for place in places for name in place.test))[:2]
        table = Table()
        titles = [_short(key, keys) for key in keys]
        for title in ("trial", *titles, f"best {metric}", *(["±"] if spreads else []), *tested, "epochs", "time"):
            table.add_column(Text(title), justify="left" if title in titles else "right", overflow="fold")
        lines = places if len(places) <= _MOST_LINES else places[:_BEST_LINES]
        for place in lines:
            trial = place.trial
            table.add_row(
                str(trial.number),
                *(Text(shown(trial.values.get(key, ""))) for key in keys),  # [bold] may be a list of one word
                number(trial.objective) if trial.objective is not None else _STATES.get(trial.status, trial.status),
                *([number(trial.spread) if trial.spread is not None else ""] if spreads else []),
                *(number(place.test[name]) if name in place.test else "" for name in tested),
                str(place.epochs or ""),
                duration(place.seconds) if place.seconds else "",
            )
        console.print(table)
        if len(lines) < len(places):
            rest = f"and {len(places) - len(lines)} more, all in {sweep.leaderboard}"
            console.print(rest, markup=False, soft_wrap=True)
    told = f"{_counts(places)} in {sweep.path}; the best one is {sweep.best}"
    closing = [told if places and places[0].trial.objective is not None else told.partition(";")[0]]
    closing += [f"plots and all trials: {sweep.report}"] if sweep.report.exists() else []
    for line in closing:
        console.print(line, markup=False, soft_wrap=True)


def _is_or_are(count: int) -> str:
    return "is" if count == 1 else "are"


def _first_sentence(text: str) -> str:
    return text.partition("\n")[0].partition(". ")[0]


def _counts(places: list[Place]) -> str:
    """Returns how many trials there are, and how many of them did not come to their end."""
    others = ("pruned", "failed", *_STATES)
    counted = {status: sum(place.trial.status == status for place in places) for status in others}
    notes = ", ".join(f"{count} {_STATES.get(status, status)}" for status, count in counted.items() if count)
    return f"{len(places)} trial{'s' if len(places) != 1 else ''}{f' ({notes})' if notes else ''}"


def _short(key: str, keys: list[str]) -> str:
    """Returns the last part of a key, where it says enough."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key
