"""The samples on which a model errs most and, of images, some that it gets right, as a person reads them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence

import torch

from dltrain import pictures, worst
from dltrain.callbacks.predictions import spread
from dltrain.console import number
from dltrain.data import Data, Task
from dltrain.evaluate import apart, outputs_of
from dltrain.models import device_of
from dltrain.readable import Entry, Reader, Told
from dltrain.readable import table as readable_table
from dltrain.report import markup
from dltrain.report.limited import limited
from dltrain.report.markup import Html, escaped, heading, joined, paragraph
from dltrain.report.page import Block, Section
from dltrain.report.subject import Subject

# The side of an image in the page, in pixels, and that of what is kept of a larger one.
_SIDE, _KEPT = 128, 224

# Of images, so many that are right and so many that are wrong, out of so many that are looked at.
_SHOWN, _LOOKED_AT = 12, 400

# Pixels of all of these, at most.
_MOST_PIXELS = 2**24

# More letters of a text are not shown.
_LONGEST = 600


def section(subject: Subject) -> Section | None:
    """Returns the worst errors; None where there is no model to ask or none are wanted."""
    parts, looking = subject.parts, subject.looking
    if parts is None or not looking.worst:
        return None
    part = limited(parts, subject.split, looking.most)
    reader = Reader(part.data, part.loss)
    found = worst.find(
        part.model, part.split(subject.split), reader, part.loss, subject.autocast, min(looking.worst, 1000)
    )
    if not found:
        return None
    count = len(part.data.splits[subject.split])
    whole = len(parts.data.splits[subject.split])
    of = f"{count:,} samples" if count == whole else f"{count:,} of the {whole:,} samples"
    told = f"Of {of} of {subject.split}, those with the largest loss, the largest first{_wrong_ones(part.data, found)}."
    told += " Samples are counted from 0."
    blocks: list[Block] = [paragraph(told), *_shown(part.data, found)]
    return Section("Worst errors", blocks)


def _wrong_ones(data: Data, entries: Sequence[Entry]) -> str:
    """Returns how many are taken for something else than they are: of a good model many a large loss is of a right
    prediction that was not sure. Of numbers there is nothing to say, for none is met exactly.
    """
    if "regression" in _kinds(data.task):
        return ""
    wrong = sum(not all(told.is_right for told in entry.told.values()) for entry in entries)
    if wrong == len(entries):
        return ""
    return f"; {wrong or 'none'} of these {len(entries)} {'is' if wrong <= 1 else 'are'} predicted wrong"


def right_and_wrong(subject: Subject) -> Section | None:
    """Returns images that the model gets right and others that it does not, as they come; None where there are none."""
    parts = subject.parts
    if parts is None or not pictures.are_images(parts.data) or "regression" in _kinds(parts.data.task):
        return None
    pixels = math.prod(parts.data.task.input.shape)
    places, batch = spread(parts.data.splits[subject.split], min(_LOOKED_AT, max(1, _MOST_PIXELS // pixels)))
    device = device_of(parts.model)
    entries: list[Entry] = []
    reader = Reader(parts.data, parts.loss)
    with apart(parts.model):
        for start in range(0, batch.size, parts.config.trainer.evaluation_batch_size):
            rows = slice(start, start + parts.config.trainer.evaluation_batch_size)
            piece = batch.map(lambda tensor, rows=rows: tensor[rows].to(device))  # type: ignore[misc]
            outputs = outputs_of(parts.model, piece.inputs, subject.autocast)
            entries += reader.entries(places[rows], piece, outputs)
    is_right = [all(told.is_right for told in entry.told.values()) for entry in entries]
    right = [entry for entry, good in zip(entries, is_right, strict=True) if good][:_SHOWN]
    wrong = [entry for entry, good in zip(entries, is_right, strict=True) if not good][:_SHOWN]
    told = (
        f"Out of {len(entries):,} samples spread over {subject.split}, {sum(is_right):,} are right; the first of each:"
    )
    blocks: list[Block] = [paragraph(told)]
    for name, group in (("Right", right), ("Wrong", wrong)):
        if group:
            blocks += [heading(name), _cards(parts.data, group)]
    return Section("Some samples", blocks)


def _kinds(task: Task) -> set[str]:
    return {task.kind, *(head.kind for head in task.heads.values())}


def _shown(data: Data, entries: Sequence[Entry]) -> Iterator[Html]:
    """Yields samples: images with what is said of each below it, others as rows of a table."""
    if entries[0].image is not None:
        yield _cards(data, entries)
        return
    header, rows = readable_table(entries)
    numbers = [place for place, name in enumerate(header) if name in ("index", "loss") or name.endswith("probability")]
    yield markup.table(header, ([_cut(cell) for cell in row] for row in rows), numbers=numbers)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _cards(data: Data, entries: Sequence[Entry]) -> Html:
    images = torch.stack([entry.image for entry in entries if entry.image is not None])
    pixels = pictures.to_bytes(images, data)
    cards = [_card(entry, own) for entry, own in zip(entries, pixels, strict=True)]
    return Html(f'<div class="cards">\n{joined(cards)}\n</div>')


def _card(entry: Entry, pixels: torch.Tensor) -> Html:
    """Returns an image and what is true and predicted of it.

    Args:
        pixels: (H, W, C) uint8.
    """
    height, width = pixels.shape[:2]
    factor = _SIDE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    kept = min(1.0, _KEPT / max(height, width))  # a small image is enlarged by the browser
    image = pictures.image_of(pixels, (max(1, round(width * kept)), max(1, round(height * kept))))
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    alt = f"sample {entry.place}: " + "; ".join(_in_words(name, told) for name, told in entry.told.items())
    loss = "" if entry.loss is None else f", loss {number(entry.loss)}"
    lines = [Html(f"<span class='small'>{escaped(f'{entry.place}{loss}')}</span>")]
    lines += [line for name, told in entry.told.items() for line in _lines(name, told)]
    below = joined(lines, "<br>")
    return Html(f"<figure>{markup.picture(stream.getvalue(), alt, *size)}<figcaption>{below}</figcaption></figure>")


def _lines(name: str, told: Told) -> Iterator[Html]:
    before = f"{name}: " if name else ""
    chance = "" if told.probability is None else f" {told.probability:.0%}"
    if told.is_right:
        yield Html(f'{escaped(before)}<span class="right">{escaped(told.predicted + chance)}</span>')
        return
    yield Html(f"{escaped(before)}true {escaped(told.true)}")
    yield Html(f'said <span class="wrong">{escaped(told.predicted + chance)}</span>')


def _in_words(name: str, told: Told) -> str:
    return f"{name + ' ' if name else ''}true {told.true}, predicted {told.predicted}"
