"""The example in an export's README: a whole program for this very model, put together from ``pieces``."""

from __future__ import annotations

import re

from dltrain.export import pieces
from dltrain.export.inputs import Described
from dltrain.export.raw import JSON, PICTURE, Raw

FORMATS = ("torch", "onnx", "safetensors")

# What the words of a piece need: the line that imports it, and the package that pip knows.
_IMPORTS = {
    "json.": ("import json", ""),
    "unicodedata.": ("import unicodedata", ""),
    "np.": ("import numpy as np", "numpy"),
    "onnxruntime.": ("import onnxruntime", "onnxruntime"),
    "torch.": ("import torch", "torch"),
    "load(": ("from dltrain.export.weights import load", "dltrain"),
    "Kiwi(": ("from kiwipiepy import Kiwi", "kiwipiepy"),
    "ImageOps": ("from PIL import Image, ImageOps", "pillow"),
    "Tokenizer.": ("from tokenizers import Tokenizer", "tokenizers"),
}


def example(
    inputs: list[Described], outputs: list[Described], format: str, file: str, raw: Raw, modules: list[str]
) -> str:
    """Returns a Python program that asks an exported model about one sample, and prints what it answers.

    Args:
        inputs, outputs: as preprocessing.json describes them.
        file: of the model.
        modules: of the user's, which register what dltrain builds.
    """
    body = [*_making(inputs), *_understanding(outputs), *_writing(inputs)]
    code = "\n\n".join([_running(inputs, outputs, format, file), *body, _main(inputs, outputs, raw)])
    standard = [line for line in _needed(code) if line in ("import json", "import unicodedata")]
    others = [line for line in _needed(code) if line not in standard]
    reading = 'with open("preprocessing.json", encoding="utf-8") as text:\n    described = json.load(text)\n'
    own = [f"import {module}  # which registers the model" for module in modules]
    return "\n".join(["import json", *standard[1:], "", *others, *own, "", reading]) + code


def packages(code: str) -> list[str]:
    """Returns what pip must install for a program to run."""
    return sorted({package for word, (_, package) in _IMPORTS.items() if package and _has(code, word)})


def _needed(code: str) -> list[str]:
    lines = ["import json", *(line for word, (line, _) in _IMPORTS.items() if _has(code, word))]
    plain = sorted(line for line in dict.fromkeys(lines) if line.startswith("import"))
    return [*plain, *sorted(line for line in dict.fromkeys(lines) if line.startswith("from"))]


def _has(code: str, word: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(word)}", code) is not None


def _filled(piece: str, **values: str) -> str:
    for name, value in values.items():
        piece = piece.replace(f"@{name}@", value)
    return piece


def _running(inputs: list[Described], outputs: list[Described], format: str, file: str) -> str:
    if format == "onnx":
        return _filled(pieces.RUN_ONNX, FILE=repr(file).replace("'", '"'))
    given = "tensors" if len(inputs) > 1 else f"tensors[{_quoted(inputs[0]['name'])}]"
    one = f"{{{_quoted(outputs[0]['name'])}: outputs.numpy()}}"
    if len(outputs) == 1:
        answers = one
    elif format == "torch":
        answers = "{name: output.numpy() for name, output in outputs.items()}"
    else:
        names = [output["name"] for output in outputs]
        sizes = [output["shape"][-1] for output in outputs]
        answers = f"dict(zip({names!r}, (part.numpy() for part in outputs.split({sizes!r}, dim=-1))))"
    piece = pieces.RUN_TORCH if format == "torch" else pieces.RUN_WEIGHTS
    return _filled(piece, FILE=_quoted(file), GIVEN=given, OUTPUTS=answers)


def _making(inputs: list[Described]) -> list[str]:
    kind = inputs[0]["kind"]
    if kind in ("tokens", "bag"):
        tokens = _filled(pieces.TOKENS, TOKENS=pieces.CUTS[inputs[0]["tokens"]])
        return [tokens, pieces.PADDED if kind == "tokens" else pieces.BAG]
    if kind == "table":
        plain = all(feature["kind"] == "number" for made in inputs for feature in made["features"])
        return [pieces.TABLE_OF_NUMBERS if plain else pieces.TABLE]
    known = {"numbers": pieces.NUMBERS, "image": pieces.IMAGE, "series": pieces.SERIES}
    return [known[kind]] if kind in known else []


def _understanding(outputs: list[Described]) -> list[str]:
    chosen: list[str] = []
    for output in outputs:
        is_score = output["probabilities"] == "none"
        if output["task"] == "regression":
            chosen.append(_values(output))
        elif output["task"] == "binary":
            chosen.append(pieces.YES_NO_OF_SCORES if is_score else pieces.YES_NO)
        elif output["task"] == "multiclass":
            chosen += [pieces.CLASS_OF_SCORES] if is_score else [pieces.SOFTMAX, pieces.CLASS]
        elif output["task"] == "next_token":
            chosen += [pieces.SOFTMAX, pieces.NEXT]
        elif output["task"] in ("multilabel", "sequence_labels"):
            chosen.append(pieces.LABELS if output["task"] == "multilabel" else pieces.STEPS)
    return list(dict.fromkeys(chosen))


def _values(output: Described) -> str:
    if "target_scale" not in output:
        return pieces.RATES if output["function"] == "exp" else pieces.PLAIN
    return pieces.CHANGES if output.get("counts_from_last_row") else pieces.VALUES


def _writing(inputs: list[Described]) -> list[str]:
    if len(inputs) < 2 or inputs[0]["kind"] != "tokens":
        return []
    return [_filled(pieces.WRITE, JOINED=pieces.JOINS[inputs[1]["tokens"]])]


# --- what it does -----------------------------------------------------------------------------------------


def _main(inputs: list[Described], outputs: list[Described], raw: Raw) -> str:
    """Returns the lines that make one sample's inputs, run the model and print its answers."""
    lines = []
    if raw.text:
        lines.append(f"text = {_quoted(raw.text)}")
    if JSON in raw.files:
        lines += [f'with open("{JSON}", encoding="utf-8") as text:', "    example = json.load(text)"]
    if len(inputs) > 1 and inputs[0]["kind"] == "tokens":
        return "\n".join([*lines, 'print(answer(text, *described["inputs"]))', ""])
    if len(inputs) == 1:
        lines += ['(made,) = described["inputs"]', f"inputs = {{{_quoted(inputs[0]['name'])}: {_made(inputs[0])}}}"]
    else:
        lines.append(f'inputs = {{made["name"]: {_made(inputs[0])} for made in described["inputs"]}}')
    lines += ["outputs = run(inputs)"]
    for place, output in enumerate(outputs):
        name = f"{_quoted(output['name'] + ':')}, " if len(outputs) > 1 else ""
        lines.append(f"print({name}{_told(place, output)})")
    return "\n".join([*lines, ""])


def _made(made: Described) -> str:
    return {
        "table": "rows_to_array([example], made)",
        "numbers": "numbers_to_array([example], made)",
        "image": f'image_to_array("{PICTURE}", made)',
        "series": 'window_to_array(example["rows"], made)',
        "tokens": "padded(numbers_of(text, made), made)",
        "bag": "bag(numbers_of(text, made), made)",
    }.get(made["kind"], 'np.array([example[made["name"]]], dtype=made["dtype"])')


def _told(place: int, output: Described) -> str:
    described = f'described["outputs"][{place}]'
    numbers = f"outputs[{_quoted(output['name'])}][0]"
    if output["task"] == "next_token" and len(output["shape"]) == 3:
        numbers += "[-1]"  # after the last token
    if output.get("counts_from_last_row"):
        return f'values_of({numbers}, {described}, example["last"])'
    function = {
        "regression": "values_of",
        "binary": "yes_or_no",
        "multiclass": "class_of",
        "multilabel": "labels_of",
        "next_token": "next_tokens",
    }.get(output["task"], "steps_of")
    return f"{function}({numbers}, {described})"


def _quoted(text: str) -> str:
    """Returns a text as Python code, in double quotes where that can be."""
    code = repr(text)
    return f'"{code[1:-1]}"' if code[0] == "'" and '"' not in code else code
