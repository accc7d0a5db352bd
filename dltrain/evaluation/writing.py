"""The files of an evaluation in a run folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dltrain import run_folder, sample_pictures
from dltrain.data import Data
from dltrain.errors import MachineError
from dltrain.evaluation import pictures
from dltrain.readable import Entry, table
from dltrain.run_folder import RunFolder

_WORST = "worst_errors"


def write(folder: RunFolder, evaluation: dict[str, Any], title: str | None) -> list[Path]:
    """Writes ``evaluation.json`` and the pictures in place of earlier ones, and returns the paths of the pictures.

    Args:
        title: of the pictures; None draws none.

    Raises:
        MachineError: they cannot be written.
    """
    pictured = folder.evaluation_pictures
    run_folder.refuse_links([folder.evaluation, pictured])
    for path in pictured.iterdir() if pictured.is_dir() else ():
        if path.suffix in (".svg", ".png", ".csv"):
            _remove(path)
    run_folder.write_file(folder.evaluation, as_text(evaluation) + "\n")
    drawn = () if title is None else pictures.draw(evaluation, title)
    return [_written(folder, name, content) for name, content in drawn]


def write_worst(folder: RunFolder, entries: Sequence[Entry], data: Data, title: str) -> list[Path]:
    """Writes the samples with the largest losses as CSV and, where they are images, as a picture."""
    stream = io.StringIO()
    header, rows = table(entries)
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    written = [_written(folder, f"{_WORST}.csv", stream.getvalue())]
    if entries[0].image is not None:
        picture = io.BytesIO()
        sample_pictures.draw(data, entries, title).save(picture, format="PNG")
        written.append(_written(folder, f"{_WORST}.png", picture.getvalue()))
    return written


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"{path} cannot be removed: {error.strerror}") from error


def _written(folder: RunFolder, name: str, content: str | bytes) -> Path:
    run_folder.make_folder(folder.evaluation_pictures)
    path = folder.evaluation_pictures / name
    run_folder.write_file(path, content)
    return path


def as_text(value: Any) -> str:
    """Returns JSON that a person can read: a line for each key, and a list of numbers on one line."""
    return "".join(_pieces(json.loads(run_folder.json_text(value)), ""))


def _pieces(value: Any, indent: str) -> Iterator[str]:
    inner = f"{indent}  "
    if isinstance(value, dict) and value:
        yield "{\n"
        for place, (key, item) in enumerate(value.items()):
            yield (",\n" if place else "") + f"{inner}{json.dumps(key, ensure_ascii=False)}: "
            yield from _pieces(item, inner)
        yield f"\n{indent}}}"
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield "[\n"
        for place, item in enumerate(value):
            yield (",\n" if place else "") + inner
            yield from _pieces(item, inner)
        yield f"\n{indent}]"
    else:
        yield json.dumps(value, ensure_ascii=False)
