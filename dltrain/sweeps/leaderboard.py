"""The trials of a sweep side by side, the best first."""

from __future__ import annotations

import csv
import io
import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from dltrain.errors import DltrainError
from dltrain.overrides import shown
from dltrain.run_folder import write_file
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger, Trial


@dataclass(frozen=True)
class Place:
    """A trial on the leaderboard.

    Attributes:
        results: what its runs reported, by the name of the part; {} where it never came so far.
        before: what ``leaderboard.csv`` said of it last, which holds where 'runs prune' removed some of its runs.
        has_folder: whether its folder is there: 'runs prune' removes some, and of a trial that waits there is none yet.
    """

    trial: Trial
    results: dict[str, dict[str, Any]]
    before: dict[str, str] = field(default_factory=dict)
    has_folder: bool = True

    @property
    def has_ended(self) -> bool:
        return self.trial.status in ("done", "pruned", "failed")

    @property
    def _is_as_before(self) -> bool:
        return (
            bool(self.before)
            and self.has_ended
            and sum(map(bool, self.results.values())) < max(1, len(self.trial.parts))
        )

    @property
    def test(self) -> dict[str, float]:
        """The figures on the test split, of several runs their means."""
        if self._is_as_before:
            return {name: float(text) for name, text in self.before.items() if name.startswith("test/") and text}
        named: dict[str, list[float]] = {}
        for result in self.results.values():
            for name, value in result.get("test", {}).items():
                named.setdefault(name, []).append(value if isinstance(value, (int, float)) else float("nan"))
        return {name: statistics.fmean(values) for name, values in named.items()}

    @property
    def epochs(self) -> int:
        """Of all its runs."""
        if self._is_as_before:
            return int(self.before["epochs"] or 0)
        return sum(result.get("epochs", 0) for result in self.results.values())

    @property
    def seconds(self) -> float:
        """Of training in all its runs."""
        if self._is_as_before:
            return float(self.before["seconds"] or 0.0)
        return round(math.fsum(result.get("seconds", 0.0) for result in self.results.values()), 3)


def ranked(folder: SweepFolder) -> list[Place]:
    """Returns all trials: the done ones by their objective, then the others by number."""
    ledger = Ledger(folder.journal)
    sign = -1 if ledger.higher_is_better else 1

    def rank(trial: Trial) -> tuple[bool, float, int]:
        return trial.objective is None, 0.0 if trial.objective is None else sign * trial.objective, trial.number

    before = _before(folder)

    def placed(trial: Trial) -> Place:
        has_folder = folder.trial(trial.number).path.is_dir()
        return Place(trial, _results(folder, trial), before.get(trial.number, {}), has_folder)

    return [placed(trial) for trial in sorted(ledger.trials(), key=rank)]


def _before(folder: SweepFolder) -> dict[int, dict[str, str]]:
    """Returns the rows of ``leaderboard.csv`` by the number of their trial; none where it cannot be read."""
    try:
        with folder.leaderboard.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
        for row in rows:  # edited by hand, perhaps
            _ = int(row["epochs"] or 0), float(row["seconds"] or 0)
            _ = [float(text or 0) for name, text in row.items() if name.startswith("test/")]
        return {int(row["trial"]): row for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
        return {}


def has_left(folder: SweepFolder) -> bool:
    """Tells whether a sweep has trials that have not ended."""
    return sum(place.has_ended for place in ranked(folder)) < folder.read_plan().trials


def write(folder: SweepFolder, places: list[Place], *, report: bool = True) -> None:
    """Writes ``leaderboard.csv``, lets ``best`` point at the best run, and writes ``report.html`` if wanted."""
    plan = folder.read_plan()
    ledger = Ledger(folder.journal)
    write_file(folder.leaderboard, _csv(folder, places, plan.metric))
    folder.point_best(_best_run(folder, places[0].trial, ledger.higher_is_better) if places else None)
    if report and plan.report and places:
        from dltrain.sweeps import report as page

        page.write(folder, places, ledger.study, plan.metric, ledger.higher_is_better)


def _csv(folder: SweepFolder, places: list[Place], metric: str) -> str:
    swept = list(dict.fromkeys(key for place in places for key in place.trial.values))
    tested = list(dict.fromkeys(name for place in places for name in place.test))
    spreads = any(place.trial.spread is not None for place in places)
    parts = list(dict.fromkeys(part for place in places for part in place.trial.parts))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    titles = ["rank", "trial", "status", *swept, metric, *(["spread", *parts] if spreads else []), *tested]
    table.writerow([*titles, "epochs", "seconds", "folder", "reason"])
    for rank, place in enumerate(places, 1):
        trial, row = place.trial, list[Any]()
        row += [rank if trial.objective is not None else "", trial.number, trial.status]
        row += [shown(trial.values.get(key, "")) for key in swept]
        row.append(trial.objective)  # of None nothing is written
        if spreads:
            row += [trial.spread, *(trial.parts.get(part, "") for part in parts)]
        row += [place.test.get(name, "") for name in tested]
        row += [place.epochs or "", place.seconds or "", f"trials/{trial.number}" if place.has_folder else ""]
        table.writerow([*row, (trial.reason or "").partition("\n")[0]])
    return text.getvalue()


def _best_run(folder: SweepFolder, best: Trial, higher_is_better: bool) -> Any:
    """Returns the folder of the best trial's run, of several the best one's; None where no trial is done."""
    if best.objective is None:
        return None
    chosen = max if higher_is_better else min
    part = chosen(best.parts, key=best.parts.__getitem__) if best.parts else ""
    return folder.run(best.number, part).path


def _results(folder: SweepFolder, trial: Trial) -> dict[str, dict[str, Any]]:
    results = {}
    for run in folder.runs_of(trial.number):
        try:
            results[run.path.name if run.path.parent != folder.trials else ""] = run.read_result()
        except DltrainError:  # a damaged file of one trial hides no other
            continue
    return results
