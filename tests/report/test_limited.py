"""A part of a split: which samples it has, and that they are told by their places in the whole."""

from __future__ import annotations

import pytest
import torch
from training import configure

from dltrain import assembly, worst
from dltrain.data.text.ragged import RaggedSamples
from dltrain.readable import Reader
from dltrain.report.limited import Choice, Part, limited


@pytest.mark.parametrize(
    ("count", "batch_size", "most"),
    [(50_000, 1024, 10_000), (50_000, 256, 10_000), (50_000, 50_000, 10_000), (10_001, 1024, 10_000), (100, 3, 30)],
)
def test_the_samples_are_spread_over_the_split(count, batch_size, most):
    numbers = Choice(count, batch_size, most).numbers
    assert 0.7 * most <= len(numbers) <= most
    assert numbers.tolist() == sorted(set(numbers.tolist()))
    assert numbers[0] < count / 10 and 0.9 * count < numbers[-1] < count
    assert (numbers < count / 2).double().mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("batch_size", [1, 4, 16, 2000])
@pytest.mark.parametrize("data", ["digits", "korean_text"])
def test_a_part_gives_the_samples_that_it_says(tmp_path, data, batch_size):
    options = ["model=rnn"] if data == "korean_text" else []
    config, _ = configure(tmp_path, f"data={data}", f"trainer.evaluation_batch_size={batch_size}", *options)
    parts = assembly.build(config)
    most = 60 if data == "digits" else 9
    part = limited(parts, "train", most)
    assert isinstance(part.data.train, Part) and part.data.validation is parts.data.validation
    split = part.split("train")
    order = split.evaluation_order()
    batches = list(split.batches(0))
    assert len(part.data.train) == split.num_samples == len(order) == sum(batch.size for batch in batches) <= most
    assert split.num_batches == len(batches)
    whole = parts.data.train
    for place, batch in zip(order.split([batch.size for batch in batches]), batches, strict=True):
        if isinstance(whole, RaggedSamples):
            expected = whole.take(place).head(len(place)).targets
        else:
            expected = whole.targets[place]
        assert torch.equal(batch.targets.flatten(), expected.flatten())


def test_few_enough_samples_are_all_taken(tmp_path):
    parts = assembly.build(configure(tmp_path, "data=iris")[0])
    assert limited(parts, "train", None) is parts
    assert limited(parts, "train", 1000) is parts


def test_the_worst_samples_of_a_part_have_their_own_places(tmp_path):
    parts = assembly.build(configure(tmp_path, "data=digits", "trainer.evaluation_batch_size=16")[0])
    reader = Reader(parts.data, parts.loss)
    every = worst.find(parts.model, parts.split("train"), reader, parts.loss, None, len(parts.data.train))
    losses = {entry.place: entry.loss for entry in every}
    part = limited(parts, "train", 200)
    found = worst.find(part.model, part.split("train"), reader, part.loss, None, 20)
    chosen = part.split("train").evaluation_order().tolist()
    expected = sorted(chosen, key=lambda place: -losses[place])[:20]
    assert [entry.loss for entry in found] == pytest.approx([losses[place] for place in expected], rel=1e-4)
    assert {entry.place for entry in found} <= set(chosen)
