"""A sample as a person has it, before it is made an input: what the example in an export's README begins with."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.data import Tensors
from dltrain.data.text.tokens import END, START, UNKNOWN, join, tokenize
from dltrain.errors import DataError
from dltrain.export.inputs import Described

JSON, PICTURE = "example.json", "example.png"

# How exactly a number is told: this share of what it is scaled by, as float32 tells it of what the model is given.
_EXACT = 1e-6

Row = NDArray[np.float64]


@dataclass(frozen=True)
class Raw:
    """One sample.

    Attributes:
        text: where the sample is one.
        files: what else it is, by the file's name.
    """

    text: str = ""
    files: dict[str, bytes] = field(default_factory=dict)


def raw_sample(inputs: list[Described], batch: Tensors | None, target_columns: list[str]) -> Raw:
    """Returns one sample of a batch in its raw form, as near as the inputs tell; without a batch, a usual one.

    Args:
        inputs: how each input is made.
        batch: real inputs.
        target_columns: of a series that is seen in changes: what these are changes of.
    """
    rows = _rows(inputs, batch)
    kind = inputs[0]["kind"]
    if kind in ("tokens", "bag"):
        return Raw(text=_text(inputs[0], batch, next(iter(rows.values()))))
    if kind == "image":
        return Raw(files={PICTURE: _picture(inputs[0], rows[inputs[0]["name"]])})
    if kind == "table":
        cells: dict[str, Any] = {}
        for made in inputs:
            cells |= _cells(made, rows[made["name"]])
        return _json(cells)
    if kind == "series":
        return _json(_window(inputs[0], rows[inputs[0]["name"]], target_columns))
    if kind == "numbers":
        return _json(_unscaled(inputs[0], rows[inputs[0]["name"]]))
    return _json({name: None if row is None else row.tolist() for name, row in rows.items()})


def _json(value: Any) -> Raw:
    return Raw(files={JSON: (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()})


def _rows(inputs: list[Described], batch: Tensors | None) -> dict[str, Row | None]:
    """Returns the first sample of each input, (...) without the batch; None where there is none."""
    if batch is None:
        return {made["name"]: None for made in inputs}
    named = batch if isinstance(batch, dict) else {inputs[0]["name"]: batch}
    return {name: tensor[0].double().numpy() for name, tensor in named.items()}


def _number(value: float, scale: float) -> float | int:
    rounded = round(value, -math.floor(math.log10(scale * _EXACT)) - 1)
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


# --- values -----------------------------------------------------------------------------------------------


def _cells(made: Described, row: Row | None) -> dict[str, Any]:
    """Returns the cells of a table's row by column."""
    cells: dict[str, Any] = {}
    for feature in made["features"]:
        name, first = feature["column"], feature["position"]
        if feature["kind"] == "category":
            code = 1 if row is None else _code(feature, row[first : first + feature["width"]])
            known = 0 < code <= len(feature["categories"])
            cells[name] = feature["categories"][code - 1] if known else None if feature["empty_code"] == 0 else "?"
        elif row is None:
            usual = feature["shift"] if feature["fill"] is None else feature["fill"]
            cells[name] = 1 if feature["kind"] == "boolean" else _number(usual, feature["scale"])
        else:
            cells[name] = _number(float(row[first]) * feature["scale"] + feature["shift"], feature["scale"])
    return cells


def _code(feature: Described, numbers: Row) -> int:
    if feature["encoding"] == "code":
        return int(numbers[0])
    return int(numbers.argmax()) + int(feature["first_code"]) if numbers.any() else 0


def _unscaled(made: Described, row: Row | None) -> list[Any]:
    """Returns the numbers of a sample in its shape."""
    shift, scale = np.array(made["shift"]), np.array(made["scale"])
    flat = shift if row is None else row.reshape(-1) * scale + shift
    values = np.array([_number(*pair) for pair in zip(flat.tolist(), scale.tolist(), strict=True)])
    whole: list[Any] = values.reshape(made["shape"][1:]).tolist()
    return whole


def _picture(made: Described, row: Row | None) -> bytes:
    from PIL import Image

    shape = (made["channels"], made["height"], made["width"])
    shift, scale = (np.array(made[name])[:, None, None] for name in ("shift", "scale"))
    values = np.full(shape, 128.0) if row is None else row.reshape(shape) * scale + shift
    pixels = np.rint(values).clip(0, 255).astype(np.uint8)
    content = io.BytesIO()
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())
    image.save(content, "PNG")
    return content.getvalue()


def _window(made: Described, row: Row | None, target_columns: list[str]) -> dict[str, Any]:
    """Returns the rows of a series that a model sees, oldest first; of changes they count from 0."""
    shift, scale = np.array(made["shift"]), np.array(made["scale"])
    seen = np.broadcast_to(shift, (made["window"], len(shift))) if row is None else row * scale + shift
    values = np.concatenate([np.zeros((1, len(shift))), seen.cumsum(axis=0)]) if made["differences"] else seen
    rows = [[_number(*pair) for pair in zip(step, scale.tolist(), strict=True)] for step in values.tolist()]
    if not made["differences"]:
        return {"rows": rows}
    columns = list(made["columns"])
    return {"rows": rows, "last": [rows[-1][columns.index(n)] if n in columns else 0 for n in target_columns]}


# --- texts ------------------------------------------------------------------------------------------------


def _text(made: Described, batch: Tensors | None, row: Row | None) -> str:
    """Returns the first text of a batch of which all tokens are known, or a text of the most frequent ones."""
    for numbers in _numbers(made, batch, row):
        tokens = [made["vocabulary"][number] for number in numbers if number]
        tokens = [token for token in tokens if token not in (START, END)]
        if not tokens or UNKNOWN in tokens:
            continue
        text = join(tokens, made["tokens"])
        if made["tokens"] in ("bpe", "morpheme") or tokenize(text, made["tokens"]) == tokens:
            return text
    tokens = [token for token in made["vocabulary"][1:] if token not in (UNKNOWN, START, END)][:3]
    try:
        return join(tokens, made["tokens"])
    except DataError:  # kiwipiepy, which puts morphemes together, is not installed
        return " ".join(token.rpartition("/")[0] for token in tokens)


def _numbers(made: Described, batch: Tensors | None, row: Row | None) -> Iterator[list[int]]:
    """Yields the token numbers of texts; those of a bag stand in no order."""
    if batch is None or row is None:
        return
    tensor = next(iter(batch.values())) if isinstance(batch, dict) else batch
    for values in tensor:
        if made["kind"] == "tokens":
            yield [int(number) for number in values]
        else:
            yield [int(place) + 1 for place in torch.nonzero(values)[:, 0]]
