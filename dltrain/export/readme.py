"""The README of an exported model: what it is, how to call it, what it takes and what its answer means."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from dltrain.export import onnx_file, weights
from dltrain.export.check import TOLERANCE, Checked
from dltrain.export.description import FILE as PREPROCESSING
from dltrain.export.description import Description
from dltrain.export.examples import packages
from dltrain.export.inputs import Described
from dltrain.export.raw import JSON, PICTURE
from dltrain.export.torch_program import BATCH
from dltrain.text_tables import markdown

FILE = "README.md"

TITLES = {"torch": "PyTorch program", "onnx": "ONNX", "safetensors": "weights"}

_MANY = 40  # columns of a table that are listed

_FORMATS = {
    "torch": """\
The file is a program of PyTorch (`torch.export`): the weights and the operations, without the Python code of the
model. It runs where PyTorch {torch} or a newer one is installed, without dltrain. `torch.export.load(...).module()`
gives a module that can be called, compiled with `torch.compile`, or packed by AOTInductor for C++. It takes the place
of TorchScript (`torch.jit`), which is deprecated. It computes as in evaluation: without dropout, with stored
statistics.""",
    "onnx": """\
The file is ONNX with operator set {opset}, which ONNX Runtime reads since 1.14, in Python, C, C++, C#, Java,
JavaScript and on phones. It needs neither dltrain nor PyTorch. It computes as in evaluation: without dropout, with
stored statistics.{data}""",
    "safetensors": """\
The file holds the weights alone, by name, and no code. `model.json` holds what the model is built from (its name, its
settings and the task), and the shape of each weight. dltrain builds the model again, as below. Other programs read the
weights with a library for safetensors, and need the model's layers themselves.""",
}

_EXTERNAL = """
The weights are too large for one file of ONNX: `model.onnx.data` holds them, and must stay beside `model.onnx`."""


@dataclass(frozen=True)
class Told:
    """What a README tells besides the description.

    Attributes:
        code: the example.
        printed: what it printed; None where it was not run.
        checked: how the exported model compares with its model; None where it was not.
        files: what is in the folder.
    """

    format: str
    code: str
    printed: str | None
    checked: Checked | None
    files: list[str]


def readme(description: Description, told: Told) -> str:
    """Returns the README."""
    plain = description.plain
    version = re.sub(r"\+.*", "", torch.__version__)
    data = _EXTERNAL if f"{onnx_file.FILE}.data" in told.files else ""
    form = _FORMATS[told.format].format(torch=version, opset=onnx_file.OPSET, data=data)
    parts = [
        f"# {plain['model']}, trained on {plain['data']}: {TITLES[told.format]}",
        f"The model of the run `{plain['run']}`, checkpoint `{plain['checkpoint']}`, exported by dltrain "
        f"{plain['dltrain']} as `{plain['file']}`.",
        form,
        _call(told),
        "## What it takes\n\n" + _inputs(description),
        "## What it gives\n\n" + _outputs(description),
        "## Is it the same model?\n\n" + _same(told),
        "## Files\n\n" + "\n".join(f"- `{name}`: {_FILES.get(name, _OTHER)}" for name in sorted(told.files)),
    ]
    return "\n\n".join(parts) + "\n"


_OTHER = "how texts are cut into tokens, for Hugging Face's tokenizers"
_FILES = {
    "model.pt2": "the model",
    "model.onnx": "the model",
    "model.onnx.data": "its weights",
    weights.FILE: "the weights",
    weights.BUILT_FROM: "what the model is built from",
    PREPROCESSING: "how raw inputs become those of the model, and what its outputs mean, for a program in any language",
    JSON: "the sample of the example",
    PICTURE: "the image of the example",
    FILE: "this text",
}


def _call(told: Told) -> str:
    install = f"```bash\npip install {' '.join(packages(told.code))}\n```"
    text = f"## Call it\n\n{install}\n\nIn this folder:\n\n```python\n{told.code}```"
    if told.printed is not None:
        printed = told.printed.rstrip().replace("```", "")
        text += f"\n\nIt prints\n\n```\n{printed}\n```"
    return text


def _inputs(description: Description) -> str:
    texts = ["`batch` is any number of samples at once."]
    for made in description.inputs:
        shape = ", ".join(map(str, made["shape"]))
        holds = made.get("holds") or _KINDS[made["kind"]]
        bounds = [_axis(name, bound) for name, bound in made["free_axes"].items() if name != BATCH]
        texts.append(" ".join([f"**`{made['name']}`**: {made['dtype']}, shape ({shape}): {holds}.", *bounds]))
        texts += _details(made)
    return "\n\n".join([*texts, f"`{PREPROCESSING}` has all of it, with the rules in words."])


_KINDS = {
    "table": "a row of a table, its columns made numbers",
    "numbers": "numbers, each shifted and scaled",
    "image": "an image",
    "series": "the last rows of a series",
    "tokens": "the numbers of a text's tokens",
    "bag": "which tokens a text holds",
    "prepared": "what the data set makes of its samples, of which no more is known",
}


def _axis(name: str, bound: Described) -> str:
    least, most = bound["shortest"], bound["longest"]
    if least == 1 and most is None:
        return f"`{name}` is any number of tokens."
    many = f"from {least} to {most}" if most else f"at least {least}"
    return f"`{name}` is {many} tokens; shorter texts are filled up."


def _details(made: Described) -> list[str]:
    if made["kind"] == "table":
        rows = [_feature(feature) for feature in made["features"][:_MANY]]
        more = len(made["features"]) - _MANY
        table = markdown(["column", "is", "numbers", "how"], rows)
        return [table.strip(), *([f"and {more} more, which `{PREPROCESSING}` lists."] if more > 0 else [])]
    if made["kind"] == "image":
        size = f"{made['height']}x{made['width']} (height x width)"
        return [
            f"{size}, {made['channel_order']}, from 0 to 255, of each channel (value - shift) / scale with"
            f" shift {_short(made['shift'])} and scale {_short(made['scale'])}; layout: {made['layout']}."
        ]
    if made["kind"] == "series":
        changes = "; the model sees the changes from row to row" if made["differences"] else ""
        return [f"{made['window']} rows, the oldest first, of the columns {', '.join(made['columns'])}{changes}."]
    if made["kind"] in ("tokens", "bag"):
        keeps = f"of a longer text the {made['keep']} {made['longest']} are taken"
        side = f"filled up with 0 on the {made['padding_side']}" if made["kind"] == "tokens" else made["bag"]
        to = f" to {made['pad_to']}" if made["kind"] == "tokens" and made["pad_to"] > 1 else ""
        known = f"{len(made['vocabulary']) - 1:,} are known"
        return [f"A token is a {made['tokens']}: {made['how']}. {known}; {keeps}; {side}{to}."]
    return []


def _feature(feature: Described) -> list[str]:
    first, width = feature["position"], feature["width"]
    place = str(first) if width == 1 else f"{first} to {first + width - 1}"
    if feature["kind"] == "category":
        how = "code from 1" if feature["encoding"] == "code" else "a 1 at the category's place"
        shown = ", ".join(feature["categories"][:5]) + (", ..." if len(feature["categories"]) > 5 else "")
        return [feature["column"], f"category ({shown})", place, how]
    how = f"(x - {feature['shift']:.6g}) / {feature['scale']:.6g}"
    empty = "" if feature["fill"] is None else f", empty: x = {feature['fill']:.6g}"
    return [feature["column"], feature["kind"], place, how + empty]


def _short(values: list[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values[:3]) + (", ..." if len(values) > 3 else "")


def _outputs(description: Description) -> str:
    texts = []
    for output in description.outputs:
        shape = ", ".join(map(str, output["shape"]))
        text = f"**`{output['name']}`**: {output['dtype']}, shape ({shape}), {output['task']}: {output['how']}."
        names = output.get("classes", [])
        if output["task"] in ("next_token", "seq2seq"):
            names = []
        if names:
            shown = ", ".join(" ".join(name.split()) for name in names[:_MANY])
            shown += f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
            text += f" Classes: {shown}."
        texts.append(text)
    return "\n\n".join(texts)


def _same(told: Told) -> str:
    if told.checked is None:
        return "**It was not checked** (`--no-check`): nobody knows whether it computes what the model does."
    checked = told.checked
    parts = ", ".join(f"{count:,} of {name}" for name, count in checked.splits.items())
    return (
        f"On {checked.inputs:,} real inputs ({parts}) its outputs and those of the model in PyTorch differ by "
        f"{checked.difference:.2g} at most. Allowed is {TOLERANCE:g} of the largest output of a sample, or "
        f"{TOLERANCE:g} where that is below 1: float32 rounds no better."
    )
