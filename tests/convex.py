"""Convex problems with a known least value, for the tests of optimizers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from dltrain import optimizers

GRADIENTS = np.random.default_rng(0).normal(size=(20, 6))
START = np.random.default_rng(1).normal(size=6)


class Bowl(nn.Module):
    """A quadratic of a vector and two matrices, with curvatures from 0.5 to 3, whose least value is 0."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.vector = nn.Parameter(torch.randn(5, generator=generator))
        self.matrix = nn.Parameter(torch.randn(3, 4, generator=generator))
        self.output = nn.Parameter(torch.randn(2, 3, generator=generator))
        self.best = [torch.randn(parameter.shape, generator=generator) for parameter in self.parameters()]
        self.curvature = [torch.linspace(0.5, 3, b.numel()).reshape(b.shape) for b in self.best]

    def forward(self) -> torch.Tensor:
        parts = zip(self.curvature, self.parameters(), self.best, strict=True)
        return sum((c * (p - b).square()).sum() / 2 for c, p, b in parts)


class LogisticRegression(nn.Module):
    """Three classes of forty points with a ridge penalty, as a distance to the least value."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight, self.bias = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3))
        self.points = torch.randn(40, 4, generator=generator) * torch.tensor([0.5, 1.0, 1.0, 2.0])
        noise = torch.randn(40, 3, generator=generator)
        self.classes = (self.points @ torch.randn(4, 3, generator=generator) + noise).argmax(dim=1)
        self.least = least(self.points, self.classes)

    def forward(self) -> torch.Tensor:
        logits = self.points @ self.weight.T + self.bias
        ridge = 0.05 * (self.weight.square().sum() + self.bias.square().sum())
        return nn.functional.cross_entropy(logits, self.classes) + ridge - self.least


def least(points: torch.Tensor, classes: torch.Tensor) -> float:
    """Returns the least value of the logistic regression, by Newton's method from 0 in double precision."""

    def loss(flat: torch.Tensor) -> torch.Tensor:
        logits = points.double() @ flat[:12].reshape(3, 4).T + flat[12:]
        return nn.functional.cross_entropy(logits, classes) + 0.05 * flat.square().sum()

    flat = torch.zeros(15, dtype=torch.float64)
    for _ in range(6):
        slope = torch.autograd.functional.jacobian(loss, flat)
        flat = flat - torch.linalg.solve(torch.autograd.functional.hessian(loss, flat), slope)
    return loss(flat).item()


def update(problem: nn.Module, optimizer: Optimizer, times: int) -> None:
    step = optimizers.plain_step(optimizer)

    def closure() -> torch.Tensor:
        for parameter in problem.parameters():
            parameter.grad = None
        loss = problem()
        loss.backward()
        return loss

    for _ in range(times):
        if optimizers.needs_closure(optimizer):
            step(closure)
        else:
            closure()
            step()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def trained(settings_of, name: str, start: np.ndarray, gradients: np.ndarray, state=None, **changes) -> np.ndarray:
    """Returns a parameter of double precision after an update with each of the gradients, (T, size)."""
    parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = optimizers.build(settings_of("optimizer", name, **changes), [("w", parameter)])
    if state is not None:
        optimizer.state[parameter].update({key: torch.full_like(parameter, value) for key, value in state.items()})
    step, values = optimizers.plain_step(optimizer), []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        step()
        values.append(parameter.detach().numpy().copy())
    return np.array(values)
