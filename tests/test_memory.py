"""Which batches are tried, and what auto_batch_size refuses; faults/test_memory.py lets memory really run out."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training import configure, train

from dltrain import assembly, memory
from dltrain.data.text.ragged import Ragged, RaggedSamples
from dltrain.errors import ConfigError


@given(st.integers(1, 5000))
def test_each_size_divides_the_whole_so_that_an_update_sees_the_same_samples(total):
    sizes = memory.parts_of(total)
    assert sizes[0] == total and sizes[-1] == 1
    assert all(total % size == 0 for size in sizes)
    assert all(2 * later <= earlier for earlier, later in itertools.pairwise(sizes))


def test_halves_go_down_to_one():
    assert memory.halves_of(100) == [100, 50, 25, 12, 6, 3, 1]


def test_of_texts_the_longest_are_tried():
    texts = Ragged.of([[1], [1, 2, 3, 4], [1, 2], [1, 2, 3]])
    source = RaggedSamples(texts, torch.tensor([0, 1, 2, 3]))
    batch = memory.largest_batch(source, 2, torch.device("cpu"))
    assert batch.targets.tolist() == [1, 3] and batch.inputs.shape == (2, 4)
    assert memory.largest_batch(source, 6, torch.device("cpu")).inputs.shape == (6, 4)


def test_a_last_batch_of_one_sample_is_not_taken_where_normalisation_needs_two(tmp_path):
    parts = assembly.build(configure(tmp_path, "data=iris", "model=mlp", "model.norm=batch")[0])
    assert memory._usable(parts, [90, 89, 45, 2, 1]) == [90, 45, 2]


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (("optimizer=lbfgs", "trainer.auto_batch_size=true"), "trainer.auto_batch_size = true: optimizer=lbfgs cannot"),
        (("optimizer=lbfgs", "trainer.on_divergence=skip"), "trainer.on_divergence = 'skip': optimizer=lbfgs makes"),
        (("model=knn", "trainer.auto_batch_size=true"), "trainer.auto_batch_size = true: model=knn is fitted without"),
        (("model=knn", "trainer.on_divergence=rollback"), "trainer.on_divergence = rollback: model=knn is fitted"),
        (("model=som", "trainer.on_divergence=skip"), "trainer.on_divergence = skip: model=som learns without"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_run_has_a_folder(overrides, problem, tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", *overrides)
    assert problem in str(caught.value)
    assert not (tmp_path / "run").exists()
