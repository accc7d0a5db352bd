"""How each input of a model is made from what a person has: rows of a table, an image, a text, rows of a series.

All of it is plain values for preprocessing.json, from which a program in any language can do the same.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import Any

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.data.tables.kinds import FALSE_WORDS, TRUE_WORDS
from dltrain.data.tables.preprocessing import ALL, Feature, TablePreprocessing
from dltrain.data.text.tokens import END, START, TextCodec
from dltrain.export.torch_program import INPUT, specs_of
from dltrain.prediction.inputs_series import SeriesForm
from dltrain.prediction.inputs_table import names_of_numbers, of_numbers, of_streamed

Described = dict[str, Any]

_SCALED = "(x - shift) / scale, in float64, then float32"
_NORMALIZED = "Unicode NFC; each run of white space is one space, and none is left at either end"
_CUTS = {
    "word": "the pieces between spaces",
    "syllable": "each character, the space too",
    "jamo": "the normalized text in Unicode NFD, then each character, the space too",
    "bpe": "the tokens that Hugging Face's tokenizers gives with tokenizer.json",
    "morpheme": "the morphemes that kiwipiepy gives, each as form/tag, such as 말/NNG",
}


def described_inputs(task: Task, kept: dict[str, Any], settings: Any) -> dict[str, Described]:
    """Returns how each input is made, by the input's name.

    Args:
        kept: the preprocessing that the run keeps of its data.
        settings: of the data.
    """
    if "table" in kept:
        table = TablePreprocessing.from_dict(kept["table"])
        return {
            group if group != ALL else INPUT: _table(
                [table.features[name] for name in names], embeds=table.embeds, first_code=1, decimal=kept.get("decimal")
            )
            for group, names in table.groups.items()
        }
    if "numbers" in kept and "one_hot" in kept:
        features = of_streamed(kept).features.values()
        return {INPUT: _table(features, embeds=not kept["one_hot"], first_code=0)}
    if "window" in kept and "columns" in kept:
        return {INPUT: _series(kept, settings, task)}
    if task.kind == "seq2seq" and "source" in kept and "target" in kept:
        return {side: _tokens(TextCodec.from_dict(kept[side]), task, side=side) for side in ("source", "target")}
    if "vocabulary" in kept:
        return {INPUT: _tokens(TextCodec.from_dict(kept), task)}
    if _is_built_in(settings) and not isinstance(task.inputs, dict):
        return {INPUT: _values(task.inputs, kept, settings)}
    return {name: _prepared(settings) for name in specs_of(task)}


def _is_built_in(settings: Any) -> bool:
    """Tells whether the data set is one of ours: what another one keeps may mean anything."""
    return registry.find("data", settings.name).factory.__module__.startswith("dltrain.")


def _prepared(settings: Any) -> Described:
    return {"kind": "prepared", "how": f"as the data set '{settings.name}' makes them, of which no more is known"}


# --- values -----------------------------------------------------------------------------------------------


def _values(spec: InputSpec, kept: dict[str, Any], settings: Any) -> Described:
    """Of the data sets that keep a shift and a scale: of each channel of an image, or of each number."""
    shift, count = kept.get("shift"), math.prod(spec.shape)
    if len(spec.shape) == 3 and isinstance(shift, list) and len(shift) == spec.shape[0] != count:
        return _image(spec, kept, settings)
    if spec.vocabulary_size is None and (shift is None or len(shift) == count):
        names = names_of_numbers(settings, spec)
        if len(spec.shape) == 1:
            return _table(of_numbers(kept, names).features.values(), embeds=False, first_code=1)
        scaling = {"shift": shift or [0.0] * count, "scale": kept.get("scale") or [1.0] * count}
        how = f"the numbers in this shape, the last axis first; shift and scale have their order; {_SCALED}"
        return {"kind": "numbers", "how": how, "names": names, **scaling}
    return _prepared(settings)


def _table(features: Iterable[Feature], *, embeds: bool, first_code: int, decimal: str | None = None) -> Described:
    """
    Args:
        embeds: a category is one number, its code, and stands behind the others.
        first_code: the code that has the first of a category's columns, where it has one for each code.
    """
    chosen = list(features)
    if embeds:
        chosen.sort(key=lambda feature: feature.kind == "category")  # stable, as the preprocessing does
    position, described = 0, []
    for feature in chosen:
        values: Described = {"column": feature.name, "kind": feature.kind, "position": position, "width": 1}
        if feature.kind == "category":
            if not embeds:
                values["width"] = len(feature.categories) + 1 - first_code
            values["encoding"] = "code" if embeds else "one_hot"
            values |= {"first_code": 0 if embeds else first_code, "categories": list(feature.categories)}
            values["empty_code"] = feature.empty_code
        else:
            values |= {"shift": feature.shift, "scale": feature.scale, "fill": feature.fill}
        if feature.kind == "boolean":
            values |= {"true": sorted(TRUE_WORDS), "false": sorted(FALSE_WORDS)}
        described.append(values)
        position += values["width"]
    return {
        "kind": "table",
        "how": {
            "number": f"an empty cell is fill (null: it is refused); {_SCALED}",
            "boolean": "a word of true is 1, of false 0, whatever its case; then as a number",
            "category": "its code is 1 + its place in categories, 0 where it is none of them, empty_code where the "
            "cell is empty (null: it is refused). encoding code: the code itself is the number at position. encoding "
            "one_hot: width numbers from position on, a 1 at position + code - first_code and 0 elsewhere; a code "
            "below first_code has none",
        },
        "decimal": decimal or ".",
        "features": described,
    }


def _image(spec: InputSpec, kept: dict[str, Any], settings: Any) -> Described:
    channels, height, width = spec.shape
    return {
        "kind": "image",
        "channels": channels,
        "channel_order": "grey" if channels == 1 else "RGB",
        "layout": "channel, row, column",
        "height": height,
        "width": width,
        "values": [0, 255],
        "resize": str(kept.get("resize") or getattr(settings, "resize", "stretch")),
        "shift": list(kept["shift"]),
        "scale": list(kept["scale"]),
        "how": "8 bits a channel; turned upright as its EXIF data say; what is transparent lies on white; of 16 bits "
        "the upper 8; a JPEG of twice the size or more is decoded at a half, a quarter or an eighth of its size, the "
        "smallest that is no less than twice the wanted one; then, where it has another size, resized bilinearly "
        "without aliasing: stretch gives it the height and width, crop first cuts what is too long from both ends, pad "
        f"adds black at both ends; then of each channel {_SCALED}",
    }


def _series(kept: dict[str, Any], settings: Any, task: Task) -> Described:
    form = SeriesForm.of(kept, settings, has_values=task.kind == "regression")
    changes = "the changes from each row to the next, for which one row more is needed; " if form.differences else ""
    return {
        "kind": "series",
        "columns": form.columns,
        "window": form.window,
        "differences": form.differences,
        "shift": form.shift.tolist(),
        "scale": form.scale.tolist(),
        "how": f"the last window rows in order of time, the oldest first; {changes}of each column {_SCALED}",
    }


# --- tokens -----------------------------------------------------------------------------------------------


def _tokens(codec: TextCodec, task: Task, side: str = "") -> Described:
    """
    Args:
        side: of the pairs of a seq2seq model: source, which it reads, or target, which it writes.
    """
    vocabulary = codec.vocabulary
    is_window = task.kind == "next_token" and codec.form == "windows"
    described: Described = {
        "kind": "tokens",
        "normalization": _NORMALIZED,
        "unicode": unicodedata.unidata_version,
        "tokens": codec.kind,
        "how": _CUTS[codec.kind],
        "vocabulary": ["<pad>", *vocabulary.tokens],
        "unknown": vocabulary.unknown,
        "longest": codec.context,
        "keep": "last" if task.kind == "next_token" else "first",
        "empty_is_unknown": task.kind not in ("next_token", "seq2seq"),
        "padding": 0,
        "padding_side": "left" if is_window else "right",
        "pad_to": codec.context if is_window else 1,
    }
    if codec.tokenizer is not None:
        described["tokenizer"] = codec.tokenizer
    if codec.form in ("multi_hot", "counts"):
        width = len(vocabulary) - 2
        described |= {
            "kind": "bag",
            "width": width,
            "counts": codec.form == "counts",
            "bag": "a row of width numbers: at place n - 1 "
            + ("how often token number n is in the text" if codec.form == "counts" else "1 where it holds token n")
            + ", else 0; unknown tokens have no place",
        }
    if side == "source":
        described["holds"] = "the text that is read"
    if side == "target":
        described["holds"] = (
            "what is written so far: number start, then a token after another, of which each is what the model says "
            "follows; number end is the end of it"
        )
        start, end = vocabulary.encode((START, END))
        described |= {"start": start, "end": end, "longest": codec.context + 1}
    return described
