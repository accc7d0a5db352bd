"""Tokens that need a library: byte pairs (``tokenizers``) and Korean morphemes (``kiwipiepy``)."""

from __future__ import annotations

import functools
import importlib
import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dltrain.errors import DataError

# What the tokenizers library writes for a space, at the beginning of a piece.
SPACE = "▁"
_BATCH = 2048


def normalized(text: str) -> str:
    """Returns a text in Unicode NFC, each run of white space a single space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def cutter(kind: str, tokenizer: str | None = None) -> Callable[[Iterable[str]], Iterator[list[str]]]:
    """Returns a function that cuts normalized texts into tokens, many at a time and, for ``bpe`` and ``morpheme``,
    on all cores.

    Args:
        kind: one of ``tokens.TOKEN_KINDS``.
        tokenizer: what ``train_byte_pairs`` returned, for ``bpe``.

    Raises:
        DataError: the library that this kind needs is not installed.
    """
    if kind == "word":
        return lambda texts: (text.split() for text in texts)
    if kind == "syllable":
        return lambda texts: map(list, texts)
    if kind == "jamo":
        return lambda texts: (list(unicodedata.normalize("NFD", text)) for text in texts)
    if kind == "bpe":
        assert tokenizer is not None
        return functools.partial(_byte_pairs, _loaded(tokenizer))
    return functools.partial(_morphemes, _kiwi())


def version(kind: str) -> str:
    """Returns what may change the tokens of the same text: the versions of the library and of its model.

    Raises:
        DataError: the library is not installed.
    """
    if kind not in ("bpe", "morpheme"):
        return unicodedata.unidata_version
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    packages = ["tokenizers"] if kind == "bpe" else ["kiwipiepy", "kiwipiepy_model"]
    try:
        return " ".join([unicodedata.unidata_version, *map(installed, packages)])
    except PackageNotFoundError as error:
        raise _missing(kind) from error


# --- byte pairs -------------------------------------------------------------------------------------------


def train_byte_pairs(texts: Iterable[str], size: int, unknown: str) -> str:
    """Learns to cut texts into ``size`` pieces: characters, and the pairs that are most often neighbours, again and
    again (Sennrich, Haddow and Birch 2016). A piece at the beginning of a word starts with ``SPACE``.

    Args:
        texts: normalized.
        unknown: the token for a character that is not among the pieces.

    Returns:
        The tokenizer as JSON.

    Raises:
        DataError: the library is not installed.
    """
    library = _tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE(unk_token=unknown))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace(replacement=SPACE)
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, limit_alphabet=size, special_tokens=[unknown], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    saved: str = tokenizer.to_str()
    return saved


def _byte_pairs(tokenizer: Any, texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(itertools.islice(rest, _BATCH)):
        for encoding in tokenizer.encode_batch(batch):
            yield encoding.tokens


@functools.lru_cache(maxsize=1)
def _loaded(tokenizer: str) -> Any:
    return _tokenizers().Tokenizer.from_str(tokenizer)


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise _missing("bpe") from error
    return tokenizers


# --- morphemes --------------------------------------------------------------------------------------------


def join_morphemes(tokens: Iterable[str]) -> str:
    """Puts morphemes such as "말/NNG" together to words again, with the spaces that belong between them.

    Raises:
        DataError: the library is not installed.
    """
    pairs = [(form, tag) for form, slash, tag in (token.rpartition("/") for token in tokens) if slash and form]
    text: str = _kiwi().join(pairs) if pairs else ""
    return text


def _morphemes(kiwi: Any, texts: Iterable[str]) -> Iterator[list[str]]:
    for morphemes in kiwi.tokenize(texts):  # given many texts, it takes them a few at a time and in parallel
        yield [f"{morpheme.form}/{morpheme.tag}" for morpheme in morphemes]


@functools.lru_cache(maxsize=1)
def _kiwi() -> Any:
    try:
        library = importlib.import_module("kiwipiepy")
    except ImportError as error:
        raise _missing("morpheme") from error
    return library.Kiwi(num_workers=-1)


def _missing(kind: str) -> DataError:
    if kind == "bpe":
        return DataError("data.tokens=bpe needs the package tokenizers, which is not installed: pip install tokenizers")
    return DataError(
        "data.tokens=morpheme needs the package kiwipiepy with its model, which is not installed: "
        "pip install 'dltrain[korean]'"
    )
