"""``korean_text``: the next token of a line from the tokens before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Data, InputSpec, Samples, Task
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.data.tokens import TOKEN_KINDS, TextCodec, Vocabulary, tokenize
from dltrain.errors import DataError, did_you_mean

THREE_LINES = "경마장에 있는 말이 뛰고 있다\n그의 말이 법이다\n가는 말이 고와야 오는 말이 곱다\n"

# Fewer lines than this are all trained on: a tenth of them would say nothing about the rest.
MIN_LINES_TO_SPLIT = 20


@dataclass(frozen=True)
class KoreanTextSettings(SplitSettings):
    path: str | None = setting("A text file, a sentence a line; null takes three Korean lines of the package.")
    encoding: str = setting(
        "Encoding of the file; auto finds UTF-8, UTF-16 with a mark, and CP949.",
        choices=("auto", "utf-8", "utf-16", "cp949"),
    )
    tokens: str = setting(
        "What is predicted: word (between white space), syllable (character) or jamo (letter).",
        choices=TOKEN_KINDS,
    )
    vocabulary_size: int | None = setting("Keep so many of the most frequent tokens; null keeps all.", min=1)
    min_count: int = setting("Keep tokens that appear at least so often.", min=1)
    window: int = setting("Most tokens before the predicted one that the model sees.", min=1)


@registry.register("data", "korean_text", KoreanTextSettings)
def korean_text(settings: KoreanTextSettings) -> Data:
    """Every beginning of a line with at least two tokens: its last token is the target, the others the input."""
    if settings.path == "":
        raise DataError("data.path is empty: name a text file, or leave it out for the built-in lines")
    path = None if settings.path is None else Path(settings.path).expanduser()
    text, notes = (THREE_LINES, []) if path is None else read_text(path, settings.encoding)
    where = "the built-in text" if settings.path is None else f"data.path={settings.path}"
    lines = [tokens for line in text.splitlines() if len(tokens := tokenize(line, settings.tokens)) >= 2]
    if not lines:
        raise DataError(f"{where}: no line with at least two {settings.tokens}s, so there is nothing to predict")
    too_short = sum(1 for line in text.splitlines() if line.strip()) - len(lines)
    if too_short:
        notes.append(f"{too_short} lines of a single {settings.tokens} are left out: they have nothing to predict")

    wants_split = settings.validation_fraction > 0 or settings.test_fraction > 0
    splits = wants_split and len(lines) >= MIN_LINES_TO_SPLIT
    parts = [lines, [], []]
    if splits:
        parts = [[lines[i] for i in indices] for indices in split_indices(len(lines), settings)]
    elif wants_split:
        notes.append(f"{len(lines)} lines are too few to split (under {MIN_LINES_TO_SPLIT})")
    vocabulary = Vocabulary.count(parts[0], size=settings.vocabulary_size, min_count=settings.min_count, unknown=splits)
    context = min(settings.window, max(len(line) for line in lines) - 1)
    train, validation, test = (_samples(part, vocabulary, context) for part in parts)
    if len(train) == 0:
        raise DataError(
            f"{where}: no token that the vocabulary keeps follows another. "
            f"Lower data.min_count={settings.min_count} or raise data.vocabulary_size"
        )
    if len(validation) == 0:
        validation = train
        notes.append(TRAINS_AND_EVALUATES_THE_SAME)
    spec = InputSpec((context,), "int64", vocabulary_size=len(vocabulary))
    return Data(
        Task("next_token", spec, len(vocabulary), ("<pad>", *vocabulary.tokens)),
        train,
        validation,
        test if len(test) else None,
        preprocessing=TextCodec(settings.tokens, vocabulary, context).to_dict(),
        notes=tuple(notes),
    )


def _samples(lines: list[list[str]], vocabulary: Vocabulary, context: int) -> Samples:
    """Returns (N, T) windows, padded on the left, and the (N,) tokens that follow them.

    An unknown token is never a target: a model that predicts "something unknown" has said nothing.
    """
    row: list[int] = []
    is_target: list[bool] = []
    for line in lines:  # T paddings before each line make every window of it a plain slice
        numbers = vocabulary.encode(line)
        row += [0] * context + numbers
        is_target += [False] * (context + 1) + [number != vocabulary.unknown for number in numbers[1:]]
    positions = np.flatnonzero(np.array(is_target, dtype=bool))
    flat: NDArray[np.int64] = np.array(row, dtype=np.int64)
    if not len(positions):
        return Samples(torch.empty(0, context, dtype=torch.int64), torch.empty(0, dtype=torch.int64))
    windows = np.lib.stride_tricks.sliding_window_view(flat, context)[positions - context]
    return Samples(torch.from_numpy(np.ascontiguousarray(windows)), torch.from_numpy(flat[positions]))


def read_text(path: Path, encoding: str) -> tuple[str, list[str]]:
    """Reads a text file and returns it with notes about its encoding.

    Raises:
        DataError: there is no such file, it is empty, or it is not in that encoding.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        folder = path.parent
        files = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        hint = did_you_mean(path.name, files)
        if len(files) > 12:  # too many to list
            hint = hint.partition(" There is:")[0]
        raise DataError(f"data.path={path}: there is no such file in {folder.resolve()}.{hint}") from error
    except IsADirectoryError as error:
        raise DataError(f"data.path={path}: this is a folder; give a text file") from error
    except OSError as error:
        raise DataError(f"data.path={path}: cannot be read: {error.strerror}") from error
    text, used = _decode(content, encoding, path)
    if not text.strip():
        raise DataError(f"data.path={path}: the file is empty")
    return text, [] if used == "utf-8" else [f"{path} is read as {used.upper()}"]


def _decode(content: bytes, encoding: str, path: Path) -> tuple[str, str]:
    if encoding != "auto":
        candidates = [encoding]
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        candidates = ["utf-16"]
    else:
        candidates = ["utf-8", "cp949"]
    first: UnicodeDecodeError | None = None
    for name in candidates:
        try:
            text = content.decode(name).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            first = first or error
            continue
        if "\0" in text:
            raise DataError(f"data.path={path}: holds NUL characters, so it is not a text file")
        return text, name
    assert first is not None
    line = content[: first.start].decode(candidates[0], "ignore").count("\n") + 1
    raise DataError(
        f"data.path={path}: byte {first.start} (line {line}) is not {' or '.join(map(str.upper, candidates))}. "
        "Save the file as UTF-8, or give data.encoding"
    )
