"""A trial of one batch writes nothing."""

from __future__ import annotations

import re

import pytest


@pytest.mark.parametrize("words", ["data=iris model.hidden=[5]", "data=korean_text model=gru", "data=gate model=mlp"])
def test_one_batch_of_each_split(words, dltrain, work):
    answer = dltrain("check", *words.split())
    assert answer.code == 0, answer.err
    assert re.search(r"^train +a batch of \d+: loss 0\.\d+|^train +a batch of \d+: loss \d", answer.out, re.MULTILINE)
    assert re.search(r"^validation +a batch of \d+: loss \d", answer.out, re.MULTILINE)
    assert ("\ntest " in answer.out) == ("iris" in words)
    assert answer.out.endswith("all fits; nothing was written\n")
    assert list(work.iterdir()) == []


def test_what_does_not_fit_is_told(dltrain, work):
    answer = dltrain("check", "data=iris", "loss=msle", "callbacks.checkpoint.monitor=val/acuracy")
    assert answer.code == 2
    assert "2 mistakes" in answer.err
    assert "loss.name = 'msle'" in answer.err and "'val/acuracy'" in answer.err
    assert list(work.iterdir()) == []
