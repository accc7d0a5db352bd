"""A run's own data predicted: a split in the order in which its samples stand, beside what is true of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dltrain import device
from dltrain.config import Config
from dltrain.console import log
from dltrain.data import IGNORED, Batch, Split, Tensors
from dltrain.errors import ConfigError
from dltrain.evaluate import outputs_of
from dltrain.losses import HeadsLoss
from dltrain.prediction.answers import PREDICTION, TRUE, Answers
from dltrain.prediction.model import moved
from dltrain.prediction.options import refuse_probabilities
from dltrain.prediction.predictor import NUMBER
from dltrain.prediction.rows import Columns
from dltrain.readable import Reader
from dltrain.run_folder import RunFolder
from dltrain.trained import load_trained

if TYPE_CHECKING:
    from dltrain.assembly import Parts

RIGHT, STEPS = "right", "steps"


def predicted(
    folder: RunFolder,
    config: Config,
    checkpoint: str,
    name: str,
    *,
    show_all: bool | None = None,
    keep: Sequence[str] = (),
    numbers: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yields the columns of some samples, after some samples.

    Where a sample has a target at each step, as in a text, each step is given the true ones before it, as evaluation
    does; ``right`` and ``steps`` count how many are predicted right, and how many there are.

    Args:
        show_all: the probabilities of all classes; None shows them where the classes are few.
        keep: "all" puts what the model was given before the predictions, as a person reads it.
        numbers: the place of each sample in its split, from 1, comes first.

    Raises:
        ConfigError: the data have no such split, something else than all is to be kept or nothing can be, or there are
            no probabilities that could be shown.
        CheckpointError: see ``trained.load_trained``.
    """
    others = [given for given in keep if given != "all"]
    if others:
        raise ConfigError(f"--keep {others[0]}: of the run's own data give --keep all, or leave it out")
    parts, _ = load_trained(folder, config, checkpoint)
    if name not in parts.data.splits:
        raise ConfigError(f"--split {name}: this data has none. There is: {', '.join(parts.data.splits)}")
    if parts.data.evaluates_training_data and name == "validation":
        log.info("there is no validation split: these are the training data")
    split = parts.split(name)
    order = split.evaluation_order()
    found = _batches(parts, split, show_all, keeps=bool(keep))
    if order is not None:
        found = iter([_put_in_order(list(found), order.numpy())])
    first = 1
    for columns in found:
        count = len(next(iter(columns.values())))
        own = {NUMBER: np.arange(first, first + count).astype(object)} if numbers else {}
        yield {**own, **columns}
        first += count


def _batches(parts: Parts, split: Split, show_all: bool | None, *, keeps: bool) -> Iterator[dict[str, Any]]:
    task, loss = parts.data.task, parts.loss
    reader = Reader(parts.data, loss)
    is_text = task.per_step and task.kind != "sequence_labels"
    answers = Answers(task, loss, names=_names(parts), show_all=show_all) if not is_text else None
    if show_all and (answers is None or not answers.has_probabilities):
        raise refuse_probabilities("texts" if answers is None else answers.kind)
    autocast = device.autocast(parts.device, parts.config.device.precision)
    parts.model.eval()
    for batch in split.batches(epoch=0):
        with torch.inference_mode():
            outputs = moved(outputs_of(parts.model, batch.inputs, autocast), torch.device("cpu"))
        targets = moved(batch.targets, torch.device("cpu"))
        inputs = _inputs(reader, batch) if keeps else {}
        if answers is None:
            yield {**inputs, **_steps(reader, outputs, targets)}
        else:
            counted = _counted(outputs, targets) if task.per_step and not isinstance(loss, HeadsLoss) else {}
            counted = counted if loss.aligned else {}
            yield {**inputs, **answers.true(targets), **answers.of(outputs), **counted}


def _names(parts: Parts) -> list[str]:
    """Returns what the values of a regression of several are called."""
    kept = parts.data.preprocessing
    if "window" in kept and "columns" in kept and parts.data.task.kind == "regression":
        from dltrain.prediction.inputs_series import SeriesForm

        form = SeriesForm.of(kept, parts.config.data, has_values=True)
        if form.differences:
            log.info("these are changes from the window's last row, as the model predicts them")
        return form.names
    return []


def _inputs(reader: Reader, batch: Batch) -> dict[str, Any]:
    """Returns what the model was given, as a person reads it.

    Raises:
        ConfigError: nobody can read it.
    """
    names, rows = reader.inputs(batch)
    if not names:
        raise ConfigError(
            "--keep all: what this model was given, such as images, cannot stand in a table. Leave it out"
        )
    taken = {PREDICTION, TRUE, NUMBER}
    columns = zip(*rows, strict=True) if rows and names else [[] for _ in names]
    return {
        f"{name} (input)" if name in taken else name: list(cells) for name, cells in zip(names, columns, strict=True)
    }


def _steps(reader: Reader, outputs: Tensors, targets: Tensors) -> Columns:
    """Returns the texts that the steps spell, and how many of them are right."""
    told = reader.told(outputs, targets)[""]
    true, own = ([*(one.words[place] for one in told), None] for place in (0, 1))
    columns = {TRUE: np.array(true, dtype=object)[:-1], PREDICTION: np.array(own, dtype=object)[:-1]}
    return {**columns, **_counted(outputs, targets)}


def _counted(outputs: Tensors, targets: Tensors) -> Columns:
    assert isinstance(outputs, torch.Tensor) and isinstance(targets, torch.Tensor)
    has_target = targets != IGNORED
    right = (outputs.argmax(dim=2) == targets) & has_target
    return {RIGHT: right.sum(dim=1).numpy().astype(object), STEPS: has_target.sum(dim=1).numpy().astype(object)}


def _put_in_order(parts: list[dict[str, Any]], order: Any) -> dict[str, Any]:
    """Returns batches as one, each sample at its place in the split."""
    places = np.argsort(order)
    return {
        name: np.concatenate([np.asarray(part[name], dtype=_type(part[name])) for part in parts])[places]
        for name in parts[0]
    }


def _type(cells: Any) -> Any:
    return cells.dtype if isinstance(cells, np.ndarray) else object
