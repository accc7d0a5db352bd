"""Training, single (``dltrain key=value ...``) and many (``dltrain -m ...``)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import config_files, resume_rules, saved
from dltrain.commands import one_run, resume
from dltrain.commands.outcome import print_outcome, write_report
from dltrain.errors import ConfigError
from dltrain.run_folder import RunFolder

if TYPE_CHECKING:
    from dltrain.config import Config


def run(arguments: list[str]) -> int:
    """Trains what the command line says."""
    parsed = parse(arguments)
    if parsed.multirun or parsed.cfg:
        return _run_many(parsed)
    from dltrain import run as runner

    config, container = load(parsed)
    folder = RunFolder(Path(config.run_dir)) if config.run_dir is not None else None
    if config.resume and folder is not None and folder.config.exists():
        return _go_on(folder, container, parsed)
    outcome = runner.train(config, container, parsed.overrides)
    write_report(outcome)
    print_outcome(outcome)
    return 0


def _go_on(folder: RunFolder, container: dict[str, Any], parsed: argparse.Namespace) -> int:
    """Goes on with the run that the folder holds, with what the command line changes.

    Raises:
        ConfigError: the run was started with other settings, of those that may not change.
    """
    before = saved.saved_config(folder)
    container, changes = resume_rules.taken_over(before, container, parsed.overrides, folder.path)
    overrides = [change.override for change in changes]
    config = one_run.load_config(container, parsed, folder)
    return resume.go_on(folder, config, container, overrides, str(folder.path), parsed.config_dir)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dltrain", add_help=False, exit_on_error=False, allow_abbrev=False)
    add_config_arguments(parser)
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    try:
        parsed, unknown = parser.parse_known_args(arguments)
    except (argparse.ArgumentError, SystemExit) as error:
        raise ConfigError(f"the command line cannot be read: {error}") from error
    flags = [word for word in unknown if word.startswith("-")]
    if flags:
        raise ConfigError(f"no flag '{flags[0]}' ('dltrain --help' lists them)")
    parsed.overrides += unknown
    return parsed


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every verb takes that composes a config."""
    parser.set_defaults(overrides_between_flags=True)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as for training")
    parser.add_argument("--config-dir", "-cd", action="append", metavar="DIR", help="a folder of your own YAML files")
    parser.add_argument("--config", metavar="FILE", help="a run's config.yaml to start from")


def load(parsed: argparse.Namespace) -> tuple[Config, dict[str, Any]]:
    """Composes and checks the config of a command line; also returns it as plain values."""
    from dltrain import compose, config

    folders = [Path(folder).expanduser().resolve() for folder in parsed.config_dir or []]
    if parsed.config:
        container = compose.override_values(_saved(Path(parsed.config)), parsed.overrides)
        if not any(override.startswith("run_dir=") for override in parsed.overrides):
            container["run_dir"] = None  # that folder holds the old run
    else:
        container = compose.compose(parsed.overrides, folders).container
    theirs = Path(parsed.config).parent if parsed.config else None
    return config.load(container, (*folders, *config_files.user_dirs()), distrusted=theirs), container


def _saved(path: Path) -> dict[str, Any]:
    import yaml

    try:
        container = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--config {path} is not UTF-8. Save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"--config {path} is no YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"--config {path} is nested too deep to be a config") from error
    if not isinstance(container, dict):
        raise ConfigError(f"--config {path} holds no settings")
    problem = config_files.too_large(container)
    if problem is not None:
        raise ConfigError(f"--config {path}: {problem}")
    return config_files.completed(container)


# --- several runs -----------------------------------------------------------------------------------------


def _run_many(parsed: argparse.Namespace) -> int:
    """Trains a multirun, or lets Hydra print its config."""
    from dltrain import multirun
    from dltrain.commands import sweep

    if parsed.multirun and parsed.cfg:
        raise ConfigError("--cfg shows the config of one run: leave out -m")
    if parsed.config:
        raise ConfigError("--config gives one run again: it goes neither with -m nor with --cfg")
    folders = [Path(folder).expanduser().resolve() for folder in parsed.config_dir or []]
    if parsed.cfg:
        multirun.show(parsed.cfg, parsed.overrides, folders)
        return 0
    return sweep.drive(multirun.start(parsed.overrides, folders))
