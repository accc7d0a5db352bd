"""What ``dltrain board`` shows: a folder of links to the curves of runs, whose names say what differs among them.

TensorBoard calls a run by the path of its folder. A list of names (``--logdir_spec``) would turn its projector off.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from dltrain import naming, run_folder
from dltrain.errors import ConfigError
from dltrain.run_folder import RunFolder
from dltrain.sweeps.folder import SweepFolder, find_sweep

# TensorBoard takes minutes to read several hundred runs, and its pages hardly move then.
MOST_NEWEST = 50
MOST_NAMED = 200

Runs = list[RunFolder]


class Links:
    """A temporary folder with a link for each run; a context, which removes it.

    Attributes:
        left_out: how many runs are not shown because there are so many.
    """

    def __init__(self, find: Callable[[], Runs], most: int | None) -> None:
        """
        Args:
            find: returns the runs that there are to show, the newest last.
            most: how many of the newest are shown; None shows all.
        """
        self._find = find
        found = find()
        self._chosen = found if most is None else found[-most:]
        self.left_out = len(found) - len(self._chosen)
        self._ignored = {run.path for run in found} - {run.path for run in self._chosen}
        self._names: dict[Path, str] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="dltrain-board-"))

    def __enter__(self) -> Links:
        self._add(self._chosen)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)  # which removes links, and not what they point to

    @property
    def names(self) -> list[str]:
        return list(self._names.values())

    def refresh(self) -> None:
        """Adds the runs that have come since."""
        self._add([run for run in self._find() if run.path not in self._ignored])

    def _add(self, runs: Runs) -> None:
        """Adds runs; what the others are called already stays, for TensorBoard would take a new name for a new run."""
        if all(run.path in self._names for run in runs):
            return
        new = [place for place, run in enumerate(runs) if run.path not in self._names]
        names = labels_of(runs)
        for place, name in zip(new, naming.unique([names[place] for place in new], self._names.values()), strict=True):
            run = runs[place]
            self._names[run.path] = name
            (self.folder / name).symlink_to(run.tensorboard.resolve(), target_is_directory=True)


def labels_of(runs: Sequence[RunFolder]) -> list[str]:
    """Returns what to call each run. One alone is called as its folder."""
    if len(runs) == 1:
        return [naming.alone(runs[0].path)]
    return naming.labels([(run.path, naming.read_config(run.config)) for run in runs])


# --- which runs -------------------------------------------------------------------------------------------


def newest() -> Runs:
    """Returns all runs with curves under runs/, the newest last."""
    return [run for run in run_folder.all_runs() if has_curves(run)]


def named(names: Sequence[str]) -> Callable[[], Runs]:
    """Returns what finds the runs with curves that some names mean, those of a sweep's trials among them.

    Raises:
        ConfigError: a name means no run or sweep, or several, or one without curves.
    """
    chosen: list[RunFolder | SweepFolder] = []
    for name in names:
        meant = find_sweep(name) or run_folder.find_run(name)
        if not _runs_of(meant):
            raise ConfigError(f"{meant.path} has no curves: it was trained without callbacks.tensorboard")
        chosen.append(meant)
    return lambda: list({run.path.absolute(): run for meant in chosen for run in _runs_of(meant)}.values())


def _runs_of(meant: RunFolder | SweepFolder) -> Runs:
    if isinstance(meant, RunFolder):
        return [meant] if has_curves(meant) else []
    numbers = sorted(int(path.name) for path in meant.trials.glob("*") if path.name.isdigit())
    return [run for number in numbers for run in meant.runs_of(number) if has_curves(run)]


def has_curves(run: RunFolder) -> bool:
    return any(run.tensorboard.glob("events.out.tfevents.*"))
