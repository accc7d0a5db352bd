"""What the verbs share that work on one run: its argument, its config, and what lets it train longer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dltrain import run_folder, saved
from dltrain.run_folder import RunFolder

if TYPE_CHECKING:
    from dltrain.config import Config


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder, a unique part of its name, or 'last'")
    parser.add_argument(
        "--config-dir", "-cd", action="append", metavar="DIR", help="where modules of yours lie that the run imports"
    )


def add_checkpoint_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="NAME",
        help="best (default), last, a file's name in checkpoints/, or average or average:N: the mean of the weights of "
        "all checkpoints that are kept, or of the newest N",
    )


def find(name: str) -> RunFolder:
    return run_folder.find_run(name)


def load_config(container: dict[str, Any], arguments: argparse.Namespace, folder: RunFolder) -> Config:
    """Returns a run's config, checked; modules of the user's are looked for in ``--config-dir`` too."""
    return saved.load_config(container, folder, arguments.config_dir)


def longer(config: Config, result: dict[str, Any]) -> list[str]:
    """Returns the overrides that let a finished run train on; [] for a model that is fitted at once."""
    if fitted_at_once(config):
        return []
    limits = config.trainer
    overrides = []
    if limits.max_epochs is not None and result["epochs"] >= limits.max_epochs:
        overrides.append(f"trainer.max_epochs={2 * limits.max_epochs}")
    if limits.max_steps is not None and result["steps"] >= limits.max_steps:
        overrides.append(f"trainer.max_steps={2 * limits.max_steps}")
    for key, callback in config.callbacks.items():
        if not overrides and callback.name == "early_stopping" and callback.patience is not None:
            overrides.append(f"callbacks.{key}.patience={2 * callback.patience}")
    return overrides


def fitted_at_once(config: Config) -> bool:
    """Tells whether the model is fitted to all samples in one step."""
    from dltrain import registry
    from dltrain.models import FittedModel

    factory = registry.find("model", config.model.name).factory
    return isinstance(factory, type) and issubclass(factory, FittedModel)
