"""Inputs of whatever kind as rows of numbers, for models that know nothing of their shape.

Values are flattened, codes of categories become a column each, and of tokens it counts how often each stands in a
sample, whatever their order (a bag of words, weighed as below).

Shapes in comments: B samples of a batch, T tokens, V vocabulary, F features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from dltrain.data import InputSpec, Task, Tensors
from dltrain.data.text.tokens import PADDING


def is_text(task: Task) -> bool:
    """Tells whether an input is tokens, so that rows are sparse."""
    return any(spec.dtype == "int64" for _, spec in _specs(task))


def width(task: Task) -> int:
    """Returns F."""
    return sum(_width(spec) for _, spec in _specs(task))


def rows_of(task: Task, inputs: Tensors) -> Any:
    """Returns the (B, F) rows of a batch: float64, as a sparse matrix of SciPy where an input is tokens."""
    parts = [_part(spec, inputs[name] if isinstance(inputs, dict) else inputs) for name, spec in _specs(task)]
    if not is_text(task):
        return np.concatenate(parts, axis=1)
    from scipy import sparse

    return sparse.hstack(parts, format="csr")


class Scaling:
    """What makes features alike in size: learned from the training rows.

    Values get mean 0 and deviation 1. Of tokens each count c becomes (1 + log c) w, with the token's weight
    w = 1 + log((1 + n) / (1 + n_t)) where n_t of n rows hold it (TF-IDF: Salton and Buckley 1988), and the counts of
    each row have the length 1 then.
    """

    def __init__(self, task: Task, rows: Any) -> None:
        self._is_text = is_text(task)
        ends = np.cumsum([_width(spec) for _, spec in _specs(task)]).tolist()
        firsts = [0, *ends[:-1]]
        self._columns = [slice(first, end) for first, end in zip(firsts, ends, strict=True)]
        self._parts = [
            _Weights(rows[:, columns]) if spec.dtype == "int64" else _Deviations(_dense(rows[:, columns]))
            for columns, (_, spec) in zip(self._columns, _specs(task), strict=True)
        ]

    def __call__(self, rows: Any) -> Any:
        """Returns scaled rows."""
        scaled = [part(rows[:, columns]) for part, columns in zip(self._parts, self._columns, strict=True)]
        if not self._is_text:
            return scaled[0] if len(scaled) == 1 else np.concatenate(scaled, axis=1)
        from scipy import sparse

        return sparse.hstack(scaled, format="csr")


class _Deviations:
    """Scales values."""

    def __init__(self, rows: Any) -> None:
        self._shift, deviation = rows.mean(axis=0), rows.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)

    def __call__(self, rows: Any) -> Any:
        scaled = _dense(rows) - self._shift
        scaled /= self._scale
        return scaled


class _Weights:
    """Scales counts of tokens."""

    def __init__(self, rows: Any) -> None:
        holding = np.bincount(rows.indices, minlength=rows.shape[1])
        self._weights = np.log((1 + rows.shape[0]) / (1 + holding)) + 1

    def __call__(self, rows: Any) -> Any:
        weighed = rows.copy()
        weighed.data = (1 + np.log(weighed.data)) * self._weights[weighed.indices]
        lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
        weighed.data /= np.repeat(np.where(lengths > 0, lengths, 1.0), np.diff(weighed.indptr))
        return weighed


def _dense(rows: Any) -> Any:
    return rows if isinstance(rows, np.ndarray) else rows.toarray()


def _specs(task: Task) -> list[tuple[str, InputSpec]]:
    return list(task.inputs.items()) if isinstance(task.inputs, dict) else [("", task.inputs)]


def _width(spec: InputSpec) -> int:
    if spec.dtype == "int64":
        assert spec.vocabulary_size is not None
        return spec.vocabulary_size
    return math.prod(spec.shape) - len(spec.categories) + sum(spec.categories)


def _part(spec: InputSpec, tensor: torch.Tensor) -> Any:
    if spec.dtype == "int64":
        return _bag(tensor.cpu().numpy(), _width(spec))
    rows = tensor.float().flatten(1).cpu().numpy().astype(np.float64)
    if not spec.categories:
        return rows
    plain = rows.shape[1] - len(spec.categories)
    columns = [rows[:, :plain]]
    for place, size in enumerate(spec.categories, plain):
        columns.append((rows[:, place : place + 1] == np.arange(size)).astype(np.float64))
    return np.concatenate(columns, axis=1)


def _bag(tokens: np.ndarray, size: int) -> Any:
    """Returns how often each token stands in (B, T) rows, as a sparse matrix (B, V)."""
    from scipy import sparse

    row, place = np.nonzero(tokens != PADDING)
    counts = sparse.coo_matrix((np.ones(len(row)), (row, tokens[row, place])), shape=(len(tokens), size))
    return counts.tocsr()  # which adds up what stands at the same place
