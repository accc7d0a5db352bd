"""Kohonen's map."""

from __future__ import annotations

import pytest
import torch
from training import settings_of, train

from dltrain import registry
from dltrain.data import InputSpec, Task

PLANE = Task("regression", InputSpec((2,)), 2)


def build(task: Task = PLANE, **changes):
    torch.manual_seed(0)
    return registry.build("model", settings_of("model", "som", **changes), task=task)


def error(model, points: torch.Tensor) -> float:
    """Returns the mean distance from a point to its unit."""
    return float((points - model.places[model.winners(points)]).norm(dim=1).mean())


def test_the_map_unfolds_over_a_square():
    model = build(rows=6, columns=6, shrink_samples=1500, last_radius=0.4)
    points = torch.rand(2000, 2) * 2 - 1
    before = error(model, points)
    for step, batch in enumerate(points.split(50)):
        model.learn(batch, batch, lr=0.5 * 0.95**step)
    assert error(model, points) < min(0.2, before / 3)
    grid = model.places.reshape(6, 6, 2)
    beside = torch.cat([(grid[1:] - grid[:-1]).flatten(0, 1), (grid[:, 1:] - grid[:, :-1]).flatten(0, 1)]).norm(dim=1)
    apart = torch.pdist(model.places)
    # Neighbours in the grid are neighbours in space: the farthest are nearer than most pairs, none is torn off.
    assert beside.max() < apart.median() and beside.mean() < 0.5 * apart.mean()
    # The winner's answer is what it was shown: the points themselves, as these were the targets.
    assert (model(points) - points).norm(dim=1).mean() < 0.3


def test_a_step_moves_each_unit_towards_the_sample_by_its_nearness_to_the_winner():
    model = build(rows=1, columns=3, radius=1.0, last_radius=1.0)
    with torch.no_grad():
        model.places.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]))
    model.learn(torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0, 7.0]]), lr=0.5)  # the first unit wins
    near = 0.5 * torch.exp(-torch.tensor([0.0, 1.0, 4.0]) / 2)
    expected = torch.stack([torch.tensor([0.0, 1.0, 2.0]) * (1 - near), near], dim=1)
    torch.testing.assert_close(model.places.data, expected)
    torch.testing.assert_close(model.values.data, torch.tensor([[2.5, 3.5], [0.0, 0.0], [0.0, 0.0]]))


def test_the_neighbourhood_shrinks_with_the_samples_that_were_shown_and_then_stays():
    model = build(rows=8, columns=4, last_radius=1.0, shrink_samples=20)
    radii = []
    for _ in range(4):
        radii.append(float(model.radius()))
        model.learn(torch.zeros(10, 2), torch.zeros(10, 2), lr=0.1)
    assert radii == pytest.approx([4.0, 2.0, 1.0, 1.0])
    assert int(model.shown) == 40 and "shown" in model.state_dict()


@pytest.mark.slow
def test_it_reads_digits(tmp_path):
    outcome = train(
        tmp_path / "run",
        "data=digits",
        "model=som",
        "optimizer.lr=0.2",
        "model.shrink_samples=5000",
        "trainer.max_epochs=6",
        "trainer.evaluate_every_epochs=null",
    )
    assert outcome.result["test"]["test/accuracy"] > 0.88
    assert outcome.result["test"]["test/loss"] < 0.7
