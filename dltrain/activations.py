"""The functions between the layers, by the name that stands in YAML."""

from __future__ import annotations

import torch
from torch import nn


class Step(nn.Module):
    """1 where the input is above 0 or 0, else 0. It has no gradient: only a rule of its own can train through it."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs >= 0).to(inputs.dtype)


class Gaussian(nn.Module):
    """exp(-x^2)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.exp(-inputs.square())


class Maxout(nn.Module):
    """The largest of each ``PIECES`` linear functions (Goodfellow et al. 2013, eq. 1 and 2).

    The layer before gives (B, units * PIECES, ...), see ``pieces``; what comes out is (B, units, ...).
    """

    PIECES = 2

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = inputs.unflatten(1, (-1, self.PIECES)).amax(dim=2)
        return outputs


class Softmax(nn.Module):
    """exp(x_i) / sum_j exp(x_j) over the units (or channels) of a sample."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.softmax(dim=1)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "step": Step,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01 below 0
    "prelu": nn.PReLU,  # one learned slope, 0.25 at first
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softmax": Softmax,
    "gaussian": Gaussian,
    "maxout": Maxout,
}
CHOICES = tuple(ACTIVATIONS)


def activation(name: str) -> nn.Module:
    """Returns a new layer that computes the function."""
    return ACTIVATIONS[name]()


def pieces(name: str) -> int:
    """Returns how many numbers the layer before must give for each unit: 1, but for maxout."""
    return Maxout.PIECES if name == "maxout" else 1
