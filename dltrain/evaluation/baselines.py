"""What simple guesses reach on the same samples, learned from the training split: a model that is no better has
learned nothing.

- classes: always the most frequent one; logistic regression on the flattened inputs, or on a bag of words of tokens.
- values: always the mean; ridge regression; of series also the last value of the window.
- language: each token as likely as it is frequent, whatever stands before it.

Shapes in comments: B samples of a batch, T time, K classes or outputs, D values, V vocabulary, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from dltrain.data import IGNORED, Batch, Data, InputSpec, Split, Task, Tensors
from dltrain.errors import DataError
from dltrain.evaluation import features
from dltrain.evaluation.bootstrap import Floats
from dltrain.evaluation.gathering import LANGUAGE, Gathered, Gatherer
from dltrain.models.baselines import LogisticRegression, LogisticRegressionSettings, Ridge, RidgeSettings

# A linear model learns from so many numbers at most, times the classes: seconds of work.
_MOST_NUMBERS = 2**27
_FEWEST_ROWS = 100
_MOST_ROWS = 50_000

# The logit of what never occurs in training.
_NEVER = -30.0


@dataclass
class Baseline:
    """A guess, and what it gives on the samples of a split.

    Attributes:
        note: what a person should know of how it was made.
        gathered: by target, "" for the only one.
    """

    name: str
    note: str = ""
    gathered: dict[str, Gathered] = field(default_factory=dict)


class Guess(ABC):
    """Something that guesses one target."""

    note = ""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def outputs(self, inputs: Tensors, rows: Any, targets: torch.Tensor) -> torch.Tensor:
        """Returns outputs as a model gives them, for the targets of a batch.

        Args:
            rows: the inputs as ``features`` gives them, scaled; None where no guess takes them.
        """


def of(data: Data, train: Split, batches: Split, aligned: Callable[[str], bool]) -> list[Baseline]:
    """Learns all baselines of each target, and lets them guess.

    Args:
        data: whose ``train`` they learn from, not shuffled and not augmented.
        batches: what they guess, in the order in which the model is evaluated.
        aligned: tells of a target whether its outputs stand at the places of its targets; else there is no baseline.
    """
    heads = {name: task for name, task in (data.task.heads or {"": data.task}).items() if aligned(name)}
    if not heads:
        return []
    learned = _Learned(data.task, heads, train)
    guesses = {name: list(_guesses(data, task, learned, name)) for name, task in heads.items()}
    gatherers = {
        (name, guess.name): Gatherer(heads[name], None, batches.num_samples)
        for name, own in guesses.items()
        for guess in own
    }
    takes_rows = any(isinstance(guess, _Linear) for own in guesses.values() for guess in own)
    for batch in batches.batches(0):
        rows = learned.scaled(batch) if takes_rows else None
        for name, own in guesses.items():
            targets = batch.targets[name] if isinstance(batch.targets, dict) else batch.targets
            for guess in own:
                gatherers[name, guess.name].add(guess.outputs(batch.inputs, rows, targets).to(targets.device), targets)
    found: dict[str, Baseline] = {}
    for name, own in guesses.items():
        for guess in own:
            baseline = found.setdefault(guess.name, Baseline(guess.name, guess.note))
            baseline.gathered[name] = gatherers[name, guess.name].finished()[""]
    return list(found.values())


def _guesses(data: Data, task: Task, learned: _Learned, name: str) -> Iterator[Guess]:
    means = learned.means[name]
    if task.kind == "regression":
        yield _Constant("mean", torch.from_numpy(means).float())
        last = _Persistence.of(data, task)
        if last is not None:
            yield last
    elif task.kind in LANGUAGE:
        yield _Constant("unigram", _log_odds(means, task.kind))
        return
    else:
        yield _Constant("majority", _log_odds(means, task.kind))
    if task.per_step or learned.rows is None:
        return
    try:
        yield _Linear(task, learned, name)
    except DataError:  # all the rows that it learns from are of one class
        return


def _log_odds(counts: Floats, kind: str) -> torch.Tensor:
    """Returns (K,) logits of how often each class occurs, or of each label its logit."""
    with np.errstate(divide="ignore"):
        if kind in ("binary", "multilabel"):
            logits = np.log(counts) - np.log1p(-counts)
        else:
            logits = np.log(counts / counts.sum())
    return torch.from_numpy(np.clip(logits, _NEVER, -_NEVER)).float()


class _Constant(Guess):
    """The same outputs for all."""

    def __init__(self, name: str, values: torch.Tensor) -> None:
        super().__init__(name)
        self._values = values  # (K,)

    def outputs(self, inputs: Tensors, rows: Any, targets: torch.Tensor) -> torch.Tensor:
        shape = targets.shape if targets.dim() == 2 and not targets.is_floating_point() else targets.shape[:1]
        return self._values.to(targets.device).expand(*shape, len(self._values))


class _Persistence(Guess):
    """What is predicted stays as it was in the window's last row."""

    def __init__(self, places: list[int], changes: tuple[Floats, Floats], values: tuple[Floats, Floats]) -> None:
        """
        Args:
            places: of the predicted columns among those of the window.
            changes: (D,) factor and offset from the window's last row to outputs, and (D,) 0 for both where changes
                are predicted.
        """
        super().__init__("last value")
        self._places = places
        self._factor, self._offset = (torch.from_numpy(part).float() for part in changes)
        self._shift, self._scale = (torch.from_numpy(part).float() for part in values)

    @classmethod
    def of(cls, data: Data, task: Task) -> _Persistence | None:
        """Returns it for a series whose predicted columns are seen by the model; None for other data."""
        kept = data.preprocessing
        if isinstance(data.task.inputs, dict) or not {"columns", "target", "horizon", "differences"} <= set(kept):
            return None
        if not set(kept["target"]) <= set(kept["columns"]):
            return None
        places = [kept["columns"].index(name) for name in kept["target"]]
        shift, scale = (np.array(kept[name])[places] for name in ("shift", "scale"))
        steps = task.output_size // len(places)
        changes = (np.zeros_like(shift), np.zeros_like(scale)) if kept["differences"] else (scale, shift)
        own_shift = np.array(task.target_shift or [0.0] * task.output_size)
        own_scale = np.array(task.target_scale or [1.0] * task.output_size)
        return cls(places * steps, tuple(np.tile(part, steps) for part in changes), (own_shift, own_scale))  # type: ignore[arg-type]

    def outputs(self, inputs: Tensors, rows: Any, targets: torch.Tensor) -> torch.Tensor:
        assert isinstance(inputs, torch.Tensor)
        last = inputs[:, -1].float().cpu()[:, self._places]
        return (last * self._factor + self._offset - self._shift) / self._scale


class _Linear(Guess):
    """Ridge or logistic regression by scikit-learn."""

    def __init__(self, task: Task, learned: _Learned, name: str) -> None:
        is_values = task.kind == "regression"
        words = " on a bag of words" if features.is_text(learned.task) else ""
        super().__init__(("ridge regression" if is_values else "logistic regression") + words)
        flat = Task(task.kind, InputSpec((learned.rows.shape[1],)), task.output_size)
        model: Ridge | LogisticRegression
        if is_values:
            model = Ridge(RidgeSettings("ridge", 1.0), task=flat)
        else:
            model = LogisticRegression(LogisticRegressionSettings("logistic_regression", 1.0, 100, 1e-4), task=flat)
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        targets = learned.targets[name]
        with threadpool_limits(1):  # products as narrow as these take longer by several threads
            weights, self._offsets = model.solved(learned.rows, targets, None)
        self._weights = weights.T
        if len(targets) < learned.num_samples:
            self.note = f"learned from {len(targets):,} of {learned.num_samples:,} training samples"

    def outputs(self, inputs: Tensors, rows: Any, targets: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.asarray(rows @ self._weights) + self._offsets).float()


class _Learned:
    """What a pass over the training split tells: of each target its means or counts, and the rows of a linear model.

    Attributes:
        means: by target: (D,) means of values, (K,) shares of yes, (K,) how often each class occurs, and of tokens one
            more for each, so that none is impossible.
        rows: (n, F) scaled; None where the inputs are too wide.
        targets: by target, (n, ...) of these rows.
    """

    def __init__(self, task: Task, heads: dict[str, Task], split: Split) -> None:
        self.task, self.num_samples = task, split.num_samples
        self._heads = heads
        self.means = {name: np.zeros(head.output_size) for name, head in heads.items()}
        self.targets: dict[str, Any] = {}
        self.rows: Any = None
        self._scaling: features.Scaling | None = None
        chosen = self._chosen()
        rows: list[Any] = []
        targets: dict[str, list[Any]] = {name: [] for name in heads}
        first = 0
        for batch in split.batches(0):
            own = chosen[first : first + batch.size]
            first += batch.size
            if own.any():
                picked = batch.map(lambda tensor, own=own: tensor[torch.from_numpy(own).to(tensor.device)])  # type: ignore[misc]
                rows.append(features.rows_of(task, picked.inputs))
            for name, head in heads.items():
                target = batch.targets[name] if isinstance(batch.targets, dict) else batch.targets
                self.means[name] += _sums(target, head)
                targets[name].append(target.cpu().numpy()[own])
        for name, head in heads.items():
            if head.kind in ("regression", "binary", "multilabel"):
                self.means[name] /= self.num_samples
            elif head.kind in LANGUAGE:
                self.means[name] += 1
        if rows:
            self.rows = _joined(rows)
            self._scaling = features.Scaling(task, self.rows)
            self.rows = self._scaling(self.rows)
            self.targets = {name: np.concatenate(parts) for name, parts in targets.items()}

    def _chosen(self) -> np.ndarray:
        """Returns which samples a linear model learns from, (N,): all, or as many as it can in seconds."""
        chosen = np.zeros(self.num_samples, dtype=bool)
        if all(head.per_step or head.kind in LANGUAGE for head in self._heads.values()):
            return chosen
        numbers = max(head.output_size for head in self._heads.values())
        # Of a text few tokens are there; it counts as if it were its length.
        numbers *= 256 if features.is_text(self.task) else features.width(self.task)
        most = min(_MOST_ROWS, _MOST_NUMBERS // numbers)
        if most < _FEWEST_ROWS:
            return chosen
        generator = np.random.default_rng(0)
        chosen[generator.permutation(self.num_samples)[:most]] = True
        return chosen

    def scaled(self, batch: Batch) -> Any:
        assert self._scaling is not None
        return self._scaling(features.rows_of(self.task, batch.inputs))


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    from scipy import sparse

    return sparse.vstack(parts, format="csr")


def _sums(targets: torch.Tensor, task: Task) -> Floats:
    """Returns the sums of values or of yes over a batch, or how often each class stands in it, (K,)."""
    if task.kind in ("regression", "binary", "multilabel"):
        sums: Floats = targets.double().reshape(len(targets), -1).sum(dim=0).cpu().numpy()
        return sums
    if targets.dim() == 2 and not task.per_step:
        targets = targets.argmax(dim=1)
    known = targets[targets != IGNORED]
    counts: Floats = torch.bincount(known.flatten(), minlength=task.output_size).double().cpu().numpy()
    return counts
