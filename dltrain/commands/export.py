"""Writes a trained model for other programs: the model, preprocessing.json and a README that says how to call it.

torch is a program of PyTorch (torch.export, .pt2), which runs without dltrain; onnx runs in ONNX Runtime, without
PyTorch; safetensors holds the weights alone, and what the model is built from. What was written is compared with the
model on 1,000 real inputs of the run's data: outputs may differ by 1e-5 of a sample's largest one (or of 1 where that
is smaller). Where they do not agree, nothing is left behind.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dltrain import saved
from dltrain.commands import one_run

if TYPE_CHECKING:
    from dltrain.export.exporting import Exported

_FORMATS = ("torch", "onnx", "safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.add_argument("--format", "-f", choices=_FORMATS, required=True, help="what to write")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="folder to write to (default: export/<format> in the run's)"
    )
    parser.add_argument(
        "--no-check",
        action="store_true",
        help="do not compare the two models: the run's data, which that needs, are not read",
    )
    one_run.add_checkpoint_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    folder = one_run.find(arguments.run)
    config = one_run.load_config(saved.saved_config(folder), arguments, folder)

    from dltrain import console
    from dltrain.export.exporting import export
    from dltrain.guards import memory_errors

    console.log_to(None)
    with memory_errors(config):
        exported = export(
            folder,
            config,
            arguments.format,
            None if arguments.output is None else arguments.output.expanduser(),
            arguments.checkpoint,
            checks=not arguments.no_check,
        )
    _print(exported, arguments.format)
    return 0


def _print(exported: Exported, form: str) -> None:
    from dltrain.console import log
    from dltrain.export.check import TOLERANCE

    plain = exported.description.plain
    print(f"{plain['model']} of {plain['run']}, checkpoint {plain['checkpoint']}, as {form}: {exported.folder}")
    for name, size in exported.files.items():
        print(f"  {name:<20} {_told(size):>9}")
    for direction in ("inputs", "outputs"):
        for tensor in plain[direction]:
            shape = ", ".join(map(str, tensor["shape"]))
            print(f"  {direction[:-1]} {tensor['name']}: {tensor['dtype']} ({shape})")
    checked = exported.checked
    if checked is None:
        log.warning("NOT CHECKED: whether %s computes what the model does, nobody knows", plain["file"])
        return
    of = ", ".join(f"{count:,} of {name}" for name, count in checked.splits.items())
    print(
        f"  agrees with the model in PyTorch on {checked.inputs:,} inputs ({of}): largest difference "
        f"{checked.difference:.2g} (allowed: {TOLERANCE:g} of the largest output, or of 1)"
    )
    if exported.printed:
        print("the README's example prints:")
        print("".join(f"  {line}\n" for line in exported.printed.splitlines()), end="")


def _told(size: int) -> str:
    for unit, scale in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
