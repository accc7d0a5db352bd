"""Which text a model writes: the likeliest that is found, or one that is drawn.

A ``Writer`` tells how likely each next token of several texts is; how the model computes that is its own affair.
Shapes: N texts that are written at once, V tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

Tell = Callable[[int], None]

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
    """Returns the best of the texts that ``search`` finds."""
    return search(writer, first, end=end, longest=longest, beam=beam, length_penalty=length_penalty)[0]


def search(
    writer: Writer,
    first: int,
    *,
    end: int | None,
    longest: int,
    beam: int,
    length_penalty: float = LENGTH_PENALTY,
    tell: Tell | None = None,
) -> list[Text]:
    """Searches the likeliest texts with a beam, which a text that is over leaves (one place in it less).

    A beam of 1 takes the likeliest token each time. One as wide as there are texts finds the best of all.

    Args:
        first: the token that the texts go on from; it is no part of them.
        end: the token with which a text is over; None where only ``longest`` ends it.
        longest: tokens that are written at most, the end among them.
        tell: is given each token of the one text of a beam of 1, as soon as it is found.

    Returns:
        As many texts as the beam is wide, or as there are: those that are over, then those cut off at ``longest``, each
        with the best score first.
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
            if tell is not None and beam == 1:
                tell(token)
            if token == end:
                over.append(text)
            else:
                texts.append(text)
                parents.append(parent)
                tokens.append(token)
        if not texts:
            break

    def score(text: Text) -> float:
        return text.score(length_penalty)

    return [*sorted(over, key=score, reverse=True), *sorted(texts, key=score, reverse=True)]


def drawn(
    writer: Writer,
    first: int,
    *,
    end: int | None,
    longest: int,
    temperature: float,
    generators: Sequence[torch.Generator],
    top_k: int | None = None,
    top_p: float | None = None,
    tell: Tell | None = None,
) -> list[list[int]]:
    """Returns tokens that are drawn one after the other, each from softmax(logits / temperature), of N texts at once.

    Args:
        first, end, longest: as for ``search``.
        generators: of each text, so that a text does not depend on how many are drawn beside it.
        top_k, top_p: see ``narrowed``.
        tell: is given each token of a single text, as soon as it is drawn.
    """
    texts: list[list[int]] = [[] for _ in generators]
    writing = list(range(len(texts)))  # which are not over
    parents, tokens = [0], [first]
    for _ in range(longest):
        logits = writer.next_logits(torch.tensor(parents), torch.tensor(tokens))
        chances = narrowed(torch.softmax(logits / temperature, dim=1), top_k, top_p).expand(len(writing), -1)
        for row, number in enumerate(writing):
            texts[number].append(int(torch.multinomial(chances[row], 1, generator=generators[number])))
            if tell is not None and len(texts) == 1:
                tell(texts[number][-1])
        # Before the first call there was one text, of which all go on.
        kept = [(row, number) for row, number in enumerate(writing) if texts[number][-1] != end]
        parents = [row if len(logits) > 1 else 0 for row, _ in kept]
        writing = [number for _, number in kept]
        tokens = [texts[number][-1] for number in writing]
        if not writing:
            break
    return texts


def narrowed(chances: torch.Tensor, top_k: int | None, top_p: float | None) -> torch.Tensor:
    """Returns probabilities (N, V), those of unlikely tokens 0; the others do not add up to 1 then.

    Args:
        top_k: keeps so many of the likeliest tokens (Fan et al. 2018); of equals those with the lower number.
        top_p: keeps the likeliest tokens that together have this probability, as few as do, of what ``top_k`` left (the
            nucleus of Holtzman et al. 2020).
    """
    if top_k is None and top_p is None:
        return chances
    ordered, order = chances.sort(dim=1, descending=True, stable=True)
    if top_k is not None:
        ordered[:, top_k:] = 0
    if top_p is not None:
        shares = ordered.double() / ordered.double().sum(dim=1, keepdim=True)
        before = shares.cumsum(dim=1) - shares  # of all that are likelier
        before[:, 0] = 0  # the likeliest one stays, however small top_p is
        ordered[before >= top_p] = 0
    return torch.zeros_like(chances).scatter(1, order, ordered)
