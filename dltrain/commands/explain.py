"""Tells a setting's meaning, type and range, its value, and the file that sets it.

Without KEY: lists all settings. Further key=value words choose the config, as for training:
dltrain explain optimizer.momentum optimizer=sgd
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import config_files, quick_yaml
from dltrain.commands import train
from dltrain.errors import ConfigError

if TYPE_CHECKING:
    from dltrain.config import Setting

# A setting: its description, the value that the config has, and the option that it belongs to where that is not chosen.
_Found = tuple["Setting", Any, "str | None"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    train.add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    keys = [word for word in arguments.overrides if "=" not in word and word[:1] not in "+~"]
    arguments.overrides = [word for word in arguments.overrides if word not in keys]
    _, container = train.load(arguments)

    from dltrain import compose, hydra_config
    from dltrain import config as schema

    folders = [Path(folder).expanduser().resolve() for folder in arguments.config_dir or []]
    known = dict(schema.known_keys(container))
    if not keys:
        _print_all(known, config_files.flatten(container))
        return 0
    problems = []
    with hydra_config.searching(folders):
        choices = {} if arguments.config else compose.compose(arguments.overrides).choices
        for number, key in enumerate(keys):
            try:
                text = _explain(key, known, container, choices, arguments)
            except ConfigError as error:
                problems.append(str(error))
                continue
            print(("\n" if number else "") + text)
    if problems:
        raise ConfigError(*problems)
    return 0


def _print_all(known: dict[str, Setting], values: dict[str, Any]) -> None:
    width = max(len(key) for key in known if key in values)
    for key, setting in known.items():
        if key in values:
            print(f"{key:<{width}}  {_yaml(values[key]):<12} {setting.meaning}")


def _explain(
    key: str,
    known: dict[str, Setting],
    container: dict[str, Any],
    choices: dict[str, str],
    arguments: argparse.Namespace,
) -> str:
    from dltrain import config as schema

    if key in known:
        text = _text(key, known[key], _value(container, key), _origin(key, _chosen_keys(choices), arguments), None)
        return text + _settings_below(key, known, config_files.flatten(container))
    if key in config_files.GROUPS:  # 'experiment' sets others and is no setting itself
        names = ", ".join(config_files.options(key)) or "none yet"
        return f"{key}\n  meaning  {config_files.GROUPS[key]}\n  choices  {names}"
    group = key.partition(".")[0]
    elsewhere = list(_in_other_options(group, key))
    if elsewhere:
        setting, value, option = elsewhere[0]
        names = ", ".join(f"{group}={name}" for _, _, name in elsewhere)
        where = f"{config_files.options(group)[str(option)]}"
        return _text(key, setting, value, where, f"with {names}")
    raise ConfigError(f"no setting '{key}'.{schema.suggestion(key, list(known))}")


def _settings_below(key: str, known: dict[str, Setting], values: dict[str, Any]) -> str:
    """Returns the settings of a group, a line each; "" for a setting that is no group."""
    below = [name for name in known if name.startswith(f"{key}.") and name in values]
    width = max(map(len, below), default=0)
    lines = [f"    {name:<{width}}  {_yaml(values[name]):<12} {known[name].meaning}" for name in below]
    return "".join(f"\n{line}" for line in ["  settings", *lines]) if lines else ""


def _in_other_options(group: str, key: str) -> Iterator[_Found]:
    """Yields the setting in each option of its group that has it, where the chosen one has not."""
    from dltrain import config as schema

    for option, path in config_files.options(group).items():
        values = config_files.values_if_readable(path)
        if key not in config_files.flatten(values):
            continue
        fields = dict(schema.known_keys(values))
        if key in fields:
            yield fields[key], _value(values, key), option


def _text(key: str, setting: Setting, value: Any, origin: str, condition: str | None) -> str:
    lines = [key, f"  meaning  {setting.meaning}"]
    group = key if key in config_files.GROUPS else None
    if group is None:
        lines.append(f"  type     {setting.type}")
        lines.append(f"  value    {_yaml(value)}" + (f"   ({condition})" if condition else ""))
    else:
        name = value.get("name") if isinstance(value, dict) else value
        lines.append(f"  choices  {', '.join(config_files.options(group))}")
        lines.append(f"  value    {name or ', '.join(value)}")
    return "\n".join([*lines, f"  set in   {origin}"])


def _origin(key: str, files: list[tuple[Path, list[str]]], arguments: argparse.Namespace) -> str:
    """Returns what set the value: the command line, or the last of the YAML files that holds the key.

    Args:
        files: with the keys of each, in the order in which they are merged.
    """
    for override in reversed(arguments.overrides):
        name = override.lstrip("+~").partition("=")[0]
        if name == key or (
            key.startswith(f"{name}.") and _holds(config_files.flatten(_given(override)), key.removeprefix(f"{name}."))
        ):
            return f"the command line: {override}"
    if arguments.config:
        return str(Path(arguments.config).resolve())
    origin = config_files.config_dir() / f"{config_files.ENTRY}.yaml"
    for path, keys in files:
        if _holds(keys, key):
            origin = path
    return str(origin)


def _given(override: str) -> Any:
    """Returns the value that an override sets."""
    from dltrain.overrides import apart, parse, quote

    groups, others = apart([override])
    return groups[0][1] if groups else parse([quote(others[0])])[0].value()


def _holds(keys: Iterable[str], key: str) -> bool:
    """Tells whether a dotted key, or a key below it, is among others."""
    return any(name == key or name.startswith(f"{key}.") for name in keys)


def _chosen_keys(choices: dict[str, str]) -> list[tuple[Path, list[str]]]:
    """Returns the YAML files of a config in the order in which they are merged, and the dotted keys of each."""
    return [(path, list(config_files.flatten(config_files.values(path)))) for path in _chosen_files(choices)]


def _chosen_files(choices: dict[str, str]) -> Iterator[Path]:
    """Yields the YAML files of a config in the order in which they are merged."""
    yield config_files.config_dir() / f"{config_files.ENTRY}.yaml"
    for group in (
        "device",
        "trainer",
        "data",
        "model",
        "loss",
        "optimizer",
        "scheduler",
        "callbacks",
        "sweep",
        "experiment",
    ):
        options = config_files.options(group)
        chosen = choices.get(group) or _chosen_by_experiment(group, choices)
        names = [name.strip(" '\"") for name in chosen.strip("[]").split(",")]
        for name in names:
            if group == "callbacks" and name == "default":
                yield from options.values()
            elif name in options:
                yield from _with_included(options[name], options)


def _chosen_by_experiment(group: str, choices: dict[str, str]) -> str:
    """Returns the list of options that an experiment takes of a group, of which Hydra does not tell, or "None"."""
    path = config_files.options("experiment").get(choices.get("experiment", ""))
    content = quick_yaml.load(path.read_text(encoding="utf-8")) if path is not None else {}
    chosen = [entry[f"override /{group}"] for entry in content.get("defaults", []) if f"override /{group}" in entry]
    return str(chosen[0]) if chosen else "None"


def _with_included(path: Path, options: dict[str, Path]) -> Iterator[Path]:
    """Yields the files of the same group that a file's defaults list names, then the file."""
    content = quick_yaml.load(path.read_text(encoding="utf-8")) or {}
    for name in content.get("defaults", []):
        if isinstance(name, str) and name in options:
            yield from _with_included(options[name], options)
    yield path


def _value(value: Any, key: str) -> Any:
    """Returns the value of a dotted key; a pattern such as ``*.bias`` is a key with dots of its own."""
    if not isinstance(value, dict):
        return None
    if key in value:
        return value[key]
    inner = [_value(item, key.removeprefix(f"{name}.")) for name, item in value.items() if key.startswith(f"{name}.")]
    return next((found for found in inner if found is not None), None)


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
