"""``wandb``: config, figures and result of a run for Weights & Biases."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dltrain import registry
from dltrain.callbacks.tracker import Point, Tracker
from dltrain.config import Config, setting
from dltrain.console import log
from dltrain.data import Data

if TYPE_CHECKING:
    from torch import nn

    from dltrain.losses import Loss


# Seconds in which Weights & Biases must be there.
_LONGEST_WAIT = 30.0


@dataclass(frozen=True)
class WandbSettings:
    name: str = setting("Name of the callback.")
    mode: Literal["offline", "online"] = setting(
        "offline writes to wandb/ in the run folder, from where 'wandb sync' uploads; online uploads as the training "
        "goes, and needs 'wandb login' first."
    )
    project: str = setting("Project of Weights & Biases in which the run stands.")
    entity: str | None = setting("User or team that the project belongs to; null takes your own.")
    flush_seconds: float = setting("Longest time until Weights & Biases gets a figure.", above=0)


@registry.register("callbacks", "wandb", WandbSettings)
class Wandb(Tracker):
    """Logs the config, each row of figures by the step, and the figures of the test split in the summary.

    It watches neither the machine nor the terminal nor the code: it is handed what is to be told, and nothing more.
    """

    settings: WandbSettings
    title: ClassVar[str] = "Weights & Biases"
    package: ClassVar[str] = "wandb"
    environment: ClassVar[dict[str, str]] = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        problems = super().mistakes(key, settings, config=config, data=data, model=model, loss=loss)
        if not problems and settings.mode == "online" and not _may_be_logged_in():
            problems.append(
                f"{key}.mode = online: nobody is logged in. Type 'wandb login' first, or set WANDB_API_KEY; or take "
                f"{key}.mode=offline"
            )
        return problems

    def open(self, known: str | None) -> str:
        import wandb

        folder = self.context.folder.path
        is_name = known is not None and re.fullmatch(r"[\w-]{1,64}", known)  # it becomes part of a path
        name = known if known is not None and is_name else secrets.token_hex(4)
        self._told = wandb.init(
            project=self.settings.project,
            entity=self.settings.entity,
            id=name,
            name=folder.name,
            dir=str(folder.absolute()),
            mode=self.settings.mode,
            config=self.context.container,
            resume="allow",
            reinit="create_new",  # leaves a run alone that the process has besides
            settings=wandb.Settings(
                console="off",
                silent=True,
                force=True,  # asks nobody for a key
                init_timeout=_LONGEST_WAIT,
                disable_code=True,
                disable_git=True,
                x_disable_stats=True,
            ),
        )
        self._told.define_metric("step", hidden=True)
        self._told.define_metric("*", step_metric="step")
        return name

    def send(self, points: list[Point]) -> None:
        for point in points:
            self._told.log({"step": point.step, **point.figures})

    def finish(self, result: dict[str, Any]) -> None:
        self._told.summary.update({"status": result["status"], **result.get("test", {})})
        self._told.finish(exit_code=1 if result["status"] == "failed" else 0)
        if self.settings.mode == "offline":
            log.info("wandb   upload it with: wandb sync %s", self.context.folder.path / "wandb" / "offline-run-*")


def _may_be_logged_in() -> bool:
    """Tells whether there is a key, or a file of logins that may hold one; whether it is good, a server alone knows."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    files = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    return any(Path(file).expanduser().is_file() for file in files if file)
