"""Sequences of different length: padding, order, batches of about the same length, and rows of floats from tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dltrain.data import IGNORED, Samples
from dltrain.data.text.ragged import Bag, Ragged, RaggedSamples

LISTS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=7), min_size=1, max_size=30)


def samples(lists: list[list[int]], **changes) -> RaggedSamples:
    return RaggedSamples(Ragged.of(lists), torch.arange(len(lists)), **changes)


def many(count: int = 1000) -> RaggedSamples:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 60, (count,), generator=generator).tolist()
    return samples([[1 + number % 8] * length for number, length in enumerate(lengths)])


@given(LISTS, st.integers(0, 3), st.sampled_from(["left", "right"]))
def test_padding_is_that_of_a_plain_loop(lists, more, side):
    width = max(map(len, lists)) + more
    padded = Ragged.of(lists).padded(torch.arange(len(lists)), width, side, fill=-1)
    fill = [[-1] * (width - len(tokens)) for tokens in lists]
    pairs = zip(lists, fill, strict=True)
    assert padded.tolist() == [tokens + rest if side == "right" else rest + tokens for tokens, rest in pairs]
    assert padded.dtype == torch.int64


def test_sequences_may_share_their_tokens():
    ragged = Ragged(torch.tensor([5, 6, 7], dtype=torch.int32), torch.tensor([0, 1, 0]), torch.tensor([3, 2, 1]))
    assert ragged.padded(torch.tensor([2, 1, 0]), 3).tolist() == [[5, 0, 0], [6, 7, 0], [5, 6, 7]]
    assert ragged.cut(2).padded(torch.arange(3), 2).tolist() == [[5, 6], [6, 7], [5, 0]]
    assert ragged.take(torch.tensor([1])).longest == 2


@given(LISTS, st.integers(1, 9), st.sampled_from([0, 1, None]), st.integers(0, 3))
def test_every_sample_comes_exactly_once_an_epoch_whole_and_padded_to_its_batch(lists, size, seed, epoch):
    split = samples(lists).split(batch_size=size, seed=seed, device="cpu")
    batches = list(split.batches(epoch))
    assert [batch.size for batch in batches[:-1]] == [size] * (len(batches) - 1) and len(batches) == split.num_batches
    seen = {}
    for batch in batches:
        assert (batch.inputs != 0).any(dim=0).all()  # no column of padding alone
        for row, number in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
            assert number not in seen
            seen[number] = [token for token in row if token]
    assert seen == dict(enumerate(lists))


@pytest.mark.parametrize("seed", [0, None])
def test_an_epoch_goes_on_at_any_batch(seed):
    split = many().split(batch_size=32, seed=seed, device="cpu")
    whole = list(split.batches(3))
    for start in (0, 1, 17, 31, 32, 40):
        rest = list(split.batches(3, start))
        assert len(rest) == max(0, len(whole) - start)
        for batch, same in zip(rest, whole[start:], strict=True):
            assert torch.equal(batch.inputs, same.inputs) and torch.equal(batch.targets, same.targets)


def order(seed: int, epoch: int) -> list[int]:
    split = many().split(batch_size=32, seed=seed, device="cpu")
    return torch.cat([batch.targets for batch in split.batches(epoch)]).tolist()


def test_the_order_hangs_on_seed_and_epoch_alone():
    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) != order(1, 1)


def test_batches_hold_little_padding_and_come_in_no_order_of_length():
    split = many(20_000).split(batch_size=32, seed=0, device="cpu")
    batches = [batch.inputs for batch in split.batches(0)]
    padding = sum((inputs == 0).sum().item() for inputs in batches) / sum(inputs.numel() for inputs in batches)
    assert padding < 0.03  # shuffled without a thought it is half
    widths = torch.tensor([float(inputs.shape[1]) for inputs in batches])
    assert torch.corrcoef(torch.stack((widths, torch.arange(len(widths)).float())))[0, 1].abs() < 0.1


@pytest.mark.parametrize("seed", [0, None])
def test_pairs_hold_little_padding_on_both_sides(seed):
    source, target = torch.randint(1, 40, (2, 6400), generator=torch.Generator().manual_seed(0)).tolist()
    inputs = {"source": Ragged.of([[1] * n for n in source]), "target": Ragged.of([[1] * n for n in target])}
    pairs = RaggedSamples(inputs, Ragged.of([[1] * n for n in target]))
    batches = [batch.inputs for batch in pairs.split(batch_size=64, seed=seed, device="cpu").batches(0)]
    for name in inputs:
        padding = sum((batch[name] == 0).sum().item() for batch in batches) / sum(b[name].numel() for b in batches)
        assert padding < 0.15  # by the sum of both lengths it is a third
    assert sorted(int(row.sum()) for batch in batches for row in batch["source"]) == sorted(source)


def test_an_evaluation_goes_by_length():
    split = many().split(batch_size=100, seed=None, device="cpu")
    widths = [batch.inputs.shape[1] for batch in split.batches(0)]
    assert widths == sorted(widths)


@pytest.mark.parametrize("seed", [0, None])
def test_windows_of_a_fixed_width_come_as_plain_tensors_would(seed):
    ragged = samples([[1], [1, 2], [1, 2, 3], [2, 2], [3]], width=4, padding="left")
    dense = ragged.dense()
    assert isinstance(dense, Samples) and dense.inputs.shape == (5, 4)
    both = (source.split(batch_size=2, seed=seed, device="cpu").batches(1) for source in (ragged, dense))
    for batch, plain in zip(*both, strict=True):
        assert torch.equal(batch.inputs, plain.inputs) and torch.equal(batch.targets, plain.targets)


def test_windows_that_would_take_much_memory_stay_as_they_are():
    source = RaggedSamples(Ragged.of([[1]]).take(torch.zeros(300_000, dtype=torch.int64)), torch.zeros(300_000), 100)
    assert source.dense() is source


def test_targets_at_every_step_are_ignored_where_there_is_no_token_or_an_unknown_one():
    source = RaggedSamples(Ragged.of([[1, 2, 3], [4]]), Ragged.of([[2, 9, 4], [9]]), ignored=9)
    batch = source.head(5)
    assert batch.inputs.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert batch.targets.tolist() == [[2, IGNORED, 4], [IGNORED, IGNORED, IGNORED]]


def test_several_inputs_are_padded_each_to_its_own_longest():
    inputs = {"source": Ragged.of([[1], [2, 3]]), "target": Ragged.of([[1, 2, 3], [4]])}
    batch = RaggedSamples(inputs, Ragged.of([[2, 3, 4], [5]])).head(2)
    assert batch.inputs["source"].tolist() == [[1, 0], [2, 3]]
    assert batch.inputs["target"].tolist() == [[1, 2, 3], [4, 0, 0]]


def test_weights_stay_with_their_samples():
    source = samples([[1], [2, 2], [3, 3, 3], [4]], weights=torch.arange(4).float()).take(torch.tensor([0, 2, 3]))
    for batch in source.split(batch_size=2, seed=0, device="cpu").batches(0):
        assert torch.equal(batch.weights, batch.targets.float())


@given(LISTS, st.integers(1, 12), st.booleans())
def test_a_bag_counts_the_tokens_that_have_a_column(lists, size, counts):
    rows = samples(lists, transform=Bag(size, counts)).head(len(lists)).inputs
    assert rows.dtype == torch.float32
    for row, tokens in zip(rows.tolist(), lists, strict=True):
        expected = [tokens.count(number) for number in range(1, size + 1)]
        assert row == (expected if counts else [float(count > 0) for count in expected])


def test_the_content_tells_samples_apart():
    def content(source: RaggedSamples) -> bytes:
        return b"".join(bytes(piece) for piece in source.content())

    assert content(samples([[1, 2], [3]])) == content(samples([[1, 2], [3]]))
    assert content(samples([[1, 2], [3]])) != content(samples([[1], [2, 3]]))
    assert content(samples([[1, 2], [3]])) != content(samples([[1, 2], [4]]))
