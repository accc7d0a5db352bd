"""The search for the likeliest text, compared with all texts that there are."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dltrain.decoding import Writer, drawn, likeliest

START, END, NEVER = 0, 1, 2
NUM_TOKENS = 6


class Table(Writer):
    """Random logits of the next token for each text so far; ``NEVER`` and ``START`` are not written."""

    def __init__(self, seed: int, logits: dict[tuple[int, ...], list[float]] | None = None) -> None:
        self.seed, self.logits = seed, logits
        self.texts = [()]
        self.widest = 0

    def after(self, text: tuple[int, ...]) -> torch.Tensor:
        if self.logits is not None:
            return torch.tensor(self.logits[text])
        generator = torch.Generator().manual_seed(hash((self.seed, *text)) % 2**31)
        logits = 2 * torch.randn(NUM_TOKENS, generator=generator)
        logits[[START, NEVER]] = -torch.inf
        return logits

    def next_logits(self, parents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        self.texts = [(*self.texts[parent], token) for parent, token in zip(parents, tokens.tolist(), strict=True)]
        self.widest = max(self.widest, len(self.texts))
        return torch.stack([self.after(text[1:]) for text in self.texts])  # without the first token

    def log_probability(self, text: tuple[int, ...]) -> float:
        steps = (self.after(text[:place]).double().log_softmax(0)[token] for place, token in enumerate(text))
        return math.fsum(map(float, steps))


def all_texts(longest: int) -> list[tuple[int, ...]]:
    """Returns the texts that are over within so many tokens."""
    rest = [token for token in range(NUM_TOKENS) if token not in (START, END, NEVER)]
    return [(*text, END) for length in range(longest) for text in itertools.product(rest, repeat=length)]


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_a_beam_as_wide_as_all_texts_finds_the_best(seed, length_penalty):
    table = Table(seed)
    texts = {text: table.log_probability(text) for text in all_texts(4)}
    found = likeliest(table, START, end=END, longest=4, beam=1000, length_penalty=length_penalty)
    best = max(texts, key=lambda text: texts[text] / ((5 + len(text)) / 6) ** length_penalty)
    assert found.tokens == best
    assert found.log_probability == pytest.approx(texts[best], abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_of_one_takes_the_likeliest_token_each_time(seed):
    table, text = Table(seed), ()
    while len(text) < 7 and text[-1:] != (END,):
        text = (*text, int(table.after(text).argmax()))
    found = likeliest(Table(seed), START, end=END, longest=7, beam=1)
    assert found.tokens == text and found.log_probability == pytest.approx(table.log_probability(text))


def test_a_beam_finds_what_the_likeliest_tokens_miss_and_is_never_wider():
    better = 0
    for seed in range(30):
        table = Table(seed)
        greedy, wide = (likeliest(Table(seed), START, end=END, longest=6, beam=beam) for beam in (1, 4))
        likeliest(table, START, end=END, longest=6, beam=4)
        assert table.widest <= 4
        better += wide.score(0.6) > greedy.score(0.6)
    assert better >= 5


@pytest.mark.parametrize(("length_penalty", "tokens"), [(0.0, (END,)), (0.6, (3, 4, END))])
def test_with_respect_to_its_length_a_longer_text_may_be_better(length_penalty, tokens):
    log = math.log
    impossible = -torch.inf
    table = {
        (): [impossible, log(0.5), impossible, log(0.5), impossible],
        (3,): [impossible, impossible, impossible, log(0.05), log(0.95)],
        (3, 4): [impossible, log(0.95), impossible, log(0.05), impossible],
        (3, 3): [impossible, log(0.95), impossible, log(0.05), impossible],
    }
    found = likeliest(Table(0, table), START, end=END, longest=3, beam=9, length_penalty=length_penalty)
    assert found.tokens == tokens
    assert found.log_probability == pytest.approx(log(0.5) if tokens == (END,) else log(0.5 * 0.95 * 0.95))


def test_a_text_that_is_over_goes_before_one_that_is_cut_off():
    impossible = -torch.inf
    table = {(): [impossible, -3.0, impossible, 0.0], (3,): [impossible, -30.0, impossible, 0.0]}
    assert likeliest(Table(0, table), START, end=END, longest=2, beam=3).tokens == (END,)
    assert likeliest(Table(0, table), START, end=END, longest=2, beam=1).tokens == (3, 3)


def test_without_an_end_all_texts_have_the_length_that_is_asked_for():
    table = Table(3)
    texts = itertools.product([END, 3, 4, 5], repeat=3)  # END is a token like the others then
    best = max(texts, key=table.log_probability)
    assert likeliest(table, START, end=None, longest=3, beam=1000).tokens == best


def test_draws_follow_the_probabilities_and_stop_at_the_end():
    impossible = -torch.inf
    table = {
        (): [impossible, math.log(0.2), impossible, math.log(0.8)],
        (3,): [impossible, 0.0, impossible, impossible],
    }
    generator = torch.Generator().manual_seed(0)

    def draw(temperature):
        return drawn(Table(0, table), START, end=END, longest=9, temperature=temperature, generator=generator)

    texts = [draw(1.0) for _ in range(500)]
    assert {tuple(text) for text in texts} == {(END,), (3, END)}
    assert sum(text == [END] for text in texts) / 500 == pytest.approx(0.2, abs=0.05)
    assert sum(draw(1000.0) == [END] for _ in range(500)) / 500 == pytest.approx(0.5, abs=0.07)


def test_draws_are_cut_off_too():
    table = {(3,) * length: [-torch.inf, -torch.inf, -torch.inf, 0.0] for length in range(5)}
    generator = torch.Generator().manual_seed(0)
    assert drawn(Table(0, table), START, end=END, longest=4, temperature=1.0, generator=generator) == [3] * 4
