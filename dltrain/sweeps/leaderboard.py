"""The trials of a sweep side by side, the best first."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

from dltrain.errors import DltrainError
from dltrain.run_folder import write_file
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger, Trial


@dataclass(frozen=True)
class Place:
    """A trial on the leaderboard.

    Attributes:
        result: what its run reported; {} where it never came so far.
    """

    trial: Trial
    result: dict[str, Any]


def ranked(folder: SweepFolder) -> list[Place]:
    """Returns all trials: the done ones by their objective, then the others by number."""
    ledger = Ledger(folder.journal)
    sign = -1 if ledger.higher_is_better else 1

    def rank(trial: Trial) -> tuple[bool, float, int]:
        return trial.objective is None, 0.0 if trial.objective is None else sign * trial.objective, trial.number

    return [Place(trial, _result(folder, trial)) for trial in sorted(ledger.trials(), key=rank)]


def write(folder: SweepFolder, places: list[Place]) -> None:
    """Writes ``leaderboard.csv``, and lets ``best`` point at the best trial."""
    metric = folder.read_plan().metric
    swept = list(dict.fromkeys(key for place in places for key in place.trial.values))
    tested = list(dict.fromkeys(name for place in places for name in place.result.get("test", {})))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "trial", "status", *swept, metric, *tested, "epochs", "seconds", "folder", "reason"])
    for rank, place in enumerate(places, 1):
        trial, result = place.trial, place.result
        table.writerow(
            [
                rank if trial.objective is not None else "",
                trial.number,
                trial.status,
                *(trial.values.get(key, "") for key in swept),
                "" if trial.objective is None else trial.objective,
                *(result.get("test", {}).get(name, "") for name in tested),
                result.get("epochs", ""),
                result.get("seconds", ""),
                f"trials/{trial.number}",
                (trial.reason or "").partition("\n")[0],
            ]
        )
    write_file(folder.leaderboard, text.getvalue())
    best = places[0].trial if places and places[0].trial.objective is not None else None
    folder.point_best(None if best is None else best.number)


def _result(folder: SweepFolder, trial: Trial) -> dict[str, Any]:
    try:
        return folder.trial(trial.number).read_result()
    except DltrainError:  # a damaged file of one trial hides no other
        return {}
