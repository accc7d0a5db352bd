"""A finished run in Python: its settings, its figures, its model, and what that says of new inputs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import numbers
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dltrain import config_files, run_folder, saved
from dltrain.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from dltrain.config import Config
    from dltrain.data import Task
    from dltrain.prediction.choosing import Takes
    from dltrain.prediction.model import Trained

    New: TypeAlias = pd.DataFrame | NDArray[Any] | torch.Tensor | Sequence[str] | Sequence[Path] | str | Path


def _is_count(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, numbers.Integral) and int(value) >= 1


def load(
    run: str | Path,
    *,
    checkpoint: str = "best",
    device: str | None = None,
    config_dir: str | Path | Sequence[str | Path] | None = None,
) -> Run:
    """Returns a run; see ``dltrain.load``."""
    folder = run_folder.find_run(str(run))
    given = list(map(str, config_files.given_dirs(config_dir)))
    config = saved.load_config(saved.saved_config(folder), folder, given)
    if device is not None:
        if device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device = {device!r}: must be auto, cpu or cuda")
        config = dataclasses.replace(config, device=dataclasses.replace(config.device, name=device))  # type: ignore[arg-type]
    return Run(folder.path, config, checkpoint)


class Run:
    """A run, as ``dltrain.load`` or ``dltrain.train`` gives it.

    Its files are read as they are asked for, so that a run which is still being trained can be looked at.

    Example::

        run = dltrain.load("last")
        run.history.plot(x="epoch", y=["train/loss", "val/loss"])
        run.predict(pandas.read_csv("new.csv"))

    Attributes:
        path: its folder.
        checkpoint: whose weights ``model`` has: "best", "last", or another of its checkpoints.
    """

    def __init__(self, path: Path, config: Config, checkpoint: str = "best") -> None:
        self.path, self.checkpoint = path, checkpoint
        self._folder, self._config = run_folder.RunFolder(path.absolute()), config  # the program may go elsewhere

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # --- what the folder keeps ----------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """Its settings, as in ``config.yaml``.

        Example::

            run.config["optimizer"]["lr"]

        Raises:
            CheckpointError: the file is damaged.
        """
        return saved.saved_config(self._folder)

    @functools.cached_property
    def task(self) -> Task:
        """What its model has learned: the kind of task, the inputs, and the classes.

        Example::

            run.task.class_names

        Raises:
            CheckpointError: the run ended before its data was read.
        """
        return saved.saved_task(self._folder)

    @property
    def result(self) -> dict[str, Any]:
        """What it reported at its end, as in ``result.json``; {} where it has not ended.

        Example::

            run.result["test"]["test/accuracy"]
        """
        return self._folder.read_result()

    @property
    def history(self) -> pd.DataFrame:
        """A row for each evaluation, as in ``metrics.jsonl``: epoch, step, lr, train/loss, val/loss and the others.

        Example::

            run.history["val/loss"].min()

        Raises:
            CheckpointError: its folder is gone.
        """
        import pandas as pd

        from dltrain.history import History

        self._folder.check_there()
        return pd.DataFrame(list(History(self._folder.metrics).rows()))

    # --- the model ----------------------------------------------------------------------------------------

    @property
    def model(self) -> nn.Module:
        """Its model with the weights of the checkpoint, in evaluation mode, on the run's device. Read once.

        It takes inputs as the training prepared them; ``predict`` takes them as they are.

        Example::

            sum(parameter.numel() for parameter in run.model.parameters())

        Raises:
            CheckpointError: there is no such checkpoint, or it is damaged.
        """
        return self._trained.model

    @functools.cached_property
    def _trained(self) -> Trained:
        from dltrain.prediction import model

        with _as_guest():
            return model.load(self._folder, self._config, self.checkpoint)

    @functools.cached_property
    def _takes(self) -> Takes:
        from dltrain.prediction.choosing import Takes

        return Takes(self._trained)

    def predict(
        self,
        x: New,
        probabilities: bool = False,
        *,
        batch_size: int | None = None,
        strict: bool = True,
    ) -> NDArray[Any] | pd.DataFrame:
        """Returns what the model says of new inputs, which are prepared as the training prepared its own.

        Example::

            run.predict(["볼만했다", "돈이 아깝다"])                    # array(['1', '0'], dtype=object)
            run.predict(frame, probabilities=True)["probability"]
            run.predict(images)                                        # (N, 28, 28) uint8

        Args:
            x: of tables a DataFrame, or an array or tensor (N, D) of the columns in the order of the training, in their
                own units; of series the rows in order, or windows (N, window, D); of images (N, H, W), (N, C, H, W) or
                (N, H, W, C) from 0 to 255, or paths; of texts a list of them. Of each also a path, of what
                ``dltrain predict`` takes.
            probabilities: a DataFrame with the probability of what is predicted, and of each class; of numbers, their
                columns.
            batch_size: samples that are computed at once; None takes ``trainer.evaluation_batch_size``.
            strict: a row that cannot be used is an error; else its prediction is None or NaN, and the DataFrame has a
                column ``error`` that says why.

        Returns:
            (N,) class names, texts or, as float64, values in the target's unit; (N, K) of several values; a DataFrame
            with ``probabilities``, and where there are several targets.

        Raises:
            ConfigError: the run takes no inputs of this kind.
            DataError: they are not as the model needs them, or a row cannot be used.
        """
        from dltrain.prediction import memory

        if batch_size is not None and not _is_count(batch_size):
            raise ConfigError(f"batch_size = {batch_size!r}: must be a whole number, at least 1")
        size = int(batch_size or self._config.trainer.evaluation_batch_size)
        takes = self._takes
        with _as_guest(draws=False):
            return memory.predict(takes, x, probabilities=probabilities, batch_size=size, strict=strict)

    def evaluate(self, split: str | None = None) -> dict[str, float]:
        """Returns the model's figures on a split of its own data, which are read for it.

        Example::

            run.evaluate("validation")["accuracy"]

        Args:
            split: "train", "validation" or "test"; None takes the test where the data has one, else the validation.

        Raises:
            CheckpointError: the data are not those that the run was trained on.
            ConfigError: the data have no such split.
            DataError: they cannot be read.
        """
        from dltrain import device
        from dltrain.evaluate import evaluate
        from dltrain.guards import memory_errors
        from dltrain.metrics import Metrics
        from dltrain.trained import load_trained

        with _as_guest(), memory_errors(self._config):
            parts, _ = load_trained(self._folder, self._config, self.checkpoint)
            name = split or ("test" if parts.data.test is not None else "validation")
            if name not in parts.data.splits:
                raise ConfigError(f"split = {split!r}: this data has none. There is: {', '.join(parts.data.splits)}")
            metrics = Metrics(parts.data.task, parts.loss, evaluating=True)
            autocast = device.autocast(parts.device, self._config.device.precision)
            return evaluate(parts.model, parts.split(name), parts.loss, metrics, autocast)


@contextlib.contextmanager
def _as_guest(*, draws: bool = True) -> Iterator[None]:
    """Shows the log's lines, and gives the process back at the end of the block as it was.

    Args:
        draws: whether random numbers are drawn, as the first weights of a model are.
    """
    from dltrain import console, guest

    with guest.restored(draws=draws), console.lent(logging.INFO):
        yield
