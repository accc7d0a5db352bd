"""Where a model has put samples, tokens and categories: points for the embedding projector.

Shapes in comments: B batch, T time, K classes, H hidden units, N points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from dltrain.console import log
from dltrain.data import IGNORED, Batch, Data, Split, Task
from dltrain.data.text.tokens import PADDING
from dltrain.evaluate import apart, outputs_of
from dltrain.losses import Loss
from dltrain.models import device_of
from dltrain.models.columns import Columns
from dltrain.pictures import to_bytes
from dltrain.preview import inputs_of
from dltrain.preview_features import features_of
from dltrain.projector import Points
from dltrain.readable import Entry, Reader, codec_of, table
from dltrain.spreading import spread_batches
from dltrain.watching import Watch, is_same_memory, of_each_sample, of_each_step


def find(
    model: nn.Module,
    data: Data,
    split: Split,
    loss: Loss,
    autocast: AbstractContextManager[Any] | None,
    *,
    samples: int,
    tokens: int,
) -> list[Points]:
    """Returns samples by what went into the last layer, then tokens and categories by their vectors.

    The model is put back as it was, so that a training goes on as if nothing had been.

    Args:
        split: of the validation data, not shuffled.
        samples: how many are shown at most, or steps of them where each has an output.
        tokens: how many tokens or categories are shown at most of each kind.
    """
    shown = _Shown(data, loss, samples)
    points: list[Points] = []
    with apart(model):
        for places, batch in spread_batches(data.validation, split, shown.sequences, device_of(model)):
            with Watch(model) as watch:
                outputs = outputs_of(model, batch.inputs, autocast)
            if not points and tokens:
                points = [*_tokens(model, data, batch, watch, tokens), *_categories(model, data, batch, watch, tokens)]
            if not samples or not shown.add(places, batch, outputs, watch):
                break
    return [*shown.points(), *points]


# Sequences whose steps are shown at least.
_FEWEST_SEQUENCES = 16


class _Shown:
    """Gathers samples, or steps of them, with what went into the last layer."""

    def __init__(self, data: Data, loss: Loss, most: int) -> None:
        self._data, self._most = data, most
        self._reader = Reader(data, loss)
        self._words = _words_of_targets(data)
        self._of_steps = data.task.per_step and loss.aligned
        # Samples to look at: of long sequences a few have as many steps as are asked for.
        self.sequences = max(_FEWEST_SEQUENCES, most // _longest(data.task)) if self._of_steps else max(1, most)
        self._title = ""
        self._vectors: list[torch.Tensor] = []
        self._entries: list[Entry] = []
        self._rows: list[list[str]] = []

    def add(self, places: list[int], batch: Batch, outputs: Any, watch: Watch) -> bool:
        """Adds a batch; returns whether there is room for more."""
        layer = watch.last_layer()
        values = None if layer is None else watch.inputs[layer]
        if values is not None and self._of_steps:
            values = of_each_step(values, *outputs.shape[:2])
        elif values is not None:
            values = of_each_sample(values, batch.size)
        if layer is None or values is None:
            log.warning("the embeddings have no samples: the model has no last layer that sees each of them by itself")
            return False
        self._title = f"inputs of {layer}" if watch.is_first(layer) else f"last hidden layer, before {layer}"
        if self._of_steps:
            self._add_steps(places, batch, outputs, values)
            return len(self._rows) < self._most
        self._vectors.append(values.float().cpu())
        self._entries += self._reader.entries(places, batch, outputs)
        return True

    def _add_steps(self, places: list[int], batch: Batch, outputs: torch.Tensor, values: torch.Tensor) -> None:
        """Adds the steps that have a target.

        Args:
            outputs: (B, T, K).
            values: (B, T, H).
        """
        assert isinstance(batch.targets, torch.Tensor)
        rows, steps = (batch.targets != IGNORED).nonzero(as_tuple=True)
        rows, steps = rows[: self._most - len(self._rows)], steps[: self._most - len(self._rows)]
        self._vectors.append(values[rows, steps].float().cpu())
        chances, predicted = outputs[rows, steps].float().softmax(dim=1).max(dim=1)
        columns = (batch.targets[rows, steps], predicted, chances, rows, steps)
        for true, guess, chance, row, step in zip(*(column.tolist() for column in columns), strict=True):
            words = [self._words[place] if place < len(self._words) else str(place) for place in (true, guess)]
            self._rows.append([*words, _right(true == guess), f"{chance:.4f}", str(places[row]), str(step)])

    def points(self) -> Iterator[Points]:
        """Yields what was gathered, if anything was."""
        if not self._vectors:
            return
        vectors, images = torch.cat(self._vectors), None
        if self._of_steps:
            header, rows = ["true", "predicted", "right", "probability", "index", "step"], self._rows
        else:
            header, rows = table(self._entries)
            header, rows = [*header[1:], "right", header[0]], [[*row[1:], "", row[0]] for row in rows]
            for row, entry in zip(rows, self._entries, strict=True):
                row[-2] = _right(all(told.is_right for told in entry.told.values()))
            if self._entries[0].image is not None:
                stacked = torch.stack([entry.image for entry in self._entries if entry.image is not None])
                images = to_bytes(stacked, self._data)
        yield Points(self._title, vectors, header, rows, images)


def _longest(task: Task) -> int:
    """Returns T, the steps of the longest sequence."""
    specs = task.inputs.values() if isinstance(task.inputs, dict) else [task.inputs]
    return max(1, *(spec.shape[0] for spec in specs))


def _right(is_right: bool) -> str:
    return "right" if is_right else "wrong"


def _words_of_targets(data: Data) -> Sequence[str]:
    """Returns what each class is called; of tokens, the tokens."""
    codec = codec_of(data, "target") if data.task.kind in ("next_token", "seq2seq") else None
    return data.task.class_names if codec is None else ("(padding)", *codec.vocabulary.tokens)


# --- vectors of tokens and categories ---------------------------------------------------------------------


def _tokens(model: nn.Module, data: Data, batch: Batch, watch: Watch, most: int) -> Iterator[Points]:
    """Yields the tokens of each text that the model reads, but for the padding."""
    texts = [(name, tensor, spec) for name, tensor, spec in inputs_of(data.task, batch) if spec.vocabulary_size]
    for name, tensor, spec in texts:
        layers = [
            (layer, given)
            for layer, given in watch.inputs.items()
            if isinstance(embedding := model.get_submodule(layer), nn.Embedding)
            and embedding.num_embeddings == spec.vocabulary_size
        ]
        own = [layer for layer, given in layers if is_same_memory(given, tensor)]
        if not own and len(layers) == len(texts) == 1:  # a model may change the numbers before it looks them up
            own = [layers[0][0]]
        if not own:
            continue
        last = min(most + PADDING + 1, spec.vocabulary_size or 0)
        numbers = range(PADDING + 1, last)
        codec = codec_of(data, name)
        words = codec.vocabulary.decode(numbers) if codec is not None else list(map(str, numbers))
        labels = [[word, str(number)] for word, number in zip(words, numbers, strict=True)]
        vectors = _weights(model, own[0])[PADDING + 1 : last]
        yield Points(f"tokens of {name}" if name else "tokens", vectors, ["token", "number"], labels)


def _weights(model: nn.Module, layer: str) -> torch.Tensor:
    embedding = model.get_submodule(layer)
    assert isinstance(embedding, nn.Embedding)
    return embedding.weight.detach().float().cpu()


def _categories(model: nn.Module, data: Data, batch: Batch, watch: Watch, most: int) -> Iterator[Points]:
    """Yields the categories of each column that the model embeds."""
    for layer, columns in model.named_modules():
        if not isinstance(columns, Columns):
            continue
        given = watch.inputs.get(layer)
        for name, tensor, spec in inputs_of(data.task, batch):
            if given is None or not is_same_memory(given, tensor) or not spec.categories:
                continue
            features = features_of(data, name, tensor.shape[1])[columns.num_plain :]
            for place, feature in enumerate(features):
                vectors = _weights(model, f"{layer}.embeddings.{place}")[:most]
                words = feature.categories or tuple(map(str, range(len(vectors))))
                labels = [[word, str(code)] for code, word in enumerate(words[: len(vectors)])]
                title = f"values of {feature.name}"
                yield Points(f"{title}, {name}" if name else title, vectors, [feature.name, "code"], labels)
            break
