"""``knn``: a sample is answered by the training samples that are nearest to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from dltrain import registry
from dltrain.config import setting
from dltrain.console import log
from dltrain.data import Task, Tensors
from dltrain.errors import ConfigError
from dltrain.models import FittedModel
from dltrain.models.targets import as_outputs, learned, require_one_target, wanted

# Distances are computed for as many samples at a time as give a table of about this size.
_CHUNK_BYTES = 64 * 2**20

# From so many features on, a matrix product finds candidates, so many more than are needed.
_PRODUCT_FROM = 32
_MORE_CANDIDATES = 16
_ROUNDING = 1e-5

_VOTES = ("plain", "inverse_rank", "inverse_distance")


def _check_k(k: int | str) -> None:
    """
    Raises:
        ValueError: it is neither a number nor a rule.
    """
    if isinstance(k, str) and k not in ("sqrt", "cv"):
        raise ValueError(f"'{k}': must be a whole number at least 1, sqrt or cv")
    if isinstance(k, int) and k < 1:
        raise ValueError(f"{k}: must be at least 1")


@dataclass(frozen=True)
class KNNSettings:
    name: str = setting("Name of the model.")
    k: int | str = setting(
        "How many neighbours vote: a number, sqrt (the square root of the number of training samples), or cv (the "
        "best of candidates by leave-one-out cross-validation on the training samples).",
        check=_check_k,
    )
    candidates: list[int] = setting("The numbers of neighbours that k=cv compares.", min=1)
    votes: str = setting(
        "How much a neighbour counts: plain the same as any, inverse_rank 1, 1/2, 1/3, ... from the nearest on, "
        "inverse_distance 1 / its distance.",
        choices=_VOTES,
    )

    def __post_init__(self) -> None:
        if not self.candidates and self.k == "cv":
            raise ValueError("k = 'cv': give candidates")


@registry.register("model", "knn", KNNSettings)
class KNN(FittedModel):
    """The k nearest neighbours by Euclidean distance (Cover and Hart 1967; weights by distance: Dudani 1976).

    Shares of the votes are the answer for classes, the votes' mean for numbers. It is the same each time: of samples
    at the same distance the one that comes first in the training data is nearer; of classes with the same votes the
    first wins. With ``votes=inverse_distance`` the samples at distance 0, where there are any, vote alone. Where
    samples count differently in the loss (``data.class_weights``), their votes do as well.
    """

    gives_shares = True
    k: torch.Tensor

    def __init__(self, settings: KNNSettings, *, task: Task) -> None:
        super().__init__()
        self.task, self.settings = task, settings
        self.rows = learned(torch.empty(0, require_one_target("knn", task)))
        self.values = learned(torch.empty(0, task.output_size))
        self.weights = learned(torch.empty(0))
        self.register_buffer("k", torch.tensor(0))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K); zeros before it is fitted."""
        if not len(self.rows):
            return inputs.new_zeros(len(inputs), self.task.output_size)
        parts = [
            self.vote(places, distances)
            for _, places, distances in self._neighbours(inputs.flatten(1), int(self.k), alone=False)
        ]
        return as_outputs(self.task, torch.cat(parts))

    @torch.no_grad()
    def fit(self, inputs: Tensors, targets: Tensors, weights: torch.Tensor | None) -> None:
        """
        Raises:
            ConfigError: there are fewer samples than neighbours.
        """
        assert isinstance(inputs, torch.Tensor)
        problems = self.mistakes(len(inputs))
        if problems:
            raise ConfigError(*problems)
        self.rows = learned(inputs.flatten(1).clone())
        self.values = learned(wanted(self.task, targets).clone())
        self.weights = learned(torch.ones_like(self.rows[:, 0]) if weights is None else weights.clone())
        self.k.fill_(self._chosen_k(len(self.rows)))

    def mistakes(self, num_samples: int) -> list[str]:
        k, candidates, others = self.settings.k, self.settings.candidates, num_samples - 1
        if isinstance(k, int) and k > num_samples:
            return [f"model.k = {k}: there are {num_samples} training samples. Give at most that"]
        if k == "cv" and max(candidates) > others:
            return [f"model.candidates = {candidates}: a sample has {others} others. Give at most that"]
        return []

    def make_room(self, state: Mapping[str, torch.Tensor]) -> None:
        for name in ("rows", "values", "weights"):
            own, given = self.get_parameter(name), state.get(name)
            if given is not None and given.shape[1:] == own.shape[1:]:
                setattr(self, name, learned(own.new_empty(given.shape)))

    def vote(self, places: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Returns the mean of the neighbours' values (B, K), weighted by their votes.

        Args:
            places, distances: (B, k) of the neighbours, the nearest first.
        """
        votes = self.weights[places]
        if self.settings.votes == "inverse_rank":
            votes = votes / torch.arange(1, places.shape[1] + 1, device=places.device)
        elif self.settings.votes == "inverse_distance":
            same = distances == 0
            votes = votes * torch.where(same.any(dim=1, keepdim=True), same.to(votes.dtype), 1 / distances)
        return (votes[:, :, None] * self.values[places]).sum(dim=1) / votes.sum(dim=1, keepdim=True)

    def _neighbours(
        self, rows: torch.Tensor, k: int, *, alone: bool
    ) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Yields for some rows (b, D) at a time: which, and the places and distances (b, k) of their neighbours.

        Args:
            alone: the rows are the training samples, and none is its own neighbour.
        """
        size = max(1, _CHUNK_BYTES // (4 * len(self.rows)))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            yield slice(start, start + len(some)), *nearest(some, self.rows, k, start if alone else None)

    def _chosen_k(self, num_samples: int) -> int:
        k = self.settings.k
        if k == "sqrt":
            k = round(math.sqrt(num_samples))
        elif k == "cv":
            k = self._cross_validated()
        assert isinstance(k, int)
        if not isinstance(self.settings.k, int):
            log.info("model   knn: k = %d, by %s", k, self.settings.k)
        return k

    def _cross_validated(self) -> int:
        """Returns the candidate with the smallest error when each training sample is answered by the others."""
        candidates = sorted(set(self.settings.candidates))
        errors = torch.zeros(len(candidates), dtype=torch.float64)
        for which, places, distances in self._neighbours(self.rows, candidates[-1], alone=True):
            for number, k in enumerate(candidates):
                given = self.vote(places[:, :k], distances[:, :k])
                errors[number] += float(self._errors(given, self.values[which]).double() @ self.weights[which].double())
        return candidates[int(errors.argmin())]  # the first, so the fewest neighbours, of equals

    def _errors(self, given: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Returns the error (b,) of each answer: 1 for a wrong class, wrong labels, or the squared error."""
        if self.task.kind == "multiclass":
            return (given.argmax(dim=1) != values.argmax(dim=1)).float()
        if self.task.kind == "regression":
            return (given - values).square().mean(dim=1)
        return ((given > 0.5) != (values > 0.5)).float().mean(dim=1)


def nearest(rows: torch.Tensor, known: torch.Tensor, k: int, own: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns places and distances (b, k) of the nearest known samples (N, D) to each row (b, D), in order.

    A matrix product gives distances several times faster where D is large, but its rounding tells equal ones apart.
    So it only finds candidates, whose distances are then computed exactly; where another sample might be as near,
    all of the row's are.

    Args:
        own: the rows are the known samples from this place on, and none is its own neighbour.
    """
    places = None if own is None else own + torch.arange(len(rows), device=rows.device)
    num_candidates = k + _MORE_CANDIDATES
    if rows.shape[1] < _PRODUCT_FROM or num_candidates >= len(known):
        return _smallest(_distances(rows, known, places, exact=True), k)
    found, candidates = _distances(rows, known, places, exact=False).topk(num_candidates, dim=1, largest=False)
    candidates = candidates.sort(dim=1).values  # so that of equals the first still counts
    exact = torch.linalg.vector_norm(known[candidates] - rows[:, None], dim=2)
    if places is not None:
        exact[candidates == places[:, None]] = math.inf
    order, distances = _smallest(exact, k)
    nearby = candidates.gather(1, order)
    # Rounding of |x|^2 - 2 x y + |y|^2 in float32, generously
    doubt = _ROUNDING * (rows.square().sum(dim=1) + known.square().sum(dim=1).max())
    unsure = distances[:, -1] ** 2 >= found[:, -1] ** 2 - doubt
    if unsure.any():
        own_places = None if places is None else places[unsure]
        nearby[unsure], distances[unsure] = _smallest(_distances(rows[unsure], known, own_places, exact=True), k)
    return nearby, distances


def _distances(rows: torch.Tensor, known: torch.Tensor, own: torch.Tensor | None, *, exact: bool) -> torch.Tensor:
    """Returns the distances (b, N), infinite from a row to its own place (b,)."""
    mode = "donot_use_mm_for_euclid_dist" if exact else "use_mm_for_euclid_dist"
    distances = torch.cdist(rows, known, compute_mode=mode)
    if own is not None:
        distances[torch.arange(len(rows), device=rows.device), own] = math.inf
    return distances


def _smallest(distances: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns places and values (b, k) of the smallest in each row (b, N), in order; of equals the first counts."""
    values, places = distances.topk(k, dim=1, largest=False)
    # topk may leave out the first of several that share the last value: only those rows are sorted whole
    shared = (distances <= values[:, -1:]).sum(dim=1) > k
    if shared.any():
        places[shared] = distances[shared].sort(dim=1, stable=True).indices[:, :k]
    places = places.sort(dim=1).values
    values, order = distances.gather(1, places).sort(dim=1, stable=True)
    return places.gather(1, order), values
