"""``som``: Kohonen's self-organising map, whose units answer with what they were shown."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Task, Tensors
from dltrain.models import RuleModel
from dltrain.models.targets import as_outputs, learned, require_one_target, undecided, wanted

# The map starts near a point, so that it unfolds from there.
_FIRST_DEVIATION = 0.1


@dataclass(frozen=True)
class SOMSettings:
    name: str = setting("Name of the model.")
    rows: int = setting("Rows of the grid of units.", min=1)
    columns: int = setting("Columns of the grid of units.", min=1)
    radius: float | None = setting(
        "How far in the grid a unit's neighbourhood reaches at first, a standard deviation; null takes half of the "
        "longer side.",
        above=0,
    )
    last_radius: float = setting("How far it reaches at last.", above=0)
    shrink_samples: int = setting("Samples that are shown until the neighbourhood has shrunk to that.", min=1)


@registry.register("model", "som", SOMSettings)
class SOM(RuleModel):
    """A grid of units, each with a place among the samples; neighbours in the grid come to be neighbours there.

    For each sample x the nearest unit b wins, and each unit i moves: w_i += lr h (x - w_i), with
    h = exp(-d(i, b)^2 / (2 r^2)), d the distance in the grid and r a radius that shrinks from sample to sample by
    the same factor (Kohonen 1982 and 1990; the shrinking as in Ritter, Martinetz and Schulten 1992).
    What the winner stands for moves as well: v_b += lr (t - v_b), with t the target (Hecht-Nielsen 1987,
    counterpropagation, the outstar rule). The answer to a sample is what its nearest unit stands for.

    Use ``optimizer.lr`` from 0 to 1, falling: 0.3 with ``scheduler=cosine`` is a good start.
    """

    shown: torch.Tensor

    def __init__(self, settings: SOMSettings, *, task: Task) -> None:
        super().__init__()
        self.task, self.settings = task, settings
        width, units = require_one_target("som", task), settings.rows * settings.columns
        self.places = learned(_FIRST_DEVIATION * torch.randn(units, width))
        self.values = learned(torch.full((units, task.output_size), undecided(task)))
        self.register_buffer("shown", torch.tensor(0))  # samples so far
        grid = torch.cartesian_prod(torch.arange(settings.rows), torch.arange(settings.columns)).float()
        self.register_buffer("grid_distances", torch.cdist(grid, grid), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K)."""
        return as_outputs(self.task, self.values[self.winners(inputs.flatten(1))])

    def winners(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns the number (B,) of the unit that is nearest to each row (B, D)."""
        return torch.cdist(rows, self.places, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)

    def radius(self) -> torch.Tensor:
        """Returns r () after the samples shown so far."""
        settings = self.settings
        first = settings.radius or max(settings.rows, settings.columns) / 2
        progress = (self.shown / settings.shrink_samples).clamp(max=1)
        return first * (settings.last_radius / first) ** progress

    @torch.no_grad()
    def learn(self, inputs: Tensors, targets: Tensors, lr: float) -> None:
        assert isinstance(inputs, torch.Tensor)
        grid_distances = self.get_buffer("grid_distances")
        for row, target in zip(inputs.flatten(1), wanted(self.task, targets), strict=True):
            winner = self.winners(row[None])  # (1,)
            near = torch.exp(-(grid_distances[winner] ** 2) / (2 * self.radius() ** 2))  # (1, units)
            self.places.lerp_(row.expand_as(self.places), lr * near.T)
            self.values[winner] += lr * (target - self.values[winner])
            self.shown += 1
