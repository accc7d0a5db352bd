"""The nearest neighbours, and their votes."""

from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from training import configure, settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.models import knn

THREE = Task("multiclass", InputSpec((4,)), 3)
VALUES = Task("regression", InputSpec((4,)), 2)


def build(task: Task = THREE, **changes):
    return registry.build("model", settings_of("model", "knn", **changes), task=task)


@pytest.fixture
def points():
    torch.manual_seed(0)
    return torch.randn(90, 4), torch.randn(40, 4)


@pytest.mark.parametrize(
    ("k", "votes", "winner"), [(7, "inverse_rank", 1), (11, "inverse_rank", 1), (11, "plain", 0), (7, "plain", 1)]
)
def test_the_worked_case_of_ranks_and_votes(k, votes, winner):
    """Ranks 1, 2, 3, 4 and 6 are red (1), the others up to 11 green (0)."""
    task = Task("binary", InputSpec((1,)), 1)
    ranks = torch.arange(1.0, 12.0)
    red = torch.tensor([float(rank in (1, 2, 3, 4, 6)) for rank in ranks])
    model = build(task, k=k, votes=votes)
    model.fit(ranks[:, None], red[:, None], None)
    assert int(model(torch.zeros(1, 1)) > 0) == winner


@pytest.mark.parametrize(("votes", "theirs"), [("plain", "uniform"), ("inverse_distance", "distance")])
@pytest.mark.parametrize("k", [1, 4, 9])
def test_shares_are_those_of_scikit_learn(points, votes, theirs, k):
    known, asked = points
    asked = torch.cat([asked, known[:5]])  # some at distance 0
    targets = torch.arange(90) % 3
    model = build(k=k, votes=votes)
    model.fit(known, targets, None)
    reference = KNeighborsClassifier(k, weights=theirs).fit(known.numpy(), targets.numpy())
    expected = torch.from_numpy(reference.predict_proba(asked.numpy())).float()
    torch.testing.assert_close(model(asked).softmax(dim=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("votes", "theirs"), [("plain", "uniform"), ("inverse_distance", "distance")])
def test_values_are_those_of_scikit_learn(points, votes, theirs):
    known, asked = points
    targets = torch.randn(90, 2)
    model = build(VALUES, k=6, votes=votes)
    model.fit(known, targets, None)
    reference = KNeighborsRegressor(6, weights=theirs).fit(known.numpy(), targets.numpy())
    torch.testing.assert_close(model(asked), torch.from_numpy(reference.predict(asked.numpy())).float())


def test_of_samples_at_the_same_distance_the_first_is_nearer():
    known = torch.tensor([[1.0], [-1.0], [1.0], [0.5], [-1.0]]).expand(5, 4).contiguous()
    model = build(Task("regression", InputSpec((4,)), 1), k=3)
    model.fit(known, torch.tensor([[1.0], [10.0], [100.0], [1000.0], [10000.0]]), None)
    assert model(torch.zeros(1, 4)).item() == pytest.approx((1000 + 1 + 10) / 3)


def test_of_classes_with_the_same_votes_the_first_wins():
    model = build(k=2)
    model.fit(torch.tensor([[1.0] * 4, [-1.0] * 4]), torch.tensor([2, 1]), None)
    assert model(torch.zeros(1, 4)).argmax() == 1


def test_the_square_root_of_the_number_of_samples(points):
    model = build(k="sqrt")
    model.fit(points[0], torch.arange(90) % 3, None)
    assert int(model.k) == 9


@pytest.mark.parametrize("task", [THREE, VALUES])
def test_cross_validation_leaves_each_sample_out_once(points, task):
    known, targets = points[0], torch.arange(90) % 3
    if task is VALUES:
        targets = torch.stack([known[:, 0], known[:, 1] ** 2], dim=1)
    candidates = [1, 3, 5, 20]
    errors = []
    for k in candidates:
        total = 0.0
        for left_out in range(90):
            others = [row for row in range(90) if row != left_out]
            model = build(task, k=k)
            model.fit(known[others], targets[others], None)
            answer = model(known[left_out : left_out + 1])
            target = targets[left_out]
            total += float(answer.argmax() != target if task is THREE else (answer - target).square().mean())
        errors.append(total)
    model = build(task, k="cv", candidates=candidates)
    model.fit(known, targets, None)
    assert int(model.k) == candidates[errors.index(min(errors))]


def test_votes_count_as_much_as_their_samples():
    model = build(k=3)
    model.fit(torch.eye(4)[:3], torch.tensor([0, 0, 1]), torch.tensor([0.5, 0.5, 2.0]))
    shares = model(torch.zeros(1, 4)).softmax(dim=1)
    torch.testing.assert_close(shares, torch.tensor([[1 / 3, 2 / 3, 0.0]]), atol=1e-5, rtol=0)


def test_many_samples_are_compared_a_part_at_a_time(points, monkeypatch):
    known, asked = points
    model = build(k="cv")
    model.fit(known, torch.arange(90) % 3, None)
    before, chosen = model(asked), int(model.k)
    monkeypatch.setattr(knn, "_CHUNK_BYTES", 4 * 90 * 7)
    model.fit(known, torch.arange(90) % 3, None)
    assert torch.equal(model(asked), before) and int(model.k) == chosen


def test_a_fitted_state_makes_an_unfitted_model_the_same(points):
    known, asked = points
    model, other = build(k=4, votes="inverse_rank"), build(k=4, votes="inverse_rank")
    model.fit(known, torch.arange(90) % 3, None)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(asked), model(asked))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 91}, "model.k = 91: there are 90 training samples. Give at most that"),
        (
            {"k": "cv", "candidates": [3, 90]},
            "model.candidates = [3, 90]: a sample has 89 others. Give at most that",
        ),
    ],
)
def test_more_neighbours_than_samples_are_refused(points, changes, message):
    with pytest.raises(ConfigError) as error:
        build(**changes).fit(points[0], torch.arange(90) % 3, None)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("k", "message"),
    [
        ("0", "model.k: 0: must be at least 1"),
        ("root", "model.k: 'root': must be a whole number at least 1, sqrt or cv"),
        ("1.5", "model.k = 1.5: must be a whole number or text."),
    ],
)
def test_a_k_that_is_none_is_refused(k, message, tmp_path):
    with pytest.raises(ConfigError) as error:
        configure(tmp_path, "model=knn", f"model.k={k}")
    assert error.value.problems == (message,) or error.value.problems == [message]


@pytest.mark.parametrize("own", [None, 100])
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_candidates_by_a_matrix_product_change_nothing(own, shift, monkeypatch):
    torch.manual_seed(0)
    known = torch.randint(0, 3, (300, 40)).float() + shift  # whole numbers: many distances are the same
    known[150:180] = known[100:130]  # and some samples
    rows = known[100:140] if own is not None else torch.randint(0, 3, (40, 40)).float() + shift
    fast = knn.nearest(rows, known, 5, own)
    monkeypatch.setattr(knn, "_PRODUCT_FROM", 1000)
    exact = knn.nearest(rows, known, 5, own)
    assert torch.equal(fast[0], exact[0])
    torch.testing.assert_close(fast[1], exact[1])
