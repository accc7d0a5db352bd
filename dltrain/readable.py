"""Samples as a person reads them, beside what a model says of them: texts as text, values in their own units.

Shapes in comments: B batch, T time, D features, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dltrain.console import number
from dltrain.data import IGNORED, Batch, Data, InputSpec, Task, Tensors
from dltrain.data.text.tokens import END, PADDING, START, TextCodec, join
from dltrain.losses import CTCLoss, HeadsLoss, Loss, by_head
from dltrain.pictures import are_images
from dltrain.preview import inputs_of, targets_of
from dltrain.preview_features import Feature, features_of, unscaled

# A table with more columns than this is not read by anyone.
_MOST_COLUMNS = 60
_MOST_VALUES = 8


@dataclass(frozen=True)
class Told:
    """One target of one sample.

    Attributes:
        probability: of what is predicted; None where the model gives none.
    """

    true: str
    predicted: str
    probability: float | None = None

    @property
    def is_right(self) -> bool:
        return self.true == self.predicted

    @property
    def words(self) -> tuple[str, str]:
        return self.true, self.predicted


@dataclass(frozen=True)
class Entry:
    """One sample, and what a model says of it.

    Attributes:
        place: in its split, from 0.
        told: by the target's name, "" for the only one.
        inputs: the cells of its row by the names of their columns; {} of an image.
        image: (C, H, W) as a model gets it; None where it is none.
    """

    place: int
    told: dict[str, Told]
    inputs: dict[str, str]
    loss: float | None = None
    image: torch.Tensor | None = None


def table(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Returns the names of columns and a row for each sample: its place, what is true and predicted, and its inputs."""
    first = entries[0]
    has_chance = {name: any(entry.told[name].probability is not None for entry in entries) for name in first.told}
    header = ["index"]
    for name in first.told:
        words = ("true", "predicted", "probability") if has_chance[name] else ("true", "predicted")
        header += [f"{name}: {word}" if name else word for word in words]
    header += ([] if first.loss is None else ["loss"]) + list(first.inputs)
    rows = []
    for entry in entries:
        row = [str(entry.place)]
        for name, told in entry.told.items():
            chance = "" if told.probability is None else f"{told.probability:.4f}"
            row += [told.true, told.predicted, chance] if has_chance[name] else [told.true, told.predicted]
        row += [] if entry.loss is None else [f"{entry.loss:.6g}"]
        rows.append([*row, *entry.inputs.values()])
    return header, rows


class Reader:
    """Puts the samples of a data set, and a model's outputs for them, into words."""

    def __init__(self, data: Data, loss: Loss) -> None:
        self.data, self.task, self.loss = data, data.task, loss
        self.are_images = are_images(data)

    # --- inputs -------------------------------------------------------------------------------------------

    def inputs(self, batch: Batch) -> tuple[list[str], list[list[str]]]:
        """Returns the names of columns, and each sample's cells; of images there is nothing to read."""
        names: list[str] = []
        columns: list[list[str]] = []
        for name, tensor, spec in inputs_of(self.task, batch):
            if self.task.kind == "seq2seq" and name == "target":  # the answer that is to be told
                continue
            for title, cells in self._columns(name, tensor.cpu(), spec):
                names.append(f"{name}: {title}" if name and title != name else title)
                columns.append(cells)
        rows = [[column[place] for column in columns] for place in range(batch.size)]
        return names, rows

    def _columns(self, name: str, tensor: torch.Tensor, spec: InputSpec) -> Iterator[tuple[str, list[str]]]:
        codec = codec_of(self.data, name)
        if tensor.dim() == 2 and spec.dtype == "int64":
            yield name or "text", [text_of(row, codec) for row in tensor.tolist()]
        elif tensor.dim() == 2 and codec is not None:  # of a text whose order is not kept
            yield name or "tokens", [_bag(row, codec.vocabulary.tokens) for row in tensor]
        elif tensor.dim() == 2:
            yield from _table_columns(features_of(self.data, name, tensor.shape[1]), tensor.double())
        elif tensor.dim() == 3:
            yield from _series_columns(features_of(self.data, name, tensor.shape[2]), tensor.double())

    # --- targets and outputs ------------------------------------------------------------------------------

    def told(self, outputs: Tensors, targets: Tensors) -> dict[str, list[Told]]:
        """Returns each target's truth and prediction by the target's name, "" for the only one; a list of B."""
        if self.task.heads:
            outputs = by_head(self.task, outputs)
        found = {}
        for name, target, task in targets_of(self.task, targets):
            output = outputs[name] if isinstance(outputs, dict) else outputs
            loss = self.loss.heads[name] if isinstance(self.loss, HeadsLoss) else self.loss
            found[name] = list(self._told(output.float().cpu(), target.cpu(), task, loss))
        return found

    def _told(self, outputs: torch.Tensor, targets: torch.Tensor, task: Task, loss: Loss) -> Iterator[Told]:
        if task.kind == "regression":
            outputs = outputs if loss.link is None else loss.link(outputs)
            for target, output in zip(targets.flatten(1).tolist(), outputs.flatten(1).tolist(), strict=True):
                yield Told(_values(target, task), _values(output, task))
        elif task.per_step:
            yield from self._told_steps(outputs, targets, task, loss)
        elif task.kind == "multilabel":
            for target, output in zip(targets > 0.5, outputs > 0, strict=True):
                yield Told(self._labels(target, task), self._labels(output, task))
        elif task.kind == "binary":
            for target, chance in zip(targets.flatten().tolist(), outputs.sigmoid().flatten().tolist(), strict=True):
                yes = chance > 0.5
                yield Told(self._class(target > 0.5, task), self._class(yes, task), chance if yes else 1 - chance)
        else:
            targets = targets.argmax(dim=1) if targets.dim() == 2 else targets
            chances, predicted = outputs.softmax(dim=1).max(dim=1)
            for triple in zip(targets.tolist(), predicted.tolist(), chances.tolist(), strict=True):
                yield Told(self._class(triple[0], task), self._class(triple[1], task), triple[2])

    def _told_steps(self, outputs: torch.Tensor, targets: torch.Tensor, task: Task, loss: Loss) -> Iterator[Told]:
        """Yields (B, T) targets and the likeliest of (B, T, K) at the steps that have one; of CTC what is spelled."""
        codec = codec_of(self.data, "target") if task.kind in ("seq2seq", "next_token") else None
        for target, output in zip(targets, outputs.argmax(dim=2), strict=True):
            has_target = target != IGNORED
            true, predicted = target[has_target].tolist(), output.tolist()
            if task.kind == "seq2seq" and codec is not None:
                true = with_unknown(target.tolist(), codec)
            if isinstance(loss, CTCLoss):
                true = [step for step in true if step != loss.blank]
                changed = [step for place, step in enumerate(predicted) if place == 0 or step != predicted[place - 1]]
                predicted = [step for step in changed if step != loss.blank]
            else:
                predicted = output[has_target].tolist()
            if codec is None:
                words = [" ".join(self._class(step, task) for step in steps) for steps in (true, predicted)]
                yield Told(words[0], words[1])
            else:
                yield Told(text_of(true, codec), text_of(predicted, codec))

    def _labels(self, is_there: torch.Tensor, task: Task) -> str:
        return ", ".join(self._class(place, task) for place in is_there.nonzero().flatten().tolist()) or "none"

    def _class(self, place: int, task: Task) -> str:
        if place < len(task.class_names):
            return task.class_names[place]
        codec = codec_of(self.data, "target") if task.kind == "next_token" else None
        return str(int(place)) if codec is None else text_of([place], codec)

    # --- both ---------------------------------------------------------------------------------------------

    def entries(
        self, places: Sequence[int], batch: Batch, outputs: Tensors, losses: Sequence[float] | None = None
    ) -> list[Entry]:
        """Returns the samples of a batch, each with what the model says of it.

        Args:
            places: of the samples in their split, from 0.
        """
        names, rows = self.inputs(batch)
        told = self.told(outputs, batch.targets)
        images = batch.inputs.float().cpu() if self.are_images and isinstance(batch.inputs, torch.Tensor) else None
        return [
            Entry(
                place,
                {name: own[row] for name, own in told.items()},
                dict(zip(names, rows[row], strict=True)),
                None if losses is None else losses[row],
                None if images is None else images[row],
            )
            for row, place in enumerate(places)
        ]


# --- parts ------------------------------------------------------------------------------------------------


def codec_of(data: Data, name: str) -> TextCodec | None:
    """Returns what turns the tokens of an input or a target into text, from what the data keeps of it."""
    kept: Any = data.preprocessing
    for key in (name, "codec"):
        if isinstance(kept, dict) and isinstance(kept.get(key), dict):
            kept = kept[key]
    is_codec = isinstance(kept, dict) and isinstance(kept.get("vocabulary"), list) and "tokens" in kept
    return TextCodec.from_dict({"context": 0, **kept}) if is_codec else None


def with_unknown(answer: Sequence[int], codec: TextCodec) -> list[int]:
    """Returns the token numbers of a true answer, with that of unknown ones where its own are not to be learned."""
    last = max((place for place, number in enumerate(answer) if number != IGNORED), default=-1)
    unknown = codec.vocabulary.unknown
    numbers = (unknown if number == IGNORED else number for number in answer[: last + 1])
    return [number for number in numbers if number is not None]


def text_of(numbers: Sequence[int], codec: TextCodec | None) -> str:
    """Returns the text of token numbers, without padding, start and end; the numbers where no text is known."""
    kept = [int(n) for n in numbers if n != PADDING]
    if codec is None or any(n > len(codec.vocabulary.tokens) for n in kept):
        return " ".join(map(str, kept))
    tokens = [token for token in codec.vocabulary.decode(kept) if token != START]
    if codec.form != "stream" and END in tokens:
        tokens = tokens[: tokens.index(END)]
    return join(tokens, codec.kind)


def _bag(row: torch.Tensor, tokens: Sequence[str]) -> str:
    return ", ".join(tokens[place] for place in row.nonzero().flatten().tolist() if place < len(tokens))


def _values(row: list[float], task: Task) -> str:
    """Returns the values of one regression target in its own unit."""
    if len(task.target_scale) == len(row):
        texts = [_unscaled(*triple) for triple in zip(row, task.target_shift, task.target_scale, strict=True)]
    else:
        texts = [number(value) for value in row]
    return " ".join(texts[:_MOST_VALUES]) + (" ..." if len(texts) > _MOST_VALUES else "")


def _unscaled(value: float, shift: float, scale: float) -> str:
    return unscaled(value, shift, scale) if math.isfinite(value) else str(value)


def _table_columns(features: list[Feature], values: torch.Tensor) -> Iterator[tuple[str, list[str]]]:
    """Yields the name and the cells of each column of a table (B, D); the columns of a one-hot category are one."""
    place, shown = 0, 0
    while place < len(features) and shown < _MOST_COLUMNS:
        feature, column, shown = features[place], values[:, place].tolist(), shown + 1
        stem, is_one_hot, _ = feature.name.partition("=")
        width = 1
        if is_one_hot and not feature.is_scaled:
            own = [other.name.partition("=") for other in features[place:]]
            width = next((n for n, (other, *_) in enumerate(own) if other != stem), len(own))
            words = [word for _, _, word in own[:width]]
            yield stem, [_one_of(row, words) for row in values[:, place : place + width].tolist()]
        elif feature.categories:
            yield feature.name, [feature.categories[int(value)] for value in column]
        else:
            yield feature.name, [_unscaled(value, feature.shift, feature.scale) for value in column]
        place += width
    if place < len(features):
        yield f"and {len(features) - place} more", [""] * len(values)


def _series_columns(features: list[Feature], values: torch.Tensor) -> Iterator[tuple[str, list[str]]]:
    """Yields the last steps, which are nearest to what is predicted, of each feature of series (B, T, D)."""
    before = "... " if values.shape[1] > _MOST_VALUES else ""
    for place, feature in enumerate(features[:_MOST_VALUES]):
        title = "last steps" if len(features) == 1 else f"last steps of {feature.name}"
        last = values[:, -_MOST_VALUES:, place].tolist()
        yield title, [before + " ".join(_unscaled(v, feature.shift, feature.scale) for v in row) for row in last]


def _one_of(row: list[float], words: list[str]) -> str:
    return next((word for word, value in zip(words, row, strict=True) if value > 0.5), "none of these")
