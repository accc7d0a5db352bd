"""What models of values have in common: a sample's values as one row, its categories embedded."""

from __future__ import annotations

import math

import torch
from torch import nn

from dltrain.data import InputSpec


def row_of(spec: InputSpec) -> tuple[nn.Module, int]:
    """Returns a layer that makes a sample one row of numbers, and how many numbers that are."""
    if not spec.categories:
        return nn.Flatten(), math.prod(spec.shape)
    columns = Columns(spec)
    return columns, columns.width


class Columns(nn.Module):
    """Replaces the code of each category in a row by a learned vector.

    A category of n codes gets a vector of min(50, (n + 1) // 2) numbers (Guo and Berkhahn 2016, as fastai has it).

    Attributes:
        width: the numbers that come out for a sample.
    """

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        sizes = [min(50, (codes + 1) // 2) for codes in spec.categories]
        self.embeddings = nn.ModuleList(nn.Embedding(*pair) for pair in zip(spec.categories, sizes, strict=True))
        self.num_plain = math.prod(spec.shape) - len(spec.categories)
        self.width = self.num_plain + sum(sizes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, D), its last columns codes, to (B, width)."""
        values = inputs.flatten(1)
        codes = values[:, self.num_plain :].long()
        embedded = [embedding(codes[:, place]) for place, embedding in enumerate(self.embeddings)]
        return torch.cat([values[:, : self.num_plain], *embedded], dim=1)
