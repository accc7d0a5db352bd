"""preprocessing.json: what a program in any language needs to ask a model, and to understand its answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain import __version__
from dltrain.data import InputSpec, Task
from dltrain.export.inputs import Described, described_inputs
from dltrain.export.torch_program import BATCH, TIME, Axes, Axis, specs_of
from dltrain.losses import HeadsLoss, Loss
from dltrain.models.perceptron import Perceptron
from dltrain.prediction.inputs_series import SeriesForm
from dltrain.prediction.model import Trained
from dltrain.run_folder import read_json

FILE = "preprocessing.json"

_FORMAT = "dltrain export"

# Losses that make scores larger or smaller than others, and no logits of probabilities.
_SCORES = ("hinge", "perceptron")


@dataclass(frozen=True)
class Description:
    """What preprocessing.json says.

    Attributes:
        plain: the whole of it, as plain values.
        tokenizers: those of byte pairs, which stand in files of their own, by name.
    """

    plain: dict[str, Any]
    tokenizers: dict[str, str]

    @property
    def inputs(self) -> list[Described]:
        return list(self.plain["inputs"])

    @property
    def outputs(self) -> list[Described]:
        return list(self.plain["outputs"])


def describe(trained: Trained, axes: Axes | None, file: str) -> Description:
    """Describes a trained model.

    Args:
        axes: of the inputs of what was exported; None where it takes what the model takes.
        file: the name of the exported file.

    Raises:
        CheckpointError: what the run keeps of its preprocessing is damaged.
    """
    task, settings = trained.task, trained.config.data
    made = trained.keeping(lambda kept: described_inputs(task, kept, settings))
    axes = axes or {name: _axes_of(name, spec, task) for name, spec in specs_of(task).items()}
    tokenizers: dict[str, str] = {}
    for name, own in made.items():
        if "tokenizer" in own:
            file_name = "tokenizer.json" if len(made) == 1 else f"tokenizer-{name}.json"
            tokenizers[file_name], own["tokenizer"] = own["tokenizer"], file_name
    inputs = [_input(name, specs_of(task)[name], own, made[name]) for name, own in axes.items()]
    plain = {
        "format": _FORMAT,
        "version": 1,
        "dltrain": __version__,
        "run": trained.folder.path.resolve().name,
        "checkpoint": trained.checkpoint,
        "data": settings.name,
        "model": trained.config.model.name,
        "file": file,
        "inputs": inputs,
        "outputs": list(_outputs(trained).values()),
    }
    return Description(plain, tokenizers)


def is_export(folder: Path) -> bool:
    """Tells whether a folder holds what an earlier export wrote."""
    path = folder / FILE
    return path.is_file() and read_json(path).get("format") == _FORMAT


# --- inputs -----------------------------------------------------------------------------------------------


def _axes_of(name: str, spec: InputSpec, task: Task) -> tuple[int | Axis, ...]:
    if spec.vocabulary_size is None:
        return (Axis(BATCH), *spec.shape)
    return (Axis(BATCH), Axis(f"{name}_{TIME}" if isinstance(task.inputs, dict) else TIME))


def _input(name: str, spec: InputSpec, axes: tuple[int | Axis, ...], made: Described) -> Described:
    shape = [axis.name if isinstance(axis, Axis) else axis for axis in axes]
    bounds = {
        axis.name: {"shortest": axis.shortest, "longest": axis.longest} for axis in axes if isinstance(axis, Axis)
    }
    described = {"name": name, "dtype": spec.dtype, "shape": shape, "free_axes": bounds, **made}
    if made["kind"] == "tokens":
        time = axes[1]
        least = time.shortest if isinstance(time, Axis) else time
        described["pad_to"] = max(made["pad_to"], least)
    return described


# --- outputs ----------------------------------------------------------------------------------------------


def output_names(task: Task) -> list[str]:
    """Returns what the outputs are called: of several targets each by its name."""
    return list(task.heads) or ["values" if task.kind == "regression" else "logits"]


def _outputs(trained: Trained) -> dict[str, Described]:
    task, loss = trained.task, trained.loss
    tasks = task.heads or {output_names(task)[0]: task}
    losses = loss.heads if isinstance(loss, HeadsLoss) else dict.fromkeys(tasks, loss)
    return {name: _output(name, tasks[name], losses[name], trained) for name in tasks}


def _output(name: str, task: Task, loss: Loss, trained: Trained) -> Described:
    shape: list[int | str] = [BATCH, task.output_size]
    if task.per_step:
        last = list(specs_of(trained.task))[-1]  # of pairs the text that is written
        shape.insert(1, f"{last}_{TIME}" if isinstance(trained.task.inputs, dict) else TIME)
    described: Described = {"name": name, "dtype": "float32", "shape": shape, "task": task.kind}
    if task.kind == "regression":
        return described | _values(task, loss, trained, [name] if trained.task.heads else None)
    is_yes_no = task.kind in ("binary", "multilabel")
    are_scores = trained.config.loss.name in _SCORES or isinstance(trained.model, Perceptron)
    function = "none" if are_scores else "sigmoid" if is_yes_no else "softmax"
    described["probabilities"] = function
    described["classes"] = list(task.class_names) or [str(place) for place in range(task.output_size)]
    described["how"] = _meaning(task, function)
    return described


def _meaning(task: Task, function: str) -> str:
    if task.kind == "binary":
        answer = "above 0 it is the second class, else the first"
        chance = "; its sigmoid is the probability of the second class"
    elif task.kind == "multilabel":
        answer = "each class whose number is above 0 is there"
        chance = "; the sigmoid of each is the probability of its class"
    else:
        answer = "the highest number is that of the class"
        chance = "; the softmax over the last axis gives the probabilities of the classes"
        if task.kind in ("next_token", "seq2seq"):
            answer = "the highest number is that of the token that follows, by its number in the vocabulary"
            chance = chance.replace("classes", "tokens")
    return answer + (chance if function != "none" else "; the numbers are scores, not logits of probabilities")


def _values(task: Task, loss: Loss, trained: Trained, names: list[str] | None) -> Described:
    """Of a regression: how the outputs become values in the target's own unit.

    Args:
        names: of the values; None where the data may tell them.
    """
    count = task.output_size
    names = _value_names(trained, count) if names is None else names
    if trained.config.loss.name == "poisson":
        return {"probabilities": "none", "function": "exp", "names": names, "how": "value = exp(output)"}
    described: Described = {"probabilities": "none", "function": "none", "names": names}
    if loss.link is not None:
        described["function"] = "unknown"
        described["how"] = f"a prediction is a function of the output that the loss '{trained.config.loss.name}' has"
        return described
    scaled = len(task.target_scale) == count
    described["target_shift"] = list(task.target_shift) if scaled else [0.0] * count
    described["target_scale"] = list(task.target_scale) if scaled else [1.0] * count
    described["how"] = "value = output * target_scale + target_shift, in the target's own unit"
    if trained.kept.get("differences"):
        described["counts_from_last_row"] = True
        described["how"] += "; it is the change from the last row of the window, to which it is to be added"
    return described


def _value_names(trained: Trained, count: int) -> list[str]:
    """Returns what the values of a regression are of."""
    kept = trained.kept
    if "window" in kept and "columns" in kept:
        names = trained.keeping(lambda kept: SeriesForm.of(kept, trained.config.data, has_values=True)).names
        return list(names)
    targets = [str(target["name"]) for target in kept.get("targets", [])]
    if len(targets) == count:
        return targets
    return [str(kept["target"]["name"])] if isinstance(kept.get("target"), dict) and count == 1 else []
