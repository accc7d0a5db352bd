"""Trainings and sweeps from Python: in a notebook, a script or a thread, of which nothing is left but the run folder.

What a training sets for its process is afterwards as it was before: random number generators, PyTorch's threads, the
handlers of signals, logging and warnings, and Hydra's global state. Two things stay: the folders in which modules of
``imports`` were looked for are in ``sys.path``, and freed memory is kept for reuse (``device.keep_freed_memory``).
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dltrain import compose, config, config_files, console, guest, hydra_state, resume_rules, run, saved, signals
from dltrain.errors import ConfigError, DltrainError, Interrupted, MachineError
from dltrain.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from dltrain.api import Run

Result = TypeVar("Result")

# Random number generators, signals and Hydra's state are of the process: trainings in several threads take turns.
_turn = threading.RLock()


def train(
    overrides: Sequence[str] = (), *, config_dir: str | Path | Sequence[str | Path] | None = None, progress: bool = True
) -> Run:
    """Trains a run, as ``dltrain key=value ...`` does; see ``dltrain.train``."""
    __tracebackhide__ = True  # from IPython: what it shows of a mistake in the config is the cell
    folder = _as_guest(lambda: _trained(_checked(overrides), config_files.given_dirs(config_dir)), progress)
    from dltrain.api import load

    return load(folder)


def _trained(overrides: list[str], folders: list[Path]) -> Path:
    container = compose.compose(overrides, folders).container
    loaded = config.load(container, (*folders, *config_files.user_dirs()))
    folder = RunFolder(Path(loaded.run_dir)) if loaded.run_dir is not None else None
    outcome: run.Outcome | None
    if loaded.resume and folder is not None and folder.config.exists():
        outcome = _go_on(folder, container, overrides, folders)
    else:
        outcome = run.train(loaded, container, overrides)
        folder = outcome.folder
    if (loaded if outcome is None else outcome.parts.config).report:
        from dltrain.report.run import after_training, where_missing

        if outcome is None:
            where_missing(folder, [str(place) for place in folders])
        else:
            after_training(outcome)
    return folder.path.absolute()


def _go_on(
    folder: RunFolder, container: dict[str, Any], overrides: list[str], folders: list[Path]
) -> run.Outcome | None:
    """Goes on with the run that ``run_dir`` holds, as ``resume=true`` asks for; None where it is finished.

    Raises:
        ConfigError: it was started with other settings, of those that may not change.
    """
    container, changes = resume_rules.taken_over(saved.saved_config(folder), container, overrides, folder.path)
    loaded = saved.load_config(container, folder, [str(path) for path in folders])
    return run.resume(folder, loaded, container, [change.override for change in changes])


# --- sweeps -----------------------------------------------------------------------------------------------


class Sweep:
    """A sweep that has ended.

    Attributes:
        path: its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Sweep({str(self.path)!r})"

    @property
    def leaderboard(self) -> pd.DataFrame:
        """The trials, the best first: what was searched, the metric, the test figures; as in ``leaderboard.csv``."""
        import pandas as pd

        return pd.read_csv(self.path / "leaderboard.csv")

    @property
    def best(self) -> Run:
        """The best run.

        Raises:
            ConfigError: no trial has come to its end.
        """
        from dltrain.api import load

        best = self.path / "best"
        if not best.exists():
            raise ConfigError(f"{self.path} has no best run: no trial has come to its end")
        return load(best.resolve())


def sweep(
    overrides: Sequence[str], *, config_dir: str | Path | Sequence[str | Path] | None = None, progress: bool = True
) -> Sweep:
    """Trains a sweep, as ``dltrain -m key=v1,v2 ...`` does; see ``dltrain.sweep``."""
    __tracebackhide__ = True
    return Sweep(_as_guest(lambda: _swept(_checked(overrides), config_files.given_dirs(config_dir)), progress))


def _swept(overrides: list[str], folders: list[Path]) -> Path:
    with warnings.catch_warnings():  # tqdm, which Optuna imports, misses widgets that nobody would see here
        warnings.simplefilter("ignore")
        from dltrain import multirun
    from dltrain.sweeps import leaderboard

    folder = multirun.start(overrides, folders)
    try:
        with signals.raising():
            multirun.drive(folder)
    except Interrupted as error:
        leaderboard.write(folder, leaderboard.ranked(folder), report=False)
        raise Interrupted(
            f"{error}; what was under way is saved. Go on with: dltrain resume {folder.path}", error.exit_code - 128
        ) from error
    leaderboard.write(folder, leaderboard.ranked(folder))
    return folder.path.absolute()


# --- what both need ---------------------------------------------------------------------------------------


def _checked(overrides: Sequence[str]) -> list[str]:
    """
    Raises:
        ConfigError: they are no list of texts, or one of them is a flag of the command line.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"overrides is a list of texts: [{', '.join(map(repr, overrides.split()))}]")
    if not isinstance(overrides, Iterable):
        raise ConfigError(f"overrides = {overrides!r}: give a list of texts such as ['optimizer.lr=0.1']")
    texts = list(overrides)
    for text in texts:
        if not isinstance(text, str):
            raise ConfigError(f"overrides: {text!r} is a {type(text).__name__}. Give texts such as 'optimizer.lr=0.1'")
        if text in ("-m", "--multirun"):
            raise ConfigError(
                f"{text}: a flag of the command line. dltrain.train trains one run, and "
                "dltrain.sweep(['optimizer.lr=0.1,0.01', ...]) several"
            )
        if text.startswith("-"):
            raise ConfigError(
                f"{text}: a flag of the command line. Here stand settings alone; config_dir is an argument"
            )
    return texts


def _has_place() -> bool:
    """Tells whether the working directory is there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _as_guest(train: Callable[[], Result], progress: bool) -> Result:
    """Calls what trains, and gives the process back as it was.

    Raises:
        DltrainError: without the frames of what raised it, which hold the model and the data, unless
            ``DLTRAIN_TRACEBACK=1`` asks for them.
    """
    __tracebackhide__ = True
    level = logging.INFO if progress else logging.WARNING
    with _turn:
        try:
            with guest.restored(), hydra_state.kept(), console.lent(level), signals.as_guest():
                return train()
        except FileNotFoundError as error:
            if _has_place():
                raise
            raise MachineError("the working directory is gone. Change to another one: os.chdir(...)") from error
        except DltrainError as error:
            if os.environ.get("DLTRAIN_TRACEBACK") == "1":
                raise
            raise error.with_traceback(None) from None
