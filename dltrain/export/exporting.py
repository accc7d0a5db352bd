"""Exports a run: all files of the folder are written beside it and checked before it has its name."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from dltrain import registry
from dltrain.config import Config
from dltrain.data import Data, Task, Tensors
from dltrain.errors import ConfigError, DataError, DltrainError, MachineError
from dltrain.export import check, onnx_file, torch_program, weights
from dltrain.export import description as descriptions
from dltrain.export import readme as readmes
from dltrain.export.check import Checked
from dltrain.export.description import Description
from dltrain.export.examples import example
from dltrain.export.raw import raw_sample
from dltrain.export.torch_program import Axes
from dltrain.prediction import model as trained_models
from dltrain.prediction.inputs_series import SeriesForm
from dltrain.prediction.model import Trained
from dltrain.run_folder import RunFolder, check_letters, free_bytes, make_folder, refuse_links, write_file, write_json

FILES = {"torch": torch_program.FILE, "onnx": onnx_file.FILE, "safetensors": weights.FILE}

# Files beside the weights, and what the weights take in other formats besides.
_OTHER_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: their sizes in bytes.
        checked: None where it was not.
        printed: what the README's example printed.
    """

    folder: Path
    files: dict[str, int]
    description: Description
    checked: Checked | None
    printed: str | None


def export(
    run: RunFolder, config: Config, format: str, folder: Path | None, checkpoint: str, *, checks: bool
) -> Exported:
    """Writes the folder of an exported run.

    Args:
        folder: None is ``export/<format>`` in the run's own; one that is there must be of an earlier export.
        checks: whether the run's data are read, to compare what was exported with the model.

    Raises:
        ConfigError: the model cannot be exported, or the folder holds something else.
        CheckpointError: there is no such checkpoint.
        DataError: the data, which the check needs, cannot be read.
        MachineError: a package is missing, the folder cannot be written, or the two models do not agree.
    """
    if format == "onnx":
        onnx_file.require_packages()
    target = _target(run, folder, format)
    on_cpu = dataclasses.replace(config, device=dataclasses.replace(config.device, name="cpu", precision="fp32"))
    trained = trained_models.load(run, on_cpu, checkpoint)
    data = _data(trained) if checks else None
    size = sum(tensor.nbytes for tensor in trained.model.state_dict().values())
    with _made(target, size) as made:
        axes = _save(trained, format, made)
        description = descriptions.describe(trained, axes, FILES[format])
        checked = None if data is None else _check(trained, format, made, data, axes)
        printed = _explain(trained, description, format, made, data, checked)
        files = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
    return Exported(target, files, description, checked, printed)


# --- the model --------------------------------------------------------------------------------------------


def _save(trained: Trained, format: str, folder: Path) -> Axes | None:
    """Writes the model, and returns the axes of its inputs where these are the file's own."""
    name = trained.config.model.name
    if format == "safetensors":
        weights.save(trained.model, trained.config.model, trained.task, folder)
        return None
    program = torch_program.program_of(trained.model, trained.task, name)
    if format == "torch":
        torch_program.save(program, folder / torch_program.FILE)
    else:
        onnx_file.save(program, folder / onnx_file.FILE, descriptions.output_names(trained.task), name)
    return program.axes


def _data(trained: Trained) -> Data:
    """
    Raises:
        DltrainError: the data cannot be read, or are others than those of the training.
    """
    try:
        data: Data = registry.build("data", trained.config.data)
    except DltrainError as error:
        hint = "The run's data are needed for the check alone: --no-check exports without it"
        if isinstance(error, ConfigError):
            raise ConfigError(f"{error}. {hint}") from error
        raise type(error)(f"{str(error).rstrip('.')}. {hint}") from error
    if data.task.inputs != trained.task.inputs:
        raise DataError(
            f"data={trained.config.data.name} now gives other inputs than in the training, so that nothing can be "
            "checked with them. Bring the data back, or export without a check: --no-check"
        )
    return data


def _check(trained: Trained, format: str, folder: Path, data: Data, axes: Axes | None) -> Checked:
    path, task = folder / FILES[format], trained.task
    ask: Callable[[Tensors], Tensors]
    if format == "onnx":
        ask = _onnx(path, task)
    else:
        ask = torch_program.load(path) if format == "torch" else weights.load(folder)

    def run(inputs: Tensors) -> Tensors:
        whole = inputs if axes is None else torch_program.filled(inputs, task, axes)
        outputs = ask(whole)
        return _without_padding(outputs, inputs, task) if task.per_step else outputs

    with torch_program.quiet():  # what the model warns of was said in its training
        return check.compare(run, trained.model, task, check.samples(data), FILES[format])


def _onnx(path: Path, task: Task) -> Callable[[Tensors], Tensors]:
    """Returns what asks a file of ONNX, with tensors as the model is given them."""
    session, names = onnx_file.session(path), descriptions.output_names(task)

    def ask(inputs: Tensors) -> Tensors:
        named = inputs if isinstance(inputs, dict) else {torch_program.INPUT: inputs}
        given = session.run(names, {name: tensor.numpy() for name, tensor in named.items()})
        outputs = {name: torch.from_numpy(array) for name, array in zip(names, given, strict=True)}
        return outputs if task.heads else outputs[names[0]]

    return ask


def _without_padding(outputs: Tensors, inputs: Tensors, task: Task) -> Tensors:
    """Returns the outputs (B, T, K) of as many steps as the inputs have."""
    name, spec = list(torch_program.specs_of(task).items())[-1]
    steps = (inputs[name] if isinstance(inputs, dict) else inputs).shape[1]
    assert isinstance(outputs, torch.Tensor)
    return outputs[:, -steps:] if spec.padding == "left" else outputs[:, :steps]


# --- the files beside it ----------------------------------------------------------------------------------


def _explain(
    trained: Trained, description: Description, format: str, folder: Path, data: Data | None, checked: Checked | None
) -> str | None:
    """Writes all other files, and returns what the example printed."""
    batch = None if data is None else check.some(data)
    raw = raw_sample(description.inputs, batch, _changing(trained))
    write_json(folder / descriptions.FILE, description.plain)
    for name, content in raw.files.items():
        write_file(folder / name, content)
    for name, tokenizer in description.tokenizers.items():
        write_file(folder / name, tokenizer)
    modules = trained.config.imports if format == "safetensors" else []
    code = example(description.inputs, description.outputs, format, FILES[format], raw, modules)
    printed = None if data is None else _run(code, folder)
    names = sorted([*(path.name for path in folder.iterdir()), readmes.FILE])
    told = readmes.Told(format, code, printed, checked, names)
    write_file(folder / readmes.FILE, readmes.readme(description, told))
    return printed


def _changing(trained: Trained) -> list[str]:
    """Returns the columns of a series whose changes are predicted."""
    kept = trained.kept
    if not kept.get("differences") or "window" not in kept or trained.task.kind != "regression":
        return []
    form: SeriesForm = trained.keeping(lambda kept: SeriesForm.of(kept, trained.config.data, has_values=True))
    return form.target


def _run(code: str, folder: Path) -> str:
    """Runs the README's example in a process of its own.

    Raises:
        MachineError: it fails.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "utf-8"}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise MachineError(f"the README's example, tried on a sample of the data, fails: {last}. Nothing was written")
    return process.stdout


# --- the folder -------------------------------------------------------------------------------------------


def _target(run: RunFolder, folder: Path | None, format: str) -> Path:
    """
    Raises:
        ConfigError: something else is there.
        MachineError: it lies behind a link in the run's folder, or its name is no UTF-8.
    """
    target = run.path / "export" / format if folder is None else folder
    if folder is None:
        refuse_links((target.parent, target))
    check_letters(target.absolute())
    if target.is_dir():
        if any(target.iterdir()) and not descriptions.is_export(target):
            raise ConfigError(f"{target} holds other files. Name a new folder, or an empty one: -o FOLDER")
    elif target.exists():
        raise ConfigError(f"{target} is a file. Name a folder: -o FOLDER")
    return target


@contextlib.contextmanager
def _made(target: Path, num_bytes: int) -> Iterator[Path]:
    """Gives a folder to write to, which takes the place of ``target`` at the end; after an error nothing is left.

    Args:
        num_bytes: of the weights.

    Raises:
        MachineError: it cannot be written, or the disk is too full.
    """
    target = target.absolute()
    new = [parent for parent in target.parents if not parent.exists()]
    make_folder(target.parent, what="export", hint="Name another folder with -o FOLDER")
    temporary, old = (target.with_name(f".{target.name}.{os.getpid()}.{word}") for word in ("tmp", "old"))
    _sweep(target)
    try:
        free = free_bytes(target.parent)[0]
        if free < num_bytes + _OTHER_BYTES:
            raise MachineError(
                f"{target}: the disk is full: needs {(num_bytes + _OTHER_BYTES) / 2**20:.1f} MB, {free / 2**20:.1f} MB "
                "are free"
            )
        temporary.mkdir()
        yield temporary
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in new:  # the deepest first
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _sweep(target: Path) -> None:
    """Removes what processes that were killed left beside a folder that they were about to write."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        number = path.name.split(".")[-2]
        if number.isdigit() and not _is_running(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # it is somebody else's, or no number of a process
        return True
    return True
