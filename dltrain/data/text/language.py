"""``korean_text`` and ``text``: the next token, from the tokens before it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.contract import Data, InputSpec, Source, Task
from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.data.text.corpus import Corpus, Numbering, cached_byte_pairs, cached_corpus, corpus_of, numbering
from dltrain.data.text.ragged import Ragged, RaggedSamples
from dltrain.data.text.reading import ENCODING_MEANING, ENCODINGS, read_text
from dltrain.data.text.tokens import END, SPECIAL, TOKEN_KINDS, TOKENS_MEANING, TextCodec, Vocabulary
from dltrain.errors import DataError

THREE_LINES = "경마장에 있는 말이 뛰고 있다\n그의 말이 법이다\n가는 말이 고와야 오는 말이 곱다\n"

# Fewer lines than this are all trained on: a tenth of them would say nothing about the rest.
MIN_LINES_TO_SPLIT = 20

# The tokens of a longer text are kept in the cache.
_CACHED_CHARACTERS = 100_000

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class KoreanTextSettings(SplitSettings):
    path: str | None = setting(
        "A text file, a sentence a line; null takes three Korean lines of the package.", path=True
    )
    encoding: str = setting(ENCODING_MEANING, choices=ENCODINGS)
    tokens: str = setting(TOKENS_MEANING, choices=TOKEN_KINDS)
    vocabulary_size: int | None = setting("Keep so many of the most frequent tokens; null keeps all.", min=1)
    min_count: int = setting("Keep tokens that appear at least so often.", min=1)
    window: int = setting("Most tokens before the predicted one that the model sees.", min=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens == "bpe" and self.vocabulary_size is None:
            raise ValueError("tokens=bpe needs a vocabulary_size: how many pieces to learn, such as 8000")


@dataclass(frozen=True)
class TextSettings(KoreanTextSettings):
    path: str | None = setting("A text file, a sentence or a paragraph a line.", path=True)
    form: str = setting(
        "windows: every beginning of a line is a sample, and its next token the target. stream: all lines one after "
        "the other, cut into blocks, with a target at every token.",
        choices=("windows", "stream"),
    )
    block: int = setting("Tokens of a block; used by form=stream.", min=2)


@registry.register("data", "korean_text", KoreanTextSettings)
def korean_text(settings: KoreanTextSettings) -> Data:
    """Every beginning of a line with at least two tokens: its last token is the target, the others the input."""
    if settings.path == "":
        raise DataError("data.path is empty: name a text file, or leave it out for the built-in lines")
    if settings.path is None:
        return _windows(settings, _Lines("the built-in text", THREE_LINES.splitlines(), []))
    return _windows(settings, _read(settings.path, settings.encoding))


@registry.register("data", "text", TextSettings)
def text(settings: TextSettings) -> Data:
    """The next token of a text of one's own."""
    if not settings.path:
        raise DataError("data.path is missing: name a text file, as in data.path=mytext.txt")
    lines = _read(settings.path, settings.encoding)
    return _windows(settings, lines) if settings.form == "windows" else _stream(settings, lines)


@dataclass(frozen=True)
class _Lines:
    """The lines of a text, and its name in messages."""

    where: str
    lines: list[str]
    notes: list[str]

    def corpus(self, settings: KoreanTextSettings, is_training: NDArray[np.bool_] | None) -> tuple[Corpus, str | None]:
        """Returns the tokens, and the tokenizer of ``bpe``.

        Args:
            is_training: (lines,) what the tokenizer may learn from; None: all.
        """
        name = self.where.rpartition("/")[2]
        content = "\n".join(self.lines)
        key, tokenizer = [hashlib.sha256(content.encode()).hexdigest()], None
        if settings.tokens == "bpe":
            assert settings.vocabulary_size is not None
            chosen = np.ones(len(self.lines), dtype=bool) if is_training is None else is_training
            tokenizer = cached_byte_pairs(key, lambda: self.lines, chosen, settings.vocabulary_size, name)
        total = len(self.lines)
        if len(content) < _CACHED_CHARACTERS and settings.tokens != "morpheme":
            return corpus_of(lambda: self.lines, settings.tokens, tokenizer, total=total), tokenizer
        return cached_corpus(key, lambda: self.lines, settings.tokens, tokenizer, total=total, what=name), tokenizer


def _read(path: str, encoding: str) -> _Lines:
    content, notes = read_text(Path(path).expanduser(), encoding)
    return _Lines(f"data.path={path}", content.splitlines(), notes)


# --- windows ----------------------------------------------------------------------------------------------


def _windows(settings: KoreanTextSettings, lines: _Lines) -> Data:
    where, notes = lines.where, lines.notes
    if settings.tokens == "bpe":  # the split comes first, since the pieces are learnt from the training lines alone
        lines = _Lines(where, [line for line in lines.lines if len(line.strip()) >= 2], notes)
        parts = _split(settings, len(lines.lines), notes)
        corpus, tokenizer = lines.corpus(settings, _mask(parts[0], len(lines.lines)))
        notes += corpus.notes
    else:
        corpus, tokenizer = lines.corpus(settings, None)
        notes += corpus.notes
        too_short = int(np.count_nonzero(corpus.lengths == 1))
        usable = np.flatnonzero(corpus.lengths >= 2)
        if too_short and len(usable):
            kind = settings.tokens
            notes.append(f"{too_short} lines of a single {kind} are left out: they have nothing to predict")
        train, validation, test = _split(settings, len(usable), notes)
        parts = usable[train], usable[validation], usable[test]
    longest = int(corpus.lengths.max()) if len(corpus) else 0
    if longest < 2:
        raise DataError(
            f"{where}: no line with at least two {_plural(settings.tokens)}, so there is nothing to predict"
        )
    splits = bool(len(parts[1]) or len(parts[2]))
    chosen = _numbering(settings, corpus, _mask(parts[0], len(corpus)), unknown=splits)
    longest = int(corpus.lengths[parts[0]].max())  # of the training lines: the others decide nothing
    context = min(settings.window, max(1, longest - 1))
    ragged = chosen.encode(corpus)
    sources = [window_samples(ragged.take(torch.from_numpy(part)), chosen.vocabulary, context) for part in parts]
    codec = TextCodec(settings.tokens, chosen.vocabulary, context, tokenizer)
    spec = InputSpec((context,), "int64", vocabulary_size=len(chosen.vocabulary))
    return _data(settings, lines, codec, spec, sources, notes, per_step=False)


def window_samples(lines: Ragged, vocabulary: Vocabulary, context: int) -> Source:
    """Returns the (N, T) windows before every token but the first of a line, padded on the left, and these tokens.

    An unknown token is never a target: a model that predicts "something unknown" has said nothing.
    """
    total = int(lines.lengths.sum())
    line = torch.repeat_interleave(torch.arange(len(lines)), lines.lengths)
    before = torch.arange(total) - (lines.lengths.cumsum(0) - lines.lengths)[line]  # tokens before it in its line
    places = lines.starts[line] + before
    targets = lines.values[places].long()
    keep = before > 0
    if vocabulary.unknown is not None:
        keep &= targets != vocabulary.unknown
    lengths = before[keep].clamp(max=context)
    windows = Ragged(lines.values, places[keep] - lengths, lengths)
    return RaggedSamples(windows, targets[keep], width=context, padding="left").dense()


# --- stream -----------------------------------------------------------------------------------------------


def _stream(settings: TextSettings, lines: _Lines) -> Data:
    lines = _Lines(lines.where, [line for line in lines.lines if line.strip()], lines.notes)
    notes, count = lines.notes, len(lines.lines)
    parts = _split(settings, count, notes, in_order=True)
    corpus, tokenizer = lines.corpus(settings, _mask(parts[0], count))
    notes += corpus.notes
    splits = bool(len(parts[1]) or len(parts[2]))
    chosen = _numbering(settings, corpus, _mask(parts[0], count), unknown=splits, special=(END,))
    ragged = chosen.encode(corpus)
    # A line's end is a token too. The parts follow each other, so that each is a piece of the one stream.
    stream = torch.from_numpy(np.insert(ragged.values.numpy(), corpus.offsets[1:], np.int32(1)))
    ends = torch.from_numpy(corpus.offsets[1:] + np.arange(1, count + 1))
    sources: list[Source] = []
    begin = 0
    for part in parts:
        end = int(ends[part[-1]]) if len(part) else begin
        sources.append(blocks_of(stream, begin, end, settings.block, chosen.vocabulary))
        begin = end
    codec = TextCodec(settings.tokens, chosen.vocabulary, settings.block, tokenizer, "stream")
    spec = InputSpec((settings.block,), "int64", vocabulary_size=len(chosen.vocabulary), padding="right")
    return _data(settings, lines, codec, spec, sources, notes, per_step=True)


def blocks_of(stream: torch.Tensor, begin: int, end: int, size: int, vocabulary: Vocabulary) -> Source:
    """Returns (N, T) blocks of a stretch of the stream, and the token after each of theirs; the last may be shorter."""
    starts = torch.arange(begin, max(begin, end - 1), size)
    lengths = (end - 1 - starts).clamp(max=size)
    inputs, targets = Ragged(stream, starts, lengths), Ragged(stream, starts + 1, lengths)
    return RaggedSamples(inputs, targets, width=size, padding="right", ignored=vocabulary.unknown).dense()


# --- shared -----------------------------------------------------------------------------------------------


def _split(
    settings: KoreanTextSettings, count: int, notes: list[str], *, in_order: bool = False
) -> tuple[Indices, Indices, Indices]:
    """Returns the lines of the three splits; all are trained on where they are too few to split.

    Args:
        in_order: training, validation and test follow one upon the other.
    """
    wants_split = settings.validation_fraction > 0 or settings.test_fraction > 0 or settings.folds is not None
    none = np.arange(0)
    if not wants_split or count < MIN_LINES_TO_SPLIT:
        if wants_split:
            notes.append(f"{count} lines are too few to split (under {MIN_LINES_TO_SPLIT})")
        return np.arange(count), none, none
    if not in_order:
        return split_indices(count, settings)
    if settings.folds is not None:
        raise DataError("data.folds: a stream is not dealt to folds. Give data.folds=null, or data.form=windows")
    sizes = [len(part) for part in split_indices(count, settings)]
    train, validation, test = np.split(np.arange(count), np.cumsum(sizes)[:2])
    return train, validation, test


def _mask(indices: Indices, count: int) -> NDArray[np.bool_]:
    mask = np.zeros(count, dtype=bool)
    mask[indices] = True
    return mask


def _numbering(
    settings: KoreanTextSettings,
    corpus: Corpus,
    is_training: NDArray[np.bool_],
    *,
    unknown: bool,
    special: tuple[str, ...] = (),
) -> Numbering:
    is_learnt = settings.tokens == "bpe"  # then the pieces are as many as were asked for already
    return numbering(
        corpus,
        is_training,
        size=None if is_learnt else settings.vocabulary_size,
        min_count=1 if is_learnt else settings.min_count,
        unknown=unknown,
        special=special,
    )


def _plural(kind: str) -> str:
    return {"bpe": "pieces", "jamo": "jamo"}.get(kind, f"{kind}s")


def _data(
    settings: KoreanTextSettings,
    lines: _Lines,
    codec: TextCodec,
    spec: InputSpec,
    sources: list[Source],
    notes: list[str],
    *,
    per_step: bool,
) -> Data:
    train, validation, test = sources
    learnt = [token for token in codec.vocabulary.tokens if token not in SPECIAL]
    if not len(train) or not learnt:
        raise DataError(
            f"{lines.where}: no token that the vocabulary keeps follows another. "
            f"Lower data.min_count={settings.min_count} or raise data.vocabulary_size"
        )
    if not len(validation):
        validation = train
        notes.append(TRAINS_AND_EVALUATES_THE_SAME)
    size = len(codec.vocabulary)
    return Data(
        Task("next_token", spec, size, ("<pad>", *codec.vocabulary.tokens), per_step=per_step),
        train,
        validation,
        test if len(test) else None,
        preprocessing=codec.to_dict(),
        notes=tuple(notes),
    )
