"""dltrain: train deep-learning models from the command line, or from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dltrain.api import Run
    from dltrain.notebook import Sweep

__version__ = "0.1.0"


def train(
    overrides: Sequence[str] = (), *, config_dir: str | Path | Sequence[str | Path] | None = None, progress: bool = True
) -> Run:
    """Trains a run in a new folder under ``runs/``, as ``dltrain key=value ...`` does, and returns it.

    What the process had before it has afterwards: random number generators, threads, signals, logging, warnings, and
    Hydra's global state; see ``dltrain.notebook``. It may be called again, and in a thread.

    Args:
        overrides: settings and choices, such as ``["model=lstm", "data=korean_text", "trainer.max_epochs=50"]``. With
            ``run_dir=FOLDER`` and ``resume=true`` a run that lies there already goes on.
        config_dir: a folder, or several, of your own YAML files and modules.
        progress: whether the figures are shown as they come; warnings are, in any case.

    Raises:
        DltrainError: with what the command line would say: ``ConfigError``, ``DataError``, ``MachineError``, ...
        Interrupted: Ctrl-C, or a notebook's stop button, came; the state is saved, and the message says how to go on.
        TimeUp: ``trainer.max_time`` is used up; the state is saved.
    """
    from dltrain import notebook

    __tracebackhide__ = True
    return notebook.train(overrides, config_dir=config_dir, progress=progress)


def sweep(
    overrides: Sequence[str], *, config_dir: str | Path | Sequence[str | Path] | None = None, progress: bool = True
) -> Sweep:
    """Trains a sweep in a new folder under ``runs/sweeps/``, as ``dltrain -m key=v1,v2 ...`` does, and returns it.

    Args:
        overrides: as for ``train``, with what is searched: ``["optimizer.lr=0.1,0.01"]``,
            ``["model.dropout=interval(0,0.5)", "sweep.trials=20"]``.
        config_dir, progress: as for ``train``.

    Raises:
        DltrainError: see ``train``. A trial that fails is none: it stands in the leaderboard.
    """
    from dltrain import notebook

    __tracebackhide__ = True
    return notebook.sweep(overrides, config_dir=config_dir, progress=progress)


def load(
    run: str | Path,
    *,
    checkpoint: str = "best",
    device: str | None = None,
    config_dir: str | Path | Sequence[str | Path] | None = None,
) -> Run:
    """Returns a run with its settings, figures and model, which predicts new inputs::

        run = dltrain.load("last")
        run.predict(frame)

    Nothing is read of the data that it was trained on; see ``dltrain.api.Run``.

    Args:
        run: its folder, a unique part of its name, or "last".
        checkpoint: whose weights the model has: "best", "last", or another of its checkpoints.
        device: "cpu", "cuda" or "auto"; None takes that of the run.
        config_dir: a folder, or several, of the modules of your own that it was trained with.

    Raises:
        ConfigError: no run or several are meant, or a module of yours is not found.
        CheckpointError: its settings are damaged.
    """
    from dltrain import api

    return api.load(run, checkpoint=checkpoint, device=device, config_dir=config_dir)
