"""Training, single (``dltrain key=value ...``) and many (``dltrain -m ...``)."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import config_files
from dltrain.commands import resume, runs
from dltrain.commands.outcome import print_outcome, print_outcomes
from dltrain.errors import ConfigError, DltrainError
from dltrain.run_folder import RunFolder

if TYPE_CHECKING:
    from dltrain.config import Config
    from dltrain.multirun import Job
    from dltrain.run import Outcome

FAILED_TRIALS = 8


def run(arguments: list[str]) -> int:
    """Trains what the command line says."""
    parsed = parse(arguments)
    if parsed.multirun or parsed.cfg:
        return _run_hydra(parsed)
    from dltrain import run as runner

    config, container = load(parsed)
    folder = RunFolder(Path(config.run_dir)) if config.run_dir is not None else None
    if config.resume and folder is not None and folder.config.exists():
        _require_same(folder, container)
        return resume.go_on(folder, config, container, [], str(folder.path))
    outcome = runner.train(config, container, parsed.overrides)
    print_outcome(outcome)
    return 0


def _require_same(folder: RunFolder, container: dict[str, Any]) -> None:
    """
    Raises:
        ConfigError: the run in the folder was started with other settings.
    """
    before, now = (config_files.flatten(values) for values in (runs.saved_config(folder), container))
    different = [key for key in now if not _freely_other(key) and before.get(key) != now[key]]
    if not different:
        return
    shown = ", ".join(f"{key} was {before.get(key)} and is {now[key]}" for key in different[:3])
    more = f", and {len(different) - 3} more" if len(different) > 3 else ""
    changes = ""
    if all(resume.may_change(key) for key in different):
        changes = "".join(f" {key}={now[key]}" for key in different)
    how = f"so: dltrain resume {folder.path}{changes}" if changes else f"as it was: dltrain resume {folder.path}"
    raise ConfigError(
        f"run_dir={folder.path}: the run there has other settings: {shown}{more}. Go on with it {how}; or name "
        "another folder"
    )


def _freely_other(key: str) -> bool:
    """Tells whether a setting may be written otherwise; a run keeps its paths absolute."""
    return key in ("run_dir", "resume", "model.init_from") or key.endswith(("path", "root"))


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
        container = compose.override_values(_saved(Path(parsed.config)), parsed.overrides, allowed=("",))
        if not any(override.startswith("run_dir=") for override in parsed.overrides):
            container["run_dir"] = None  # that folder holds the old run
    else:
        container = compose.compose(parsed.overrides, folders).container
    return config.load(container, (*folders, *config_files.user_dirs())), container


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
    if not isinstance(container, dict):
        raise ConfigError(f"--config {path} holds no settings")
    return config_files.completed(container)


# --- several runs -----------------------------------------------------------------------------------------


def _run_hydra(parsed: argparse.Namespace) -> int:
    """Trains a multirun, or lets Hydra print its config."""
    from dltrain import multirun

    if parsed.multirun and parsed.cfg:
        raise ConfigError("--cfg shows the config of one run: leave out -m")
    if parsed.config:
        raise ConfigError("--config gives one run again: it goes neither with -m nor with --cfg")
    flags = ["--multirun"] if parsed.multirun else ["--cfg", parsed.cfg]
    folders = [Path(folder).expanduser().resolve() for folder in parsed.config_dir or []]
    failures: list[str] = []
    outcomes: list[tuple[str, Outcome]] = []
    multirun.run(flags, parsed.overrides, folders, lambda job: _train_job(job, outcomes, failures))
    print_outcomes(outcomes)
    if failures:
        print(f"error: {len(failures)} of the runs failed:", file=sys.stderr)
        print("\n".join(f"  {failure}" for failure in failures), file=sys.stderr)
    return FAILED_TRIALS if failures else 0


def _train_job(job: Job, outcomes: list[tuple[str, Outcome]], failures: list[str]) -> None:
    """Trains one job of a multirun; a job that fails does not end the others."""
    from dltrain import config
    from dltrain import run as runner
    from dltrain.console import log
    from dltrain.errors import Interrupted

    try:
        container = job.container()
        loaded = config.load(container, tuple(config_files.user_dirs()))
        if loaded.transfer.init_from == "last":
            raise ConfigError("model.init_from = 'last': in a multirun that is the run before. Give the run's name")
        outcome = runner.train(loaded, container, job.overrides)
        print_outcome(outcome, next_steps_too=False)
        outcomes.append((" ".join(job.overrides), outcome))
        if outcome.trainer.interrupted_by is not None:  # it came when this run was done already
            raise Interrupted("stopped between two runs of the multirun", outcome.trainer.interrupted_by)
    except Interrupted:
        raise
    except DltrainError as error:
        failures.append(f"{' '.join(job.overrides)}: {error}")
        log.error("%s", error)
    except Exception as error:  # a mistake in dltrain or in a module of the user's
        failures.append(f"{' '.join(job.overrides)}: {type(error).__name__}: {error}")
        traceback.print_exc()
