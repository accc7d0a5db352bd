"""Other texts, in the tokens and the numbers of the run's vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dltrain.data import Source, Task
from dltrain.data.text import language as own_language
from dltrain.data.text import pairs as own_pairs
from dltrain.data.text.classes import TextCsvSettings
from dltrain.data.text.corpus import Corpus, Numbering, corpus_of
from dltrain.data.text.language import KoreanTextSettings
from dltrain.data.text.pairs import PairsCsvSettings
from dltrain.data.text.ragged import Bag, RaggedSamples
from dltrain.data.text.reading import TextFile, TextTable, read_text
from dltrain.data.text.tokens import END, SPECIAL, TextCodec
from dltrain.errors import DataError, did_you_mean


def classified(settings: TextCsvSettings, kept: dict[str, Any], task: Task) -> Source:
    """Returns all texts of a file with their classes.

    Raises:
        DataError: the file cannot be used, or a class is none that the run knows.
    """
    assert settings.path is not None
    codec = TextCodec.from_dict(kept)
    file = TextFile.check(Path(settings.path).expanduser(), settings.encoding, f"data.path={settings.path}")
    wanted = {"text": settings.text, "target": settings.target}
    table = TextTable.check(file, wanted, delimiter=settings.delimiter, quoting=settings.quoting)
    number = {name: place for place, name in enumerate(kept["classes"])}
    texts, classes = [], []
    for row, (text, label) in table.rows([settings.text, settings.target]):
        name = label.strip()
        if name not in number:
            hint = did_you_mean(name, number) if len(number) <= 30 else ""
            raise DataError(
                f"{file.key}: row {row} has the {settings.target} '{name}', which the run was not trained on.{hint}"
            )
        texts.append(text)
        classes.append(number[name])
    corpus, numbering = _numbered(texts, codec)
    ragged = numbering.encode(corpus, fill_empty=True).cut(codec.context)
    targets = torch.tensor(classes, dtype=torch.int64)
    if codec.form == "sequence":
        return RaggedSamples(ragged, targets)
    return RaggedSamples(ragged, targets, transform=Bag(len(codec.vocabulary) - 2, codec.form == "counts"))


def language(settings: KoreanTextSettings, kept: dict[str, Any], task: Task) -> Source:
    """Returns the windows, or the blocks, of another text.

    Raises:
        DataError: the file cannot be used, or it has a token that the vocabulary has not, nor one for others.
    """
    assert settings.path is not None
    codec = TextCodec.from_dict(kept)
    content, _ = read_text(Path(settings.path).expanduser(), settings.encoding)
    lines = [line for line in content.splitlines() if line.strip()]
    corpus, numbering = _numbered(lines, codec)
    ragged = numbering.encode(corpus)
    if codec.form == "stream":
        (end,) = codec.vocabulary.encode((END,))
        stream = torch.from_numpy(np.insert(ragged.values.numpy(), corpus.offsets[1:], np.int32(end)))
        return own_language.blocks_of(stream, 0, len(stream), codec.context, codec.vocabulary)
    usable = torch.from_numpy(np.flatnonzero(corpus.lengths >= 2))
    return own_language.window_samples(ragged.take(usable), codec.vocabulary, codec.context)


def pairs(settings: PairsCsvSettings, kept: dict[str, Any], task: Task) -> Source:
    """Returns all pairs of texts of a file.

    Raises:
        DataError: the file cannot be used.
    """
    assert settings.path is not None
    file = TextFile.check(Path(settings.path).expanduser(), settings.encoding, f"data.path={settings.path}")
    wanted = {"source": settings.source, "target": settings.target}
    table = TextTable.check(file, wanted, delimiter=settings.delimiter, quoting=settings.quoting)
    rows = [cells for _, cells in table.rows(list(wanted.values())) if all(map(str.strip, cells))]
    sides = []
    for place, side in enumerate(("source", "target")):
        codec = TextCodec.from_dict(kept[side])
        corpus, numbering = _numbered([cells[place] for cells in rows], codec)
        sides.append(own_pairs.Side(numbering.encode(corpus).cut(codec.context), codec))
    return own_pairs.samples_of(*sides)


def _numbered(texts: Sequence[str], codec: TextCodec) -> tuple[Corpus, Numbering]:
    """Returns the texts in types of their own, and the number of each type in the run's vocabulary.

    Raises:
        DataError: there is no text, or one with a token that the vocabulary has not, nor one for others.
    """
    if not texts:
        raise DataError("data.path: there is no text in it")
    corpus = corpus_of(lambda: texts, codec.kind, codec.tokenizer, total=len(texts))
    types = corpus.types.tobytes().decode().split("\n")[:-1]
    numbers = np.array(codec.vocabulary.encode(types), dtype=np.int32)
    unknown = codec.vocabulary.unknown
    own = [place for place, name in enumerate(types) if name in SPECIAL]  # in a text these are words like any other
    numbers[own] = -1 if unknown is None else unknown
    if (numbers < 0).any():
        lacking = types[int((numbers < 0).argmax())]
        raise DataError(
            f"data.path: the run's vocabulary has no '{lacking}', nor a token for what is not in it: it learned from a "
            "text without a validation or test split"
        )
    return corpus, Numbering(codec.vocabulary, numbers)
