"""The search for the likeliest text, compared with all texts that there are."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dltrain.decoding import Writer, drawn, likeliest, narrowed, search

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
        (text,) = drawn(Table(0, table), START, end=END, longest=9, temperature=temperature, generators=[generator])
        return text

    texts = [draw(1.0) for _ in range(500)]
    assert {tuple(text) for text in texts} == {(END,), (3, END)}
    assert sum(text == [END] for text in texts) / 500 == pytest.approx(0.2, abs=0.05)
    assert sum(draw(1000.0) == [END] for _ in range(500)) / 500 == pytest.approx(0.5, abs=0.07)


def test_draws_are_cut_off_too():
    table = {(3,) * length: [-torch.inf, -torch.inf, -torch.inf, 0.0] for length in range(5)}
    generator = torch.Generator().manual_seed(0)
    (text,) = drawn(Table(0, table), START, end=END, longest=4, temperature=1.0, generators=[generator])
    assert text == [3] * 4


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("seed", range(4))
def test_texts_that_are_drawn_at_once_are_those_that_are_drawn_alone(seed):
    how = {"end": END, "longest": 7, "temperature": 1.5, "top_k": 3, "top_p": 0.95}
    together = drawn(Table(seed), START, generators=seeded(*range(20)), **how)
    assert together == [drawn(Table(seed), START, generators=seeded(i), **how)[0] for i in range(20)]
    assert len({len(text) for text in together}) > 2  # some are over sooner than others, and leave the batch
    assert all(END not in text[:-1] for text in together)


def test_a_text_that_is_over_is_computed_no_more():
    table = Table(1)
    texts = drawn(table, START, end=END, longest=30, temperature=1.0, generators=seeded(*range(8)))
    longest = max(texts, key=len)
    assert len(table.texts) == sum(len(text) == len(longest) for text in texts)


def test_each_token_of_a_single_text_is_told_as_soon_as_it_is_known():
    told: list[int] = []
    (text,) = drawn(
        Table(2), START, end=END, longest=9, temperature=2.0, generators=seeded(3), tell=lambda n: told.append(n)
    )
    assert told == text
    told.clear()
    (found,) = search(Table(2), START, end=END, longest=9, beam=1, tell=lambda n: told.append(n))
    assert tuple(told) == found.tokens


# --- what is drawn from -----------------------------------------------------------------------------------

CHANCES = torch.tensor([[0.05, 0.4, 0.1, 0.4, 0.05]])


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (None, None, {0, 1, 2, 3, 4}),
        (1, None, {1}),  # of equals the one with the lower number
        (2, None, {1, 3}),
        (4, None, {0, 1, 2, 3}),
        (99, None, {0, 1, 2, 3, 4}),
        (None, 1e-9, {1}),
        (None, 0.4, {1}),
        (None, 0.41, {1, 3}),
        (None, 0.8, {1, 3}),
        (None, 0.9, {1, 2, 3}),
        (None, 1.0, {0, 1, 2, 3, 4}),
        (3, 0.9, {1, 2, 3}),  # 0.4 + 0.4 is less than 0.9 of the three
        (3, 0.88, {1, 3}),
        (2, 0.5, {1}),
    ],
)
def test_the_unlikely_is_left_out(top_k, top_p, kept):
    left = narrowed(CHANCES.double(), top_k, top_p)
    assert set(left[0].nonzero().flatten().tolist()) == kept
    for place in kept:
        assert left[0, place] == CHANCES.double()[0, place]


@pytest.mark.parametrize("top_p", [0.3, 0.6, 0.9])
def test_the_nucleus_is_the_smallest_set_that_has_the_probability(top_p):
    chances = torch.softmax(3 * torch.randn(200, 12, generator=torch.Generator().manual_seed(0)).double(), dim=1)
    left = narrowed(chances, None, top_p)
    for row, kept in zip(chances.tolist(), (left > 0).tolist(), strict=True):
        nucleus = [chance for chance, is_kept in zip(row, kept, strict=True) if is_kept]
        rest = [chance for chance, is_kept in zip(row, kept, strict=True) if not is_kept]
        assert sum(nucleus) >= top_p - 1e-12
        assert sum(nucleus) - min(nucleus) < top_p  # without its least likely token it would be too small
        assert not rest or max(rest) <= min(nucleus)


def test_rows_are_narrowed_by_themselves():
    chances = torch.tensor([[0.9, 0.05, 0.05], [0.34, 0.33, 0.33]])
    assert narrowed(chances, None, 0.6).bool().tolist() == [[True, False, False], [True, True, False]]


# --- the best of a beam -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_best_texts_in_their_order(seed):
    table = Table(seed)
    scores = {text: table.log_probability(text) / ((5 + len(text)) / 6) ** 0.6 for text in all_texts(4)}
    found = search(Table(seed), START, end=END, longest=4, beam=1000)
    over = [text.tokens for text in found if text.tokens[-1] == END]
    assert over == sorted(scores, key=lambda text: -scores[text])
    assert found[0] == likeliest(Table(seed), START, end=END, longest=4, beam=1000)
    assert all(text.tokens[-1] != END for text in found[len(over) :])


def test_a_beam_finds_no_more_texts_than_it_is_wide():
    for beam in (1, 3, 5):
        assert len(search(Table(7), START, end=END, longest=6, beam=beam)) == beam
