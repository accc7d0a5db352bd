"""A corpus as numbers: cut into tokens once and kept in the cache; then a vocabulary is chosen, which is quick.

First each token gets the number of its type (its distinct text) in order of first appearance, whatever the vocabulary
will be. The second step counts types in the training texts alone, keeps the frequent ones, and renumbers.
"""

from __future__ import annotations

import array
import hashlib
import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.console import error_console, is_live
from dltrain.data.cache import cached
from dltrain.data.text.ragged import Ragged
from dltrain.data.text.tokenizing import cutter, normalized, train_byte_pairs, version
from dltrain.data.text.tokens import SPECIAL, UNKNOWN, Vocabulary

# Texts, and tokens, that are worked on at once: enough for vector operations, little beside the corpus itself.
_TEXTS = 2048
_TOKENS = 2**18

Texts = Callable[[], Iterable[str]]


@dataclass(frozen=True)
class Corpus:
    """N texts.

    Attributes:
        tokens: (L,) int32, the type of each token.
        offsets: (N + 1,) int64, where each text begins, and the end.
        types: (...,) uint8, the types in UTF-8, each with a line end.
        composed: how many texts were not in Unicode NFC.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    types: NDArray[np.uint8]
    composed: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @property
    def notes(self) -> list[str]:
        if not self.composed:
            return []
        verb = "text is" if self.composed == 1 else "texts are"
        return [f"{self.composed} {verb} composed to Unicode NFC first, as from decomposed Hangul"]


def corpus_of(texts: Texts, kind: str, tokenizer: str | None = None, *, total: int, show: str = "") -> Corpus:
    """Cuts texts into tokens and numbers their types.

    Args:
        kind, tokenizer: see ``tokens.tokenize``.
        total, show: number of the texts, and what a progress bar calls them; "" shows none.

    Raises:
        DataError: the library that the tokens need is not installed.
    """
    cut = cutter(kind, tokenizer)
    table = _Types()
    tokens, ends = array.array("i"), array.array("q", [0])
    composed = 0

    def prepared() -> Iterator[str]:
        nonlocal composed
        for text in texts():
            composed += not unicodedata.is_normalized("NFC", text)
            yield normalized(text)

    pieces = cut(_with_progress(prepared(), total, show) if show else prepared())
    while chunk := list(itertools.islice(pieces, _TEXTS)):
        for piece in chunk:
            ends.append(ends[-1] + len(piece))
        tokens.frombytes(table.number(list(itertools.chain.from_iterable(chunk))).tobytes())
    flat = np.frombuffer(tokens, dtype=np.int32) if tokens else np.empty(0, dtype=np.int32)
    types = np.frombuffer(table.text, dtype=np.uint8) if table.text else np.empty(0, dtype=np.uint8)
    return Corpus(flat, np.frombuffer(ends, dtype=np.int64), types, composed)


def cached_corpus(
    key: list[str], texts: Texts, kind: str, tokenizer: str | None = None, *, total: int, what: str
) -> Corpus:
    """Returns ``corpus_of(texts, ...)``, from the cache where it is there.

    Args:
        key: what decides the texts.
        what: the texts' name in messages.
    """

    def build() -> dict[str, NDArray[np.generic]]:
        corpus = corpus_of(texts, kind, tokenizer, total=total, show=f"tokens of {what}")
        composed = np.array([corpus.composed])
        return {"tokens": corpus.tokens, "offsets": corpus.offsets, "types": corpus.types, "composed": composed}

    whole_key = ["corpus", *key, kind, tokenizer or "", version(kind)]
    arrays = cached(whole_key, build, f"the tokens of {what}")
    return Corpus(arrays["tokens"], arrays["offsets"], arrays["types"], int(arrays["composed"][0]))


def cached_byte_pairs(key: list[str], texts: Texts, is_training: NDArray[np.bool_], size: int, what: str) -> str:
    """Returns a tokenizer that is trained on the training texts alone, from the cache where it is there."""

    def build() -> dict[str, NDArray[np.generic]]:
        training = (normalized(text) for text, chosen in zip(texts(), is_training, strict=True) if chosen)
        saved = train_byte_pairs(training, size, UNKNOWN).encode()
        return {"json": np.frombuffer(bytearray(saved), dtype=np.uint8)}

    split = hashlib.sha256(np.packbits(is_training).tobytes()).hexdigest()
    arrays = cached(["byte pairs", *key, split, str(size), version("bpe")], build, f"the byte pairs of {what}")
    return bytes(arrays["json"]).decode()


@dataclass(frozen=True)
class Numbering:
    """Which number each type of a corpus has in the vocabulary.

    Attributes:
        of_type: (types,) int32; the unknown token's number, or 0 where there is none, for types that are not kept.
    """

    vocabulary: Vocabulary
    of_type: NDArray[np.int32]

    def encode(self, corpus: Corpus, *, fill_empty: bool = False) -> Ragged:
        """Returns the texts in the vocabulary's numbers.

        Args:
            fill_empty: an empty text becomes one unknown token.
        """
        numbers = np.empty(len(corpus.tokens) + fill_empty, dtype=np.int32)
        for first in range(0, len(corpus.tokens), _TOKENS):
            part = corpus.tokens[first : first + _TOKENS]
            np.take(self.of_type, part, out=numbers[first : first + len(part)])
        starts, lengths = corpus.offsets[:-1].copy(), corpus.lengths
        if fill_empty:
            assert self.vocabulary.unknown is not None
            numbers[-1] = self.vocabulary.unknown
            starts[lengths == 0] = len(numbers) - 1
            lengths = np.maximum(lengths, 1)
        return Ragged(torch.from_numpy(numbers), torch.from_numpy(starts), torch.from_numpy(lengths))


def numbering(
    corpus: Corpus,
    is_training: NDArray[np.bool_],
    *,
    size: int | None,
    min_count: int,
    unknown: bool,
    special: tuple[str, ...] = (),
) -> Numbering:
    """Chooses a vocabulary from the training texts: the ``size`` most frequent types that appear ``min_count`` times.

    Equally frequent ones stand in order of their first appearance in the training texts.

    Args:
        unknown: adds a token for all others; it is added too where some type was not kept.
        special: tokens with the first numbers.
    """
    ends = _line_ends(corpus.types)
    counts, first = _counts(corpus, is_training, len(ends))

    def name(number: int) -> str:
        begin = ends[number - 1] + 1 if number else 0
        return corpus.types[begin : ends[number]].tobytes().decode()

    # Such texts in a corpus are no tokens of their own: they would be taken for ours.
    short = np.flatnonzero(np.diff(ends, prepend=-1) <= 1 + max(map(len, SPECIAL)))
    own = [number for number in short.tolist() if name(number) in SPECIAL]
    appearing = int(np.count_nonzero(counts))
    counts[own] = 0
    candidates = np.flatnonzero(counts >= max(1, min_count))
    kept = candidates[np.lexsort((first[candidates], -counts[candidates]))][:size]
    tokens = [*special, *map(name, kept.tolist())]
    of_type = np.zeros(len(ends), dtype=np.int32)
    if unknown or len(kept) < appearing:
        tokens.append(UNKNOWN)
        of_type[:] = len(tokens)
    of_type[kept] = np.arange(len(kept)) + 1 + len(special)
    return Numbering(Vocabulary(tuple(tokens)), of_type)


def _counts(
    corpus: Corpus, is_training: NDArray[np.bool_], num_types: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns how often each type stands in the training texts, and where it first does (0 where it does not)."""
    counts = np.zeros(num_types, dtype=np.int64)
    first = np.zeros(num_types, dtype=np.int64)
    chosen = np.repeat(is_training, corpus.lengths)
    for start in reversed(range(0, len(corpus.tokens), _TOKENS)):
        places = start + np.flatnonzero(chosen[start : start + _TOKENS])
        part = corpus.tokens[places]
        counts += np.bincount(part, minlength=num_types)
        first[part[::-1]] = places[::-1]  # of several writes to a place the last one stays: the first appearance
    return counts, first


def _line_ends(text: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Returns the places of the line ends, without a flag for each byte of a long text."""
    parts = [
        (first + np.flatnonzero(text[first : first + _TOKENS] == ord("\n"))).astype(np.int32)
        for first in range(0, len(text), _TOKENS)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)


class _Types:
    """Numbers distinct texts in order of first appearance, without an object for each of them.

    A corpus has hundreds of thousands of distinct words; a dict of them takes several times the memory of all its
    numbers. Types are told apart by their 64-bit hash: of a million, two are the same once in 10^7 corpora.
    """

    def __init__(self) -> None:
        self.text = bytearray()  # each with a line end
        self._size = 0
        self._hashes = np.empty(0, dtype=np.int64)  # sorted
        self._numbers = np.empty(0, dtype=np.int32)  # of the hashes

    def number(self, tokens: list[str]) -> NDArray[np.int32]:
        hashes = np.fromiter(map(hash, tokens), np.int64, len(tokens))
        distinct, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        places = np.searchsorted(self._hashes, distinct)
        known = np.zeros(len(distinct), dtype=bool)
        inside = places < len(self._hashes)
        known[inside] = self._hashes[places[inside]] == distinct[inside]
        numbers = np.empty(len(distinct), dtype=np.int32)
        numbers[known] = self._numbers[places[known]]
        new = np.flatnonzero(~known)
        in_order = new[np.argsort(first[new])]
        numbers[in_order] = self._size + np.arange(len(in_order))
        self._size += len(in_order)
        self.text += "".join([tokens[i] + "\n" for i in first[in_order].tolist()]).encode()
        self._hashes = np.insert(self._hashes, places[new], distinct[new])
        self._numbers = np.insert(self._numbers, places[new], numbers[new])
        result: NDArray[np.int32] = numbers[inverse]
        return result


def _with_progress(texts: Iterable[str], total: int, what: str) -> Iterator[str]:
    """Yields the texts, with a progress bar at a terminal."""
    if not is_live():
        yield from texts
        return
    from rich.progress import track

    yield from track(texts, what, total=total, console=error_console(), transient=True)
