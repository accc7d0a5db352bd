"""``pairs_csv`` and ``chatbot``: a text from another text, such as an answer from a question."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.cache import cached, content_key
from dltrain.data.contract import Data, InputSpec, Task
from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.data.text.corpus import cached_byte_pairs, cached_corpus, numbering
from dltrain.data.text.ragged import Ragged, RaggedSamples
from dltrain.data.text.reading import DELIMITERS, ENCODING_MEANING, ENCODINGS, TextFile, TextTable
from dltrain.data.text.tokens import END, START, TOKEN_KINDS, TOKENS_MEANING, UNKNOWN, TextCodec
from dltrain.errors import DataError


@dataclass(frozen=True)
class PairSettings(SplitSettings):
    source: str = setting("The column with the texts that are read.")
    target: str = setting("The column with the texts that are to be written.")
    tokens: str = setting(TOKENS_MEANING, choices=TOKEN_KINDS)
    vocabulary_size: int | None = setting(
        "Keep so many of the most frequent tokens of each column; null keeps all.", min=1
    )
    min_count: int = setting("Keep tokens that appear at least so often in the training texts.", min=1)
    max_length: int | None = setting(
        "Tokens of a text that are kept, from its beginning; null keeps as many as the longest training text has.",
        min=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source == self.target:
            raise ValueError(f"source = target = '{self.source}': there is nothing to learn. Name two columns")
        if self.tokens == "bpe" and self.vocabulary_size is None:
            raise ValueError("tokens=bpe needs a vocabulary_size: how many pieces to learn, such as 8000")


@dataclass(frozen=True)
class ChatbotSettings(PairSettings):
    root: str | None = setting("Folder of the file; null looks in the known places, then downloads.", path=True)


@dataclass(frozen=True)
class PairsCsvSettings(PairSettings):
    path: str | None = setting("A CSV or TSV file with a header, gzipped or not.", path=True)
    delimiter: str = setting("What separates the cells; auto finds it in the header.", choices=DELIMITERS)
    quoting: bool = setting("Double quotes hold a cell together; false takes them as characters like any other.")
    encoding: str = setting(ENCODING_MEANING, choices=ENCODINGS)


@registry.register("data", "chatbot", ChatbotSettings)
def chatbot(settings: ChatbotSettings) -> Data:
    """11,823 Korean questions and answers (Song 2018)."""
    from dltrain.files import locate

    path = locate("chatbot", settings.root)["ChatbotData.csv"]
    how = PairsCsvSettings(
        **{name: getattr(settings, name) for name in PairSettings.__dataclass_fields__},
        path=str(path),
        delimiter="comma",
        quoting=True,
        encoding="utf-8",
    )
    return _pairs(how, str(path))


@registry.register("data", "pairs_csv", PairsCsvSettings)
def pairs_csv(settings: PairsCsvSettings) -> Data:
    """The text in one column, from the text in another one."""
    if not settings.path:
        raise DataError("data.path is missing: name a CSV or TSV file, as in data.path=pairs.csv")
    return _pairs(settings, f"data.path={settings.path}")


def _pairs(settings: PairsCsvSettings, where: str) -> Data:
    assert settings.path is not None
    path = Path(settings.path).expanduser()
    file = TextFile.check(path, settings.encoding, where)
    wanted = {"source": settings.source, "target": settings.target}
    table = TextTable.check(file, wanted, delimiter=settings.delimiter, quoting=settings.quoting)
    notes = list(file.notes)
    key = [content_key([path]), file.encoding, table.delimiter, str(table.quoting)]
    usable = _usable(table, list(wanted.values()), key, notes)
    train, validation, test = (usable[part] for part in split_indices(len(usable), settings))
    is_training = np.zeros(int(usable[-1]) + 1, dtype=bool)
    is_training[train] = True
    source = _side(settings, table, settings.source, key, is_training, notes)
    target = _side(settings, table, settings.target, key, is_training, notes)
    samples = samples_of(source, target)
    training = samples.take(torch.from_numpy(train))
    if not len(validation):
        notes.append(TRAINS_AND_EVALUATES_THE_SAME)
    names = target.codec.vocabulary.tokens
    return Data(
        Task("seq2seq", {"source": source.spec(0), "target": target.spec(1)}, len(names) + 1, ("<pad>", *names), True),
        training,
        samples.take(torch.from_numpy(validation)) if len(validation) else training,
        samples.take(torch.from_numpy(test)) if len(test) else None,
        preprocessing={"source": source.codec.to_dict(), "target": target.codec.to_dict()},
        notes=tuple(notes),
    )


def _usable(table: TextTable, columns: list[str], key: list[str], notes: list[str]) -> NDArray[np.int64]:
    """Returns the places of the rows that have both texts.

    Raises:
        DataError: there is none.
    """

    def build() -> dict[str, NDArray[np.generic]]:
        return {"filled": np.array([all(map(str.strip, cells)) for _, cells in table.rows(columns)], dtype=bool)}

    filled = cached(["filled", *key, *columns], build, f"the rows of {table.file.path.name}")["filled"]
    usable = np.flatnonzero(filled)
    if not len(filled):
        raise DataError(f"{table.file.key}: there is no row below the header")
    if not len(usable):
        raise DataError(f"{table.file.key}: no row has both {columns[0]} and {columns[1]}")
    empty = len(filled) - len(usable)
    if empty:
        notes.append(f"{empty} of {len(filled)} pairs are left out: a text of theirs is empty")
    return usable


# --- one side ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One column of all rows as numbers, and how others are encoded."""

    sequences: Ragged
    codec: TextCodec

    def spec(self, more: int) -> InputSpec:
        """
        Args:
            more: tokens that are added to a text.
        """
        return InputSpec(
            (self.codec.context + more,), "int64", vocabulary_size=len(self.codec.vocabulary), padding="right"
        )


def _side(
    settings: PairsCsvSettings,
    table: TextTable,
    column: str,
    key: list[str],
    is_training: NDArray[np.bool_],
    notes: list[str],
) -> Side:
    """
    Raises:
        DataError: the vocabulary keeps nothing.
    """

    def texts() -> Iterator[str]:
        rows = (cells[0] for _, cells in table.rows([column]))
        return itertools.islice(rows, len(is_training))  # beyond are rows that are left out

    what = f"{table.file.path.name}, column {column}"
    key = [*key, column, str(len(is_training))]
    is_learnt, tokenizer = settings.tokens == "bpe", None
    if is_learnt:
        assert settings.vocabulary_size is not None
        tokenizer = cached_byte_pairs(key, texts, is_training, settings.vocabulary_size, what)
    corpus = cached_corpus(key, texts, settings.tokens, tokenizer, total=len(is_training), what=what)
    notes += [f"column {column}: {note}" for note in corpus.notes]
    chosen = numbering(
        corpus,
        is_training,
        size=None if is_learnt else settings.vocabulary_size,
        min_count=1 if is_learnt else settings.min_count,
        unknown=True,
        special=(START, END),
    )
    if chosen.vocabulary.tokens == (START, END, UNKNOWN):
        raise DataError(
            f"{what}: no token appears {settings.min_count} times in the training texts, so the vocabulary is empty. "
            f"Lower data.min_count={settings.min_count}"
        )
    longest = int(corpus.lengths[is_training].max())
    context = longest if settings.max_length is None else min(longest, settings.max_length)
    beyond = int(np.count_nonzero(corpus.lengths > context))
    if beyond:
        notes.append(f"column {column}: {beyond} of {len(corpus)} texts are cut to their first {context} tokens")
    codec = TextCodec(settings.tokens, chosen.vocabulary, context, tokenizer, "sequence")
    return Side(chosen.encode(corpus).cut(context), codec)


def samples_of(source: Side, target: Side) -> RaggedSamples:
    """Returns the pairs: the decoder reads ``<s> a b`` and is to give ``a b </s>``."""
    vocabulary = target.codec.vocabulary
    start, end = vocabulary.encode((START, END))
    plain = target.sequences
    lengths = plain.lengths + 2
    starts = lengths.cumsum(0) - lengths
    values = torch.empty(int(lengths.sum()), dtype=torch.int32)
    is_text = torch.ones(len(values), dtype=torch.bool)
    for places, number in ((starts, start), (starts + lengths - 1, end)):
        values[places] = number
        is_text[places] = False
    row = torch.repeat_interleave(torch.arange(len(plain)), plain.lengths)
    before = plain.lengths.cumsum(0) - plain.lengths
    values[is_text] = plain.values[plain.starts[row] + torch.arange(len(row)) - before[row]]
    inputs = {"source": source.sequences, "target": Ragged(values, starts, lengths - 1)}
    return RaggedSamples(inputs, Ragged(values, starts + 1, lengths - 1), ignored=vocabulary.unknown)
