"""The order of an epoch, and batches from any place in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dltrain.data import Batch, Samples, Transform, batching
from dltrain.data.batching import ResidentSplit, permutation

NUM_SAMPLES = st.integers(1, 40)
BATCH_SIZE = st.integers(1, 50)
SEED = st.none() | st.integers(0, 2**63 - 1)
EPOCH = st.integers(0, 10_000)


def split_of(num_samples: int, batch_size: int, seed: int | None) -> ResidentSplit:
    inputs = torch.arange(num_samples * 3, dtype=torch.float32).reshape(num_samples, 3)
    return ResidentSplit(Samples(inputs, torch.arange(num_samples)), batch_size=batch_size, seed=seed)


@given(NUM_SAMPLES, st.integers(0, 2**63 - 1), EPOCH)
def test_the_order_is_a_pure_function_of_seed_and_epoch(num_samples, seed, epoch):
    state = torch.get_rng_state()
    order = permutation(num_samples, seed, epoch)
    assert torch.equal(torch.get_rng_state(), state)  # neither reads nor moves the global generator
    torch.rand(3)
    assert torch.equal(permutation(num_samples, seed, epoch), order)
    assert order.sort().values.tolist() == list(range(num_samples))


def test_the_order_differs_between_epochs_and_between_seeds():
    orders = {tuple(permutation(50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_the_order_is_this_one_for_ever():
    # A run that is resumed by a later version must go on in the order in which it began.
    assert permutation(8, seed=0, epoch=0).tolist() == [4, 0, 7, 3, 2, 5, 1, 6]
    assert permutation(8, seed=3, epoch=5).tolist() == [6, 7, 0, 2, 3, 1, 4, 5]


@given(NUM_SAMPLES, BATCH_SIZE, SEED, EPOCH)
def test_an_epoch_has_each_sample_once_with_its_target(num_samples, batch_size, seed, epoch):
    split = split_of(num_samples, batch_size, seed)
    batches = list(split.batches(epoch))
    assert len(batches) == split.num_batches
    assert all(len(batch.targets) == batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1].targets) <= batch_size
    targets = torch.cat([batch.targets for batch in batches])
    assert sorted(targets.tolist()) == list(range(num_samples))
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), split.stored.inputs[targets])
    if seed is None:
        assert targets.tolist() == list(range(num_samples))


@given(NUM_SAMPLES, st.integers(1, 12), SEED, EPOCH)
def test_batches_from_any_place_on_are_the_tail_of_the_epoch(num_samples, batch_size, seed, epoch):
    split = split_of(num_samples, batch_size, seed)
    whole = list(split.batches(epoch))
    for start in range(len(whole) + 3):  # from the end on there are none
        for batch, expected in zip(split.batches(epoch, start), whole[start:], strict=True):
            assert torch.equal(batch.inputs, expected.inputs)
            assert torch.equal(batch.targets, expected.targets)


@given(st.integers(9, 40), st.integers(1, 8), st.integers(0, 2**63 - 1), EPOCH)
def test_an_epoch_of_several_batches_is_in_the_order_of_its_permutation(num_samples, batch_size, seed, epoch):
    targets = torch.cat([batch.targets for batch in split_of(num_samples, batch_size, seed).batches(epoch)])
    assert torch.equal(targets, permutation(num_samples, seed, epoch))


@pytest.mark.parametrize("start", [0, 1, 3, 4, 5])
def test_gathering_in_pieces_changes_nothing(monkeypatch, start):
    split = split_of(50, batch_size=6, seed=1)
    at_once = list(split.batches(2, start))
    sample_bytes = 3 * 4 + 8
    monkeypatch.setattr(batching, "_GATHER_BYTES", 2 * 6 * sample_bytes)  # two batches a piece
    for batch, expected in zip(split.batches(2, start), at_once, strict=True):
        assert torch.equal(batch.inputs, expected.inputs)
        assert torch.equal(batch.targets, expected.targets)


def test_batches_in_the_samples_own_order_are_no_copies():
    split = split_of(10, batch_size=4, seed=None)
    assert next(iter(split.batches(0))).inputs.data_ptr() == split.stored.inputs.data_ptr()


# --- several tensors, weights, chances, transforms --------------------------------------------------------


def several(num_samples: int) -> Samples:
    numbers = torch.arange(num_samples)
    return Samples(
        {"wide": numbers[:, None].float(), "deep": -numbers[:, None].float()},
        {"kind": numbers, "price": numbers[:, None] / 2},
        weights=numbers.float() + 1,
    )


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("size", [4, 100])
def test_several_tensors_and_weights_stay_together(seed, size):
    split = several(23).split(batch_size=size, seed=seed, device="cpu")
    batches = list(split.batches(epoch=1))
    kinds = torch.cat([batch.targets["kind"] for batch in batches])
    assert sorted(kinds.tolist()) == list(range(23))
    assert [batch.size for batch in batches] == [min(size, 23 - first) for first in range(0, 23, size)]
    for batch in batches:
        kind = batch.targets["kind"]
        assert torch.equal(batch.inputs["wide"][:, 0], kind.float())
        assert torch.equal(batch.inputs["deep"][:, 0], -kind.float())
        assert torch.equal(batch.targets["price"][:, 0], kind / 2)
        assert torch.equal(batch.weights, kind.float() + 1)
    for start in range(len(batches)):
        again = [batch.targets["kind"].tolist() for batch in split.batches(epoch=1, start=start)]
        assert again == [batch.targets["kind"].tolist() for batch in batches[start:]]


def test_an_epoch_of_drawn_samples_has_the_chances_that_are_asked_for():
    classes = torch.tensor([0] * 900 + [1] * 100)
    chances = torch.where(classes == 0, 1 / 900, 1 / 100).double()
    chances[0] = 0.0
    split = Samples(torch.arange(1000), classes, chances=chances).split(batch_size=64, seed=0, device="cpu")
    epochs = [torch.cat([batch.targets for batch in split.batches(epoch)]) for epoch in range(20)]
    assert all(len(epoch) == 1000 for epoch in epochs)
    assert torch.stack(epochs).float().mean().item() == pytest.approx(0.5, abs=0.02)
    drawn_samples = torch.cat([torch.cat([b.inputs for b in split.batches(epoch)]) for epoch in range(20)])
    assert 0 not in drawn_samples and set(range(900, 1000)) <= set(drawn_samples.tolist())
    late = torch.cat([batch.inputs for batch in split.batches(7, start=5)])
    assert torch.equal(late, torch.cat([batch.inputs for batch in split.batches(7)])[5 * 64 :])
    assert not torch.equal(epochs[0], epochs[1])


class Marked(Transform):
    """Puts epoch and index beside the value."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def __call__(self, batch: Batch, indices: torch.Tensor, epoch: int | None) -> Batch:
        mark = torch.full_like(indices, -1 if epoch is None else epoch)
        return Batch(torch.stack([batch.inputs, indices, mark], dim=1), batch.targets)

    def seeded(self, seed: int) -> Transform:
        return Marked(seed)


@pytest.mark.parametrize(("seed", "size", "mark"), [(None, 4, -1), (3, 4, 9), (3, 100, 9)])
def test_a_transform_gets_each_samples_place_and_the_epoch_in_training(seed, size, mark):
    samples = Samples(torch.arange(23) * 10, torch.arange(23), transform=Marked())
    split = samples.split(batch_size=size, seed=seed, device="cpu")
    assert split.transform.seed == seed
    for start in (0, 2):
        for batch in split.batches(epoch=9, start=start):
            assert torch.equal(batch.inputs[:, 0], batch.inputs[:, 1] * 10)
            assert torch.equal(batch.inputs[:, 1], batch.targets)
            assert (batch.inputs[:, 2] == mark).all()
    head = samples.head(3)
    assert head.inputs.tolist() == [[0, 0, -1], [10, 1, -1], [20, 2, -1]]


def test_the_content_tells_samples_apart():
    def content(samples: Samples) -> bytes:
        return b"".join(bytes(piece) for piece in samples.content())

    samples = several(5)
    assert content(samples) == content(several(5))
    swapped = {"wide": samples.inputs["deep"], "deep": samples.inputs["wide"]}
    for other in (
        several(6),
        Samples(samples.inputs, samples.targets),
        Samples(samples.targets, samples.inputs),
        replace(samples, inputs=dict(reversed(swapped.items()))),
        replace(samples, chances=torch.ones(5, dtype=torch.float64)),
    ):
        assert content(other) != content(samples)
