"""The outputs of a model as columns that a person reads: class names, probabilities, values in the target's own unit.

Shapes in comments: B batch, T time, D values of a regression, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.data import IGNORED, Task, Tensors
from dltrain.losses import CTCLoss, HeadsLoss, Loss, by_head
from dltrain.prediction.rows import Columns

# Of more classes than these the probabilities of all are written only when asked for.
MOST_CLASSES = 20

PREDICTION, PROBABILITY, TRUE = "prediction", "probability", "true"

# Digits of a probability that are written, and of a value that float32 has.
_DIGITS, _FLOAT32_DIGITS = 6, 8

# Decimals that a value of the data is looked for in.
_MOST_DECIMALS = 12

Floats = NDArray[np.float64]


class Answer(ABC):
    """What one target of a task is answered with.

    Attributes:
        columns: their names in order; True for those that hold numbers.
        truths: as ``columns``, of what the target really is.
        has_probabilities: whether those of classes can be shown.
    """

    columns: dict[str, bool]
    truths: dict[str, bool]
    has_probabilities = False

    @abstractmethod
    def of(self, outputs: torch.Tensor) -> Columns:
        """Returns the columns of B outputs (B, ...), float32 on the CPU."""

    @abstractmethod
    def true(self, targets: torch.Tensor) -> Columns:
        """Returns the columns of what is true, of B targets."""


class _Values(Answer):
    """Numbers in the target's own unit."""

    def __init__(self, task: Task, loss: Loss, names: Sequence[str]) -> None:
        count, self._link = task.output_size, loss.link
        several = [*names] if len(names) == count else [str(place) for place in range(1, count + 1)]
        endings = [""] if count == 1 else [f": {name}" for name in several]
        self.columns = {f"{PREDICTION}{ending}": True for ending in endings}
        self.truths = {f"{TRUE}{ending}": True for ending in endings}
        scaled = len(task.target_scale) == count
        self._shift = np.array(task.target_shift if scaled else [0.0] * count)
        self._scale = np.array(task.target_scale) if scaled else None

    def of(self, outputs: torch.Tensor) -> Columns:
        if self._link is None:
            return self._told(outputs, self.columns)
        values = self._link(outputs.double()).reshape(len(outputs), -1).numpy()  # small rates beside a large scale
        values = values if self._scale is None else values * self._scale + self._shift
        return dict(zip(self.columns, rounded(values, _FLOAT32_DIGITS).T, strict=True))

    def true(self, targets: torch.Tensor) -> Columns:
        kept = targets.reshape(len(targets), -1).float().numpy()
        exact, within = kept.astype(np.float64), _spacing(kept)
        if self._scale is not None:  # it was shifted and scaled in float32
            exact = exact * self._scale + self._shift
            within = within * np.abs(self._scale) + _spacing(exact) + _spacing(self._shift)
        told = self._told(targets, self.truths)
        shortest = (
            _shortest(value, within, else_as)
            for value, within, else_as in zip(exact.T, within.T, told.values(), strict=True)
        )
        return dict(zip(told, shortest, strict=True))

    def _told(self, outputs: torch.Tensor, names: dict[str, bool]) -> Columns:
        values = outputs.reshape(len(outputs), -1).double().numpy()
        if self._scale is None:
            values = rounded(values, _FLOAT32_DIGITS)
        else:  # to what a float32 in front of the scaling can tell
            digits = _FLOAT32_DIGITS - 1 - np.floor(np.log10(np.abs(self._scale)))
            factor = 10.0**digits
            values = np.round((values * self._scale + self._shift) * factor) / factor
        return dict(zip(names, values.T, strict=True))


def _spacing(values: NDArray[Any]) -> Floats:
    """Returns how far off the next float32 is."""
    result: Floats = np.spacing(np.abs(values).astype(np.float32)).astype(np.float64)
    return result


def _shortest(values: Floats, within: Floats, else_as: Floats) -> Floats:
    """Returns (N,) values with as few decimals as a float32 can be told from: 34.7 for 34.6999998, as data say it.

    Args:
        within: (N,) how far off each may be.
        else_as: (N,) what stands where no few decimals are near enough.
    """
    told, is_open = else_as.copy(), np.isfinite(values)
    for decimals in range(_MOST_DECIMALS + 1):
        near = np.round(values, decimals)
        found = is_open & (np.abs(near - values) <= within)
        told[found] = near[found]
        is_open &= ~found
        if not is_open.any():
            break
    return told


class _Classes(Answer):
    """One of K classes; of two with one logit the second is a yes."""

    has_probabilities = True

    def __init__(self, task: Task, show_all: bool | None) -> None:
        count = 2 if task.kind == "binary" else task.output_size
        names = task.class_names if len(task.class_names) == count else tuple(map(str, range(count)))
        self._names = np.array([*names, None], dtype=object)
        self._is_binary = task.kind == "binary"
        shows = count <= MOST_CLASSES if show_all is None else show_all
        each = list(names) if shows else []
        self._each = [f"{PROBABILITY}: {name}" for name in each]
        self.columns = {PREDICTION: False, PROBABILITY: True, **dict.fromkeys(self._each, True)}
        self.truths = {TRUE: False}

    def of(self, outputs: torch.Tensor) -> Columns:
        if self._is_binary:
            yes = outputs.reshape(-1, 1).double().sigmoid()
            chances, places = torch.cat((1 - yes, yes), dim=1), (outputs.reshape(-1) > 0).long()
        else:
            chances, places = outputs.double().softmax(dim=1), outputs.argmax(dim=1)
        own = rounded(chances.gather(1, places[:, None])[:, 0].numpy(), _DIGITS)
        all_of_them = rounded(chances.numpy(), _DIGITS) if self._each else np.empty((len(own), 0))
        answers = {PREDICTION: self._names[places.numpy()], PROBABILITY: own}
        return {**answers, **dict(zip(self._each, all_of_them.T, strict=True))}

    def true(self, targets: torch.Tensor) -> Columns:
        if not self._is_binary and targets.dim() == 2:  # shares of classes
            targets = targets.argmax(dim=1)
        return {TRUE: self._names[targets.reshape(-1).long().numpy()]}


class _Labels(Answer):
    """Any of K labels."""

    has_probabilities = True

    def __init__(self, task: Task, show_all: bool | None) -> None:
        count = task.output_size
        self._names = task.class_names if len(task.class_names) == count else tuple(map(str, range(count)))
        shows = count <= MOST_CLASSES if show_all is None else show_all
        self._each = [f"{PROBABILITY}: {name}" for name in self._names] if shows else []
        self.columns = {PREDICTION: False, **dict.fromkeys(self._each, True)}
        self.truths = {TRUE: False}

    def of(self, outputs: torch.Tensor) -> Columns:
        chances = rounded(outputs.double().sigmoid().numpy(), _DIGITS)
        return {PREDICTION: self._joined(outputs > 0), **dict(zip(self._each, chances.T, strict=False))}

    def true(self, targets: torch.Tensor) -> Columns:
        return {TRUE: self._joined(targets > 0.5)}

    def _joined(self, is_there: torch.Tensor) -> NDArray[np.object_]:
        texts = [", ".join(self._names[place] for place in np.flatnonzero(row)) for row in is_there.numpy()]
        return np.array([*texts, None], dtype=object)[:-1]


class _StepLabels(Answer):
    """A label for each step, joined by spaces; of CTC the labels that the steps spell."""

    def __init__(self, task: Task, loss: Loss) -> None:
        self._names = task.class_names or tuple(map(str, range(task.output_size)))
        self._blank = loss.blank if isinstance(loss, CTCLoss) else None
        self.columns, self.truths = {PREDICTION: False}, {TRUE: False}

    def of(self, outputs: torch.Tensor) -> Columns:
        return {PREDICTION: self._joined(outputs.argmax(dim=2), is_spelled=True)}

    def true(self, targets: torch.Tensor) -> Columns:
        return {TRUE: self._joined(targets, is_spelled=False)}

    def _joined(self, steps: torch.Tensor, *, is_spelled: bool) -> NDArray[np.object_]:
        texts = []
        for row in steps.tolist():
            kept = [step for step in row if step != IGNORED]
            if self._blank is not None:
                if is_spelled:
                    kept = [step for place, step in enumerate(kept) if place == 0 or step != kept[place - 1]]
                kept = [step for step in kept if step != self._blank]
            texts.append(" ".join(self._names[step] for step in kept))
        return np.array([*texts, None], dtype=object)[:-1]


class Answers:
    """What all targets of a task are answered with; the columns of several have the target's name before them.

    Attributes:
        columns, truths: as of ``Answer``.
    """

    def __init__(self, task: Task, loss: Loss, *, names: Sequence[str] = (), show_all: bool | None = None) -> None:
        """
        Args:
            names: of the values of a regression of several.
            show_all: the probabilities of all classes; None shows them where the classes are few.
        """
        self._task = task
        heads = task.heads or {"": task}
        losses = loss.heads if isinstance(loss, HeadsLoss) else {"": loss}
        self.each = {name: _answer(head, losses[name], names, show_all) for name, head in heads.items()}
        self.columns = self._named([(name, answer.columns) for name, answer in self.each.items()])
        self.truths = self._named([(name, answer.truths) for name, answer in self.each.items()])

    @property
    def has_probabilities(self) -> bool:
        return any(answer.has_probabilities for answer in self.each.values())

    @property
    def kind(self) -> str:
        """What is predicted, in words, where it has no probabilities."""
        return "numbers" if all(isinstance(answer, _Values) for answer in self.each.values()) else "labels of steps"

    def of(self, outputs: Tensors) -> Columns:
        """Returns the columns of B outputs (B, ...) or several by name, on the CPU; NaN and None where they are NaN."""
        named = by_head(self._task, outputs) if self._task.heads else {"": outputs}
        found: Columns = {}
        for name, answer in self.each.items():
            output = named[name]
            assert isinstance(output, torch.Tensor)
            output = output.float()
            missing = torch.isnan(output).reshape(len(output), -1).any(dim=1).numpy()
            columns = answer.of(output)
            for column, cells in columns.items():
                if missing.any():
                    cells[missing] = np.nan if answer.columns[column] else None
                found[_prefixed(name, column)] = cells
        return found

    def true(self, targets: Tensors) -> Columns:
        named = targets if isinstance(targets, dict) else {"": targets}
        found = ((name, answer.true(named[name])) for name, answer in self.each.items())
        return {_prefixed(name, column): cells for name, columns in found for column, cells in columns.items()}

    def _named(self, parts: list[tuple[str, dict[str, bool]]]) -> dict[str, bool]:
        return {_prefixed(name, column): is_number for name, columns in parts for column, is_number in columns.items()}


def _prefixed(head: str, column: str) -> str:
    return f"{head}: {column}" if head else column


def _answer(task: Task, loss: Loss, names: Sequence[str], show_all: bool | None) -> Answer:
    if task.kind == "regression":
        return _Values(task, loss, names)
    if task.kind == "multilabel":
        return _Labels(task, show_all)
    if task.kind == "sequence_labels":
        return _StepLabels(task, loss)
    return _Classes(task, show_all)


def rounded(values: Floats, digits: int) -> Floats:
    """Returns values with so many significant digits, which say all that there is to say and are written short."""
    size = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = 10.0 ** (digits - 1 - np.floor(np.log10(np.where((size > 0) & np.isfinite(size), size, 1.0))))
        result: Floats = np.where(np.isfinite(values), np.round(values * factor) / factor, values)
    return result
