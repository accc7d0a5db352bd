"""Which text a model writes: the likeliest that is found, or one that is drawn.

A ``Writer`` tells how likely each next token of several texts is; how the model computes that is its own affair.
Shapes: N texts that are written at once, V tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch

# A text's log-probability is divided by ((5 + tokens) / 6) ** LENGTH_PENALTY (Wu et al. 2016, eq. 14; the power is that
# of Vaswani et al. 2017). Without it the shorter text would win, since each token makes a text less likely.
LENGTH_PENALTY = 0.6


class Writer(ABC):
    """A model that writes several texts at once, a token at a time."""

    @abstractmethod
    def next_logits(self, parents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Returns the logits (N, V) of the tokens that follow, on the CPU; -inf for one that may never be written.

        Args:
            parents: (N,) int64, which of the texts of the call before each of these texts goes on from. Before the
                first call there is one text, number 0.
            tokens: (N,) int64, the token with which each goes on.
        """


class Text(NamedTuple):
    """What was written so far: its tokens, and the natural logarithm of its probability."""

    tokens: tuple[int, ...]
    log_probability: float

    def score(self, length_penalty: float) -> float:
        """Returns the log-probability with respect to the length; the end counts as a token."""
        normalizer: float = ((5 + len(self.tokens)) / 6) ** length_penalty
        return self.log_probability / normalizer


def likeliest(
    writer: Writer, first: int, *, end: int | None, longest: int, beam: int, length_penalty: float = LENGTH_PENALTY
) -> Text:
    """Searches the likeliest text with a beam, which a text that is over leaves (one place in it less).

    A beam of 1 takes the likeliest token each time. One as wide as there are texts finds the best of all.

    Args:
        first: the token that the texts go on from; it is no part of them.
        end: the token with which a text is over; None where only ``longest`` ends it.
        longest: tokens that are written at most, the end among them.

    Returns:
        The text with the best score among those that are over or, if none is, among those cut off at ``longest``.
    """
    texts, over = [Text((), 0.0)], list[Text]()
    parents, tokens = [0], [first]
    for _ in range(longest):
        logits = writer.next_logits(torch.tensor(parents), torch.tensor(tokens))
        before = torch.tensor([text.log_probability for text in texts], dtype=torch.float64)
        sums = (before.unsqueeze(1) + logits.double().log_softmax(dim=1)).flatten()  # (N * V,)
        values, places = sums.topk(min(beam - len(over), int(sums.isfinite().sum())))
        texts, parents, tokens, known = [], [], [], texts
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            parent, token = divmod(place, logits.shape[1])
            text = Text((*known[parent].tokens, token), value)
            if token == end:
                over.append(text)
            else:
                texts.append(text)
                parents.append(parent)
                tokens.append(token)
        if not texts:
            break
    return max(over or texts, key=lambda text: text.score(length_penalty))


def drawn(
    writer: Writer, first: int, *, end: int | None, longest: int, temperature: float, generator: torch.Generator
) -> list[int]:
    """Returns tokens that are drawn one after the other, each from softmax(logits / temperature).

    Args:
        first, end, longest: as for ``likeliest``.
    """
    tokens = [first]
    while len(tokens) <= longest and (len(tokens) == 1 or tokens[-1] != end):
        logits = writer.next_logits(torch.tensor([0]), torch.tensor(tokens[-1:]))[0]
        chances = torch.softmax(logits / temperature, dim=0)
        tokens.append(int(torch.multinomial(chances, 1, generator=generator)))
    return tokens[1:]
