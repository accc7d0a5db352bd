"""What may stand in a config: types, ranges and meanings. The values stand in the YAML files alone.

``load`` turns the plain container that Hydra composed into frozen dataclasses, and reports every mistake of it
in one error. No setting has a default here: a key that no YAML file sets is a mistake like any other.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dltrain import config_files, registry
from dltrain.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Limits:
    """The range of a number, of the numbers in a list, or the allowed words."""

    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] | None = None

    def allow(self, value: Any) -> bool:
        if self.choices is not None:
            return value in self.choices
        return (
            (self.min is None or value >= self.min)
            and (self.max is None or value <= self.max)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.choices is not None:
            return "one of " + ", ".join(self.choices)
        parts = [
            f"{word} {limit}"
            for word, limit in (
                ("at least", self.min),
                ("above", self.above),
                ("at most", self.max),
                ("below", self.below),
            )
            if limit is not None
        ]
        return " and ".join(parts)


def setting(
    meaning: str,
    *,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    path: bool = False,
    check: Callable[[Any], None] | None = None,
) -> Any:
    """Declares a field of a settings dataclass: what it means and which values it takes.

    The limits hold for a number, for each number of a list, or (``choices``) for a word. ``path`` marks text that
    names a file or a folder: a run keeps it absolute, so that it can be used from another folder. ``check`` is
    called with a value of the right type, and raises ValueError where it is no good.
    """
    limits = Limits(min, max, above, below, choices)
    return dataclasses.field(metadata={"meaning": meaning, "limits": limits, "path": path, "check": check})


@dataclass(frozen=True)
class DeviceSettings:
    name: Literal["auto", "cpu", "cuda"] = setting(
        "Where to train: auto takes a CUDA GPU when PyTorch can use one, else the CPU."
    )
    threads: int | None = setting(
        "CPU threads of one operation; null lets dltrain choose: one for small models, else all cores.", min=1
    )
    precision: Literal["fp32", "bf16"] = setting(
        "Number format of the forward pass: fp32, or bf16 for matrix products and convolutions."
    )


@dataclass(frozen=True)
class TrainerSettings:
    max_epochs: int | None = setting("Stop after this many passes over the training data.", min=1)
    max_steps: int | None = setting("Stop after this many optimizer updates; null sets no such limit.", min=1)
    batch_size: int = setting("Samples that a step computes at once.", min=1)
    evaluation_batch_size: int = setting("Samples that an evaluation computes at once.", min=1)
    accumulate: int = setting(
        "Batches whose gradients are added up before one optimizer update; as if the batch were so much larger.",
        min=1,
    )
    clip_norm: float | None = setting(
        "Largest allowed L2 norm of all gradients together; larger ones are scaled down. null does not clip.",
        above=0,
    )
    evaluate_every_epochs: int | None = setting(
        "Evaluate and log after every so many epochs; null evaluates at the end only.", min=1
    )
    evaluate_every_steps: int | None = setting(
        "Evaluate and log after every so many optimizer updates, besides the epochs; null does not.", min=1
    )


@dataclass(frozen=True)
class SweepSettings:
    name: str = setting("How a multirun (-m) chooses its jobs: grid runs every combination of the lists.")


@dataclass(frozen=True)
class TransferSettings:
    """What every model has besides its own settings, under ``model``."""

    init_from: str | None = setting(
        "A run, or a file of weights (.safetensors, .pt), whose weights the model starts from wherever name and shape "
        "are the same; null starts anew."
    )
    freeze: list[str] = setting("Patterns of parameter names that are not trained, such as [features.*].")
    unfreeze_epoch: int | None = setting(
        "Epochs after which what is frozen is trained as well; null never trains it.", min=0
    )


@dataclass(frozen=True)
class PenaltySettings:
    """What every loss has besides its own settings, under ``loss``."""

    l1: dict[str, float] = setting(
        "By pattern of parameter names: what the sum of their absolute values is multiplied with and added to the "
        "loss in training, as {*.weight: 1e-4}.",
        min=0,
    )
    l2: dict[str, float] = setting("As l1, with the sum of squares.", min=0)


@dataclass(frozen=True)
class GroupSettings:
    """Settings of the parameters whose names fit a pattern.

    Attributes:
        lr, weight_decay: None leaves the optimizer's own.
    """

    lr: float | None = dataclasses.field(
        default=None, metadata={"limits": Limits(above=0), "meaning": "Learning rate; without it, the optimizer's."}
    )
    weight_decay: float | None = dataclasses.field(
        default=None, metadata={"limits": Limits(min=0), "meaning": "Weight decay; without it, the optimizer's."}
    )
    frozen: bool = dataclasses.field(default=False, metadata={"meaning": "Whether they are never trained."})

    def __post_init__(self) -> None:
        if self.frozen and (self.lr is not None or self.weight_decay is not None):
            raise ValueError("frozen: true trains nothing, so that lr and weight_decay mean nothing beside it")


@dataclass(frozen=True)
class ParameterGroupsSettings:
    """What every optimizer has besides its own settings, under ``optimizer``."""

    groups: dict[str, GroupSettings] = setting(
        "By pattern of parameter names, a learning rate (lr), a weight_decay or frozen: true of their own, as "
        "{features.*: {lr: 1e-4}, *.bias: {weight_decay: 0}}; the last pattern that fits a name holds."
    )


# What every component of a kind has besides its own settings: the field of Config that holds it, and its type. The
# values stand in train.yaml, so that no model, loss or optimizer, a user's own included, has to repeat them.
SHARED: dict[str, tuple[str, type[Any]]] = {
    "model": ("transfer", TransferSettings),
    "loss": ("penalties", PenaltySettings),
    "optimizer": ("parameter_groups", ParameterGroupsSettings),
}
_SHARED_FIELDS = tuple(field for field, _ in SHARED.values())


@dataclass(frozen=True)
class Config:
    """A whole run. ``data`` to ``callbacks`` are settings dataclasses of registered components.

    Attributes:
        transfer, penalties, parameter_groups: what every model, loss and optimizer has; see ``SHARED``.
    """

    seed: int = setting(
        "Seed of the weights, the order of the samples and dropout.",
        min=0,
        max=2**63 - 1,  # what PyTorch takes
    )
    run_dir: str | None = setting("Folder of this run; null makes a new one under runs/.")
    resume: bool = setting("Goes on with the run that run_dir holds already, where it holds one; else that is refused.")
    imports: list[str] = setting("Python modules of your own to import first, so that they can register components.")
    device: DeviceSettings = setting("Device, threads and number format.")
    trainer: TrainerSettings = setting("Length of the training, batches and evaluation.")
    data: Any = setting("The data set; it decides the task.")
    model: Any = setting("The network.")
    loss: Any = setting("The loss; auto takes the one that fits the task.")
    optimizer: Any = setting("The rule that updates the weights.")
    scheduler: Any = setting("How the learning rate changes while training.")
    callbacks: dict[str, Any] = setting("What else happens while training, by name.")
    sweep: SweepSettings = setting("How a multirun searches.")
    transfer: TransferSettings = setting("What every model has.")
    penalties: PenaltySettings = setting("What every loss has.")
    parameter_groups: ParameterGroupsSettings = setting("What every optimizer has.")


COMPONENTS = ("data", "model", "loss", "optimizer", "scheduler")


def load(container: dict[str, Any], search_paths: tuple[Path, ...] = ()) -> Config:
    """Checks a plain, resolved config and returns it as dataclasses.

    Args:
        container: what the YAML files and the command line say together.
        search_paths: folders, besides the working directory, where the modules of ``imports`` may lie.

    Raises:
        ConfigError: with every mistake that was found, a line each.
    """
    problems: list[str] = []
    import_modules(container.get("imports"), search_paths, problems)
    if problems:  # what these modules register would be missed next, and that is no mistake of its own
        raise ConfigError(*problems)
    config = convert(container, Config, "", problems)
    problems = [_with_module_hint(problem, search_paths) for problem in _with_suggestions(problems, container)]
    if not problems:
        _check_together(config, problems)
    if problems:
        raise ConfigError(*problems)
    return typing.cast(Config, config)


def _check_together(config: Config, problems: list[str]) -> None:
    """Checks what concerns several settings at once."""
    if config.resume and config.run_dir is None:
        problems.append("resume = true: needs run_dir, the folder of the run to go on with. Set run_dir=...")
    if config.trainer.max_epochs is None and config.trainer.max_steps is None:
        problems.append("trainer.max_epochs and trainer.max_steps are both null: give one, or training never ends")
    keepers = [key for key, callback in config.callbacks.items() if callback.name == "checkpoint"]
    if len(keepers) > 1:
        problems.append(f"callbacks.{keepers[1]}: a run has one checkpoint callback, and callbacks.{keepers[0]} is one")


def import_modules(names: Any, search_paths: tuple[Path, ...], problems: list[str]) -> None:
    """Imports the user's own modules from the working directory, the search paths or the environment."""
    if not isinstance(names, list):
        return  # the type check reports it
    for path in (Path.cwd(), *search_paths):
        if str(path) not in sys.path:
            sys.path.append(str(path))
    for name in names:
        try:
            importlib.import_module(str(name))
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):
                problems.append(f"imports: module '{name}' needs '{error.name}', which is not installed")
            else:
                folders = ", ".join(dict.fromkeys(str(path) for path in (Path.cwd(), *search_paths)))
                remedy = "--config-dir DIR looks in DIR too"
                if str(name).endswith(".py"):
                    remedy = f"A module is named without folder and .py: imports=[{Path(str(name)).stem}]; {remedy}"
                problems.append(f"imports: no module '{name}' in {folders} or in the installed packages. {remedy}")
        except SyntaxError as error:
            problems.append(f"imports: module '{name}' failed: {error.msg} ({error.filename}:{error.lineno})")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            problems.append(
                f"imports: module '{name}' failed: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
            )


# --- conversion -------------------------------------------------------------------------------------------


def convert(value: Any, kind: Any, key: str, problems: list[str], limits: Limits | None = None) -> Any:
    """Returns ``value`` as ``kind``; appends a line to ``problems`` for each thing that does not fit."""
    limits = limits or Limits()
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(value, typing.cast("type[Any]", kind), key, problems)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, tuple):
        if not isinstance(value, list):
            return _wrong(value, kind, key, problems, limits)
        return [convert(item, arguments[0], f"{key}[{i}]", problems, limits) for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            return _wrong(value, kind, key, problems, limits)
        return {name: convert(item, arguments[1], f"{key}.{name}", problems, limits) for name, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        groups = [argument for argument in arguments if dataclasses.is_dataclass(argument)]
        if isinstance(value, dict) and len(groups) == 1:
            return convert(value, groups[0], key, problems)  # which tells what is wrong inside the group
        for argument in arguments:
            attempt: list[str] = []
            result = convert(value, argument, key, attempt, limits)
            if argument is not type(None) and not attempt:
                return result
            if typing.get_origin(argument) is dict and isinstance(value, dict):  # one of its values is the mistake
                problems += attempt
                return result
        return _wrong(value, kind, key, problems, limits)
    if not _fits(value, kind) or not (isinstance(value, bool) or limits.allow(value)):
        return _wrong(value, kind, key, problems, limits)
    if kind is float:
        return float(value)
    return int(value) if kind is int else value


def _fits(value: Any, kind: Any) -> bool:
    """Tells whether a YAML scalar can stand for ``kind`` without loss."""
    if kind is Any:
        return True
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if kind is bool or kind is str:
        return isinstance(value, kind)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the range of floats
        return False
    return math.isfinite(number) and (kind is float or (kind is int and number.is_integer()))


def _convert_dataclass(value: Any, kind: type[Any], key: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{key} = {shown(value)}: must be a group of settings ({', '.join(field_names(kind))})")
        return None
    hints = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        path = f"{key}.{field.name}" if key else field.name
        if kind is Config and field.name in _SHARED_FIELDS:
            continue
        if field.name not in value:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append(f"{path}: no value. Set {path}=..., or give it in the YAML file")
            continue
        item = value[field.name]
        if kind is Config and field.name in COMPONENTS:
            arguments.update(_convert_with_shared(item, field.name, problems))
        elif kind is Config and field.name == "callbacks":
            arguments[field.name] = _convert_callbacks(item, problems)
        else:
            arguments[field.name] = _convert_field(item, hints[field.name], field, path, problems)
    for name in value:
        if name not in hints and key.endswith("]"):  # a group in a list, of which known_keys knows nothing
            problems.append(f"{key} has no setting '{name}'.{did_you_mean(str(name), hints)}")
        elif name not in hints or (kind is Config and name in _SHARED_FIELDS):
            problems.append(unknown_key(f"{key}.{name}" if key else str(name)))
            if str(name).startswith("_") and str(name).endswith("_"):
                problems[-1] = f"{key}.{name}: is refused. A config names registered components (name: ...), never code"
    try:
        return kind(**arguments)
    except TypeError:  # a required field is missing, and reported above
        return None
    except ValueError as error:  # what a settings class checks itself in __post_init__
        problems.append(f"{key}: {error}")
        return None


def _convert_field(value: Any, kind: Any, field: dataclasses.Field[Any], key: str, problems: list[str]) -> Any:
    before = len(problems)
    converted = convert(value, kind, key, problems, field.metadata.get("limits"))
    check = field.metadata.get("check")
    if check is not None and len(problems) == before:
        try:
            check(converted)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    return converted


def _convert_with_shared(value: Any, kind: str, problems: list[str]) -> dict[str, Any]:
    """Converts a component of Config, and what every component of its kind has besides, to fields of Config."""
    if kind not in SHARED or not isinstance(value, dict):
        return {kind: _convert_component(value, kind, kind, problems)}
    field, settings = SHARED[kind]
    shared = _shared_values(kind)
    own = {name: item for name, item in value.items() if name not in shared}
    shared |= {name: item for name, item in value.items() if name in shared}
    return {
        kind: _convert_component(own, kind, kind, problems),
        field: _convert_dataclass(shared, settings, kind, problems),
    }


def _shared_values(kind: str) -> dict[str, Any]:
    """Returns what train.yaml says of every component of a kind; a run of 0.1 has no such settings in its config."""
    return dict(config_files.entry_values()[kind])


def _convert_component(value: Any, kind: str, key: str, problems: list[str]) -> Any:
    """Converts ``{name: ..., its own arguments}`` to the settings of the component that it names."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        problems.append(f"{key} = {shown(value)}: needs a name. {_names_of(kind)}")
        return None
    try:
        entry = registry.find(kind, value["name"])
    except ConfigError as error:
        problems.append(f"{key}.name = {shown(value['name'])}: {error}")
        return None
    return _convert_dataclass(value, entry.settings, key, problems)


def _names_of(kind: str) -> str:
    return f"There is: {', '.join(registry.names(kind))}."


def _convert_callbacks(value: Any, problems: list[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.append(f"callbacks = {shown(value)}: must be a group of callbacks. {_names_of('callbacks')}")
        return {}
    return {
        name: _convert_component(item, "callbacks", f"callbacks.{name}", problems)
        for name, item in value.items()
        if item is not None
    }


def field_names(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def shown(value: Any) -> str:
    """Returns a value as a message shows it: short, strings in quotes."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(value: Any, kind: Any, key: str, problems: list[str], limits: Limits) -> None:
    hint = ""
    allowed = typing.get_args(kind) if typing.get_origin(kind) is Literal else limits.choices
    if isinstance(value, str) and allowed:
        hint = did_you_mean(value, [str(word) for word in allowed]).partition(" There is:")[0]
    finite = "finite and " if isinstance(value, float) and not math.isfinite(value) else ""
    problems.append(f"{key} = {shown(value)}: must be {finite}{described(kind, limits)}.{hint}")


_WORDS: dict[type[Any], str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    dict: "a group of names and values",
}


def described(kind: Any, limits: Limits | None = None) -> str:
    """Returns a type with its range in words, such as "a number above 0 or null"."""
    limits = limits or Limits()
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is list:
        return f"a list, each {described(arguments[0], limits)}"
    if origin is dict:
        return _WORDS[dict]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(
            described(argument, limits if argument is not type(None) else None) for argument in arguments
        )
    if kind is str and limits.choices:
        return str(limits)
    if dataclasses.is_dataclass(kind):
        return "a group of settings"
    word = _WORDS.get(kind, getattr(kind, "__name__", "a value"))
    return f"{word} {limits}".strip() if kind in (int, float) else word


def _of_each(kind: Any, limits: Limits | None) -> str | None:
    """Returns the type of the values of a group of names and values, or of the one that a union allows."""
    for option in (kind, *typing.get_args(kind)):
        if typing.get_origin(option) is dict:
            return described(typing.get_args(option)[1], limits)
    return None


# --- keys -------------------------------------------------------------------------------------------------


def unknown_key(key: str) -> str:
    return f"no setting '{key}'."


def _with_suggestions(problems: list[str], container: dict[str, Any]) -> list[str]:
    """Adds the nearest known key to each unknown one; keys are known only once all components are."""
    known = [key for key, _ in known_keys(container)]
    completed = []
    for problem in problems:
        if problem.startswith("no setting '"):
            problem += suggestion(problem.split("'")[1], known)
        completed.append(problem)
    return completed


def _with_module_hint(problem: str, folders: tuple[Path, ...]) -> str:
    """Adds to an unregistered name that a YAML file of the user's has, that its module must be imported."""
    match = re.match(r"(\w+)\.name = '([^']+)': no ", problem)
    file = config_files.options(match[1], list(folders)).get(match[2]) if match else None
    return problem if file is None else f"{problem} {file} is there: import its module with 'imports=[MODULE]'."


def suggestion(key: str, known: list[str]) -> str:
    """Returns " Did you mean 'x'?" for an unknown key, or the keys that stand beside it."""
    parents = {".".join(name.split(".")[:length]) for name in known for length in range(1, name.count(".") + 1)}
    parent, _, leaf = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    if parent and beside:  # of the same group, the last part alone decides
        hint = did_you_mean(leaf, [name.rpartition(".")[2] for name in beside])
        hint = hint.replace("Did you mean '", f"Did you mean '{parent}.")
    else:
        same_name = [name for name in known if name.rpartition(".")[2] == key]
        hint = f" Did you mean '{same_name[0]}'?" if same_name else did_you_mean(key, {*known, *parents})
    if " Did you mean" in hint or not beside:
        return hint if " Did you mean" in hint else " 'dltrain explain' lists the settings."
    names = ", ".join(name.rpartition(".")[2] for name in beside)
    return f" {parent or 'The top level'} has: {names}."


@dataclass(frozen=True)
class Setting:
    """What ``explain`` tells of a key.

    Attributes:
        of_each: the type of each value where the setting may be a group of names of the user's own; else None.
    """

    meaning: str
    type: str
    of_each: str | None = None


def known_keys(container: dict[str, Any]) -> Iterator[tuple[str, Setting]]:
    """Yields each key that a config with these components can have, with what it means."""
    for name, described_field in _settings_of(Config):
        if name in _SHARED_FIELDS:
            continue
        yield name, described_field
        value = container.get(name)
        if name in COMPONENTS:
            yield from _component_keys(name, value, name)
        elif name == "callbacks" and isinstance(value, dict):
            for key, item in value.items():
                yield f"callbacks.{key}", described_field
                yield from _component_keys("callbacks", item, f"callbacks.{key}")
        elif name in ("device", "trainer", "sweep"):
            for inner, setting_of in _settings_of(typing.get_type_hints(Config)[name]):
                yield f"{name}.{inner}", setting_of


def _component_keys(kind: str, value: Any, key: str) -> Iterator[tuple[str, Setting]]:
    if not isinstance(value, dict) or value.get("name") not in registry.names(kind):
        return
    shared = _settings_of(SHARED[kind][1]) if kind in SHARED else ()
    for name, described_field in [*_settings_of(registry.find(kind, value["name"]).settings), *shared]:
        yield f"{key}.{name}", described_field
        inner = value.get(name)
        if isinstance(inner, dict) and described_field.of_each is not None:  # names of the user's own
            for own in inner:
                yield f"{key}.{name}.{own}", Setting(described_field.meaning, described_field.of_each)
                if (kind, name) == ("optimizer", "groups"):
                    yield from ((f"{key}.{name}.{own}.{field}", of) for field, of in _settings_of(GroupSettings))


def _settings_of(kind: type[Any]) -> Iterator[tuple[str, Setting]]:
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        limits, hint = field.metadata.get("limits"), hints[field.name]
        yield field.name, Setting(field.metadata.get("meaning", ""), described(hint, limits), _of_each(hint, limits))
        if kind is not Config and dataclasses.is_dataclass(hint):  # of Config, the groups are walked by known_keys
            for inner, setting_of in _settings_of(typing.cast("type[Any]", hint)):
                yield f"{field.name}.{inner}", setting_of
