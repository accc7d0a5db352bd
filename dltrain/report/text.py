"""What a model writes: a language model that goes on with beginnings, and the answers of a model of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from dltrain import generate
from dltrain.callbacks.predictions import spread
from dltrain.data.text.tokens import PADDING, TextCodec
from dltrain.errors import CheckpointError
from dltrain.evaluate import apart
from dltrain.generate import Choice
from dltrain.models.seq2seq import Seq2Seq
from dltrain.readable import codec_of, text_of, with_unknown
from dltrain.report.markup import paragraph, table
from dltrain.report.page import Section
from dltrain.report.subject import Subject

if TYPE_CHECKING:
    from dltrain.assembly import Parts

# So many beginnings of so many tokens, and so many tokens that are written after each.
_BEGINNINGS, _BEGINNING_TOKENS = 6, 3
_NEW_TOKENS = {"char": 80, "word": 25, "bpe": 40, "morpheme": 40}
_OTHER_TOKENS = 40

_LOOKED_AT, _PAIRS = 64, 12
_DRAWN_AT = 0.8

_NOTHING = "(the model gives NaN)"


def section(subject: Subject) -> Section | None:
    """Returns what was written; None where the model writes no text."""
    parts = subject.parts
    if parts is None:
        return None
    if parts.data.task.kind == "next_token":
        return _language(parts, subject)
    return _answers(parts, subject) if isinstance(parts.model, Seq2Seq) else None


def _language(parts: Parts, subject: Subject) -> Section | None:
    codec = codec_of(parts.data, "source")
    if codec is None:
        return None
    _, batch = spread(parts.data.splits[subject.split], _LOOKED_AT)
    assert isinstance(batch.inputs, torch.Tensor)
    length = _NEW_TOKENS.get(codec.kind, _OTHER_TOKENS)
    choices = [
        ("the likeliest", Choice()),
        (f"drawn at temperature {_DRAWN_AT:g}", Choice(1, _DRAWN_AT, parts.config.seed)),
    ]
    rows: list[list[str]] = []
    with apart(parts.model):
        for beginning in _beginnings(batch.inputs, codec):
            written = [_written(parts, codec, beginning, length, choice.of_prompt(len(rows))) for _, choice in choices]
            rows.append([text_of(beginning, codec), *written])
    told = f"From beginnings out of {subject.split}, {length} more tokens each."
    return Section("What it writes", [paragraph(told), table(["beginning", *(name for name, _ in choices)], rows)])


def _written(parts: Parts, codec: TextCodec, beginning: list[int], length: int, choice: Choice) -> str:
    try:
        return generate.continued(parts.model, codec, beginning, length, choice)
    except CheckpointError:
        return _NOTHING


def _beginnings(inputs: torch.Tensor, codec: TextCodec) -> Iterator[list[int]]:
    """Yields the first tokens of samples that begin with different ones, none of them unknown."""
    seen: set[int] = set()
    for row in inputs.tolist():
        beginning = [number for number in row if number != PADDING][:_BEGINNING_TOKENS]
        if beginning and codec.vocabulary.unknown not in beginning and beginning[0] not in seen:
            seen.add(beginning[0])
            yield beginning
        if len(seen) == _BEGINNINGS:
            return


def _answers(parts: Parts, subject: Subject) -> Section | None:
    source, target = codec_of(parts.data, "source"), codec_of(parts.data, "target")
    inputs = parts.data.task.inputs
    assert isinstance(parts.model, Seq2Seq) and isinstance(inputs, dict)
    if source is None or target is None:
        return None
    _, batch = spread(parts.data.splits[subject.split], _PAIRS)
    assert isinstance(batch.inputs, dict) and isinstance(batch.targets, torch.Tensor)
    rows: list[list[str]] = []
    with apart(parts.model):
        for asked, answer in zip(batch.inputs["source"].tolist(), batch.targets.tolist(), strict=True):
            numbers = [number for number in asked if number != PADDING]
            try:
                longest = inputs["target"].shape[0]
                said = generate.answered(parts.model, source, target, numbers, longest, Choice())
            except CheckpointError:
                said = _NOTHING
            true = text_of(with_unknown(answer, target), target)
            rows.append([text_of(numbers, source), true, said])
    told = f"{len(rows)} samples spread over {subject.split}; the answer is written token by token, the likeliest each."
    return Section("What it answers", [paragraph(told), table(["asked", "true answer", "its answer"], rows)])
