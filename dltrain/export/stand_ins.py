"""Models that ask questions of their data while they compute, in operations that can be exported instead.

What they compute is the same, but for samples that lie between two answers to the last digit of a distance.
"""

from __future__ import annotations

import torch
from torch import nn

from dltrain.models.knn import KNN
from dltrain.models.som import SOM
from dltrain.models.targets import as_outputs

# Up to so many numbers, all differences of a sample to the known ones are computed; of more, a matrix product finds
# candidates first, so many more than there are neighbours.
_MOST_DIFFERENCES = 2**20
_MORE_CANDIDATES = 64


def stand_in(model: nn.Module) -> nn.Module:
    """Returns what computes the same as a model and can be exported: mostly the model itself."""
    if isinstance(model, KNN):
        return Neighbours(model)
    return Winners(model) if isinstance(model, SOM) else model


class Neighbours(nn.Module):
    """A fitted ``knn``."""

    def __init__(self, model: KNN) -> None:
        super().__init__()
        self.model, self.k = model, int(model.k)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K)."""
        rows, known = inputs.flatten(1), self.model.rows
        candidates = self.k + _MORE_CANDIDATES
        if known.numel() <= _MOST_DIFFERENCES or candidates >= known.shape[0]:
            places, distances = _smallest(_distances(rows, known), self.k)
        else:
            # |x|^2, which is the same for all, is left out.
            nearness = 2 * rows @ known.T - known.square().sum(dim=1)
            nearby = nearness.topk(candidates, dim=1).indices.sort(dim=1).values  # (B, candidates)
            chosen, distances = _smallest(_distances(rows, known[nearby]), self.k)
            places = nearby.gather(1, chosen)
        return as_outputs(self.model.task, self.model.vote(places, distances))


def _distances(rows: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Returns the distances (B, N) of rows (B, D) to known ones, (N, D), or of each row to its own (B, N, D)."""
    distances: torch.Tensor = torch.linalg.vector_norm(rows.unsqueeze(1) - known, dim=2)
    return distances


def _smallest(distances: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns places and values (B, k) of the smallest in each row (B, N), in order; of equals the first counts."""
    largest = distances.topk(k, dim=1, largest=False).values[:, -1:]
    is_less, is_equal = distances < largest, distances == largest
    room = k - is_less.sum(dim=1, keepdim=True)
    is_kept = is_less | (is_equal & (is_equal.long().cumsum(dim=1) <= room))
    backwards = torch.arange(distances.shape[1], 0, -1, device=distances.device)
    places = (is_kept.long() * backwards).topk(k, dim=1).indices  # in order of place
    values = distances.gather(1, places)
    one, other = values.unsqueeze(2), values.unsqueeze(1)
    is_before = torch.ones(k, k, dtype=torch.bool, device=values.device).tril(-1)
    rank = ((other < one) | ((other == one) & is_before)).sum(dim=2)  # ONNX has no sort that is stable
    order = (-rank).topk(k, dim=1).indices
    return places.gather(1, order), values.gather(1, order)


class Winners(nn.Module):
    """A trained ``som``."""

    def __init__(self, model: SOM) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K)."""
        winners = _distances(inputs.flatten(1), self.model.places).argmin(dim=1)
        return as_outputs(self.model.task, self.model.values[winners])
