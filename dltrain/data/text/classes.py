"""``nsmc`` and ``text_csv``: the class of a text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.contract import Data, InputSpec, Task
from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.data.text.corpus import Corpus, cached_byte_pairs, cached_corpus, numbering
from dltrain.data.text.labels import Labels, Tables, cached_labels, rare_classes
from dltrain.data.text.ragged import Bag, Ragged, RaggedSamples
from dltrain.data.text.reading import DELIMITERS, ENCODING_MEANING, ENCODINGS, TextFile, TextTable, encoding_notes
from dltrain.data.text.tokens import TOKEN_KINDS, TOKENS_MEANING, UNKNOWN, TextCodec
from dltrain.errors import DataError


@dataclass(frozen=True)
class TextSettings(SplitSettings):
    """What all classification of texts has."""

    tokens: str = setting(TOKENS_MEANING, choices=TOKEN_KINDS)
    vocabulary_size: int | None = setting("Keep so many of the most frequent tokens; null keeps all.", min=1)
    min_count: int = setting("Keep tokens that appear at least so often in the training texts.", min=1)
    form: str = setting(
        "How a model gets a text: sequence (of tokens), multi_hot (which tokens it holds) or counts (how often).",
        choices=("sequence", "multi_hot", "counts"),
    )
    max_length: int | None = setting(
        "Tokens of a text that are kept, from its beginning; null keeps as many as the longest training text has.",
        min=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens == "bpe" and self.vocabulary_size is None:
            raise ValueError("tokens=bpe needs a vocabulary_size: how many pieces to learn, such as 8000")


@dataclass(frozen=True)
class NsmcSettings(TextSettings):
    root: str | None = setting("Folder of the files; null looks in the known places, then downloads.", path=True)


@dataclass(frozen=True)
class TextCsvSettings(TextSettings):
    path: str | None = setting("A CSV or TSV file with a header, gzipped or not.", path=True)
    test_path: str | None = setting("A file with the test rows; null takes test_fraction of path.", path=True)
    text: str = setting("The column with the texts.")
    target: str = setting("The column with the classes.")
    delimiter: str = setting("What separates the cells; auto finds it in the header.", choices=DELIMITERS)
    quoting: bool = setting("Double quotes hold a cell together; false takes them as characters like any other.")
    encoding: str = setting(ENCODING_MEANING, choices=ENCODINGS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text == self.target:
            raise ValueError(f"text = target = '{self.text}': the class would be read from itself. Name two columns")


@registry.register("data", "nsmc", NsmcSettings)
def nsmc(settings: NsmcSettings) -> Data:
    """200,000 film reviews from Naver, good or bad: 150,000 to train on, and 50,000 for the test (Park 2016)."""
    from dltrain.files import locate

    files = locate("nsmc", settings.root)
    paths = [files["ratings_train.txt"], files["ratings_test.txt"]]

    def tables() -> list[TextTable]:
        wanted = {"text": "document", "target": "label"}
        checked = [TextFile.check(path, "utf-8", key=str(path)) for path in paths]
        return [TextTable.check(file, wanted, delimiter="tab", quoting=False) for file in checked]

    return _classification(settings, Tables(paths, "document", "label", tables, ["nsmc"]))


@registry.register("data", "text_csv", TextCsvSettings)
def text_csv(settings: TextCsvSettings) -> Data:
    """The class in one column, from the text in another one."""
    if not settings.path:
        raise DataError("data.path is missing: name a CSV or TSV file, as in data.path=reviews.csv")
    if settings.test_path == "":
        raise DataError("data.test_path is empty: name a CSV or TSV file, or leave it out")
    named = {"path": settings.path, "test_path": settings.test_path}
    given = {f"data.{name}={path}": Path(path).expanduser() for name, path in named.items() if path is not None}

    def tables() -> list[TextTable]:
        wanted = {"text": settings.text, "target": settings.target}
        checked = [TextFile.check(path, settings.encoding, key) for key, path in given.items()]
        return [
            TextTable.check(file, wanted, delimiter=settings.delimiter, quoting=settings.quoting) for file in checked
        ]

    how = [settings.encoding, settings.delimiter, str(settings.quoting)]
    return _classification(settings, Tables(list(given.values()), settings.text, settings.target, tables, how))


def _classification(settings: TextSettings, tables: Tables) -> Data:
    labels = cached_labels(tables)
    read_as = zip(tables.paths, labels.encodings, strict=True)
    notes = [note for path, encoding in read_as for note in encoding_notes(path, encoding)]
    train, validation, test = _split(settings, labels, notes)
    notes += rare_classes(labels, train, tables)
    is_training = np.zeros(len(labels.codes), dtype=bool)
    is_training[train] = True
    tokenizer = None
    if settings.tokens == "bpe":
        assert settings.vocabulary_size is not None
        tokenizer = cached_byte_pairs(tables.key, tables.texts, is_training, settings.vocabulary_size, tables.what)
    corpus = cached_corpus(
        tables.key, tables.texts, settings.tokens, tokenizer, total=len(is_training), what=tables.what
    )
    notes += corpus.notes
    where = f"{tables.paths[0].name}, column {tables.text}"
    ragged, codec = _encoded(settings, corpus, is_training, tokenizer, where, notes)
    del corpus  # before what is made of it
    samples = _samples(ragged, torch.from_numpy(labels.codes), codec)
    training = samples.take(torch.from_numpy(train))
    if not len(validation):
        notes.append(TRAINS_AND_EVALUATES_THE_SAME)
    return Data(
        Task("multiclass", _spec(codec, samples), len(labels.names), labels.names),
        training,
        samples.take(torch.from_numpy(validation)) if len(validation) else training,
        samples.take(torch.from_numpy(test)) if len(test) else None,
        preprocessing={**codec.to_dict(), "text": tables.text, "classes": list(labels.names)},
        notes=tuple(notes),
    )


def _split(
    settings: TextSettings, labels: Labels, notes: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the rows of the three splits; those of a second file are the test."""
    first = labels.num_first
    if first == len(labels.codes):
        return split_indices(first, settings, labels.codes)
    if settings.test_fraction > 0 or settings.folds is not None:
        notes.append("the test rows have a file of their own: data.test_fraction and data.folds are not used")
    train, validation, _ = split_indices(first, replace(settings, test_fraction=0.0, folds=None), labels.codes[:first])
    return train, validation, np.arange(first, len(labels.codes))


# --- texts ------------------------------------------------------------------------------------------------


def _encoded(
    settings: TextSettings,
    corpus: Corpus,
    is_training: NDArray[np.bool_],
    tokenizer: str | None,
    where: str,
    notes: list[str],
) -> tuple[Ragged, TextCodec]:
    """Returns the texts as numbers, at most ``codec.context`` of them each, and the codec.

    Raises:
        DataError: there is nothing in them, or the vocabulary keeps nothing of it.
    """
    lengths = corpus.lengths
    if not lengths[is_training].any():
        raise DataError(f"{where}: every training text is empty")
    size = None if settings.tokens == "bpe" else settings.vocabulary_size  # the pieces are so many already
    min_count = 1 if settings.tokens == "bpe" else settings.min_count
    chosen = numbering(corpus, is_training, size=size, min_count=min_count, unknown=True)
    if chosen.vocabulary.tokens == (UNKNOWN,):
        raise DataError(
            f"{where}: no token appears {settings.min_count} times in the training texts, so the vocabulary is empty. "
            f"Lower data.min_count={settings.min_count}"
        )
    empty = int(np.count_nonzero(lengths == 0))
    if empty:
        stands = "it stands" if empty == 1 else "each stands"
        notes.append(f"{empty} of {len(corpus)} texts are empty: {stands} as one unknown token")
    longest = int(lengths[is_training].max())
    context = longest if settings.max_length is None else min(longest, settings.max_length)
    beyond = int(np.count_nonzero(lengths > context))
    if beyond:
        notes.append(f"{beyond} of {len(corpus)} texts are cut to their first {context} tokens")
    ragged = chosen.encode(corpus, fill_empty=True).cut(context)
    return ragged, TextCodec(settings.tokens, chosen.vocabulary, context, tokenizer, settings.form)


def _samples(ragged: Ragged, targets: torch.Tensor, codec: TextCodec) -> RaggedSamples:
    if codec.form == "sequence":
        return RaggedSamples(ragged, targets)
    return RaggedSamples(ragged, targets, transform=Bag(len(codec.vocabulary) - 2, codec.form == "counts"))


def _spec(codec: TextCodec, samples: RaggedSamples) -> InputSpec:
    if isinstance(samples.transform, Bag):
        return InputSpec((samples.transform.size,))
    return InputSpec((codec.context,), "int64", vocabulary_size=len(codec.vocabulary), padding="right")
