"""``lr_sweep``: looks for a good learning rate before the training, and may train with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from dltrain import registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import Config, setting
from dltrain.console import log
from dltrain.lr_sweep import RULES, Curve, Suggestion, SweepSettings, drawing, note, refusal, suggest, sweep
from dltrain.run_folder import write_file

if TYPE_CHECKING:
    from dltrain.data import Data
    from dltrain.losses import Loss
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class LRSweepSettings(SweepSettings):
    name: str = setting("Name of the callback.")
    use: str | None = setting(
        "Train with the rate of this rule instead of optimizer.lr; null only tells what each rule says.", choices=RULES
    )


@registry.register("callbacks", "lr_sweep", LRSweepSettings)
class LRSweep(Callback):
    """Sweeps the learning rate where a new run begins, and puts everything back as it was.

    So the training gives the same bits as without it, unless ``use`` names a rule. That is the one thing in which this
    callback does not only read: it sets the trainer's base rate, which the trainer keeps for a resume.
    """

    settings: LRSweepSettings

    def __init__(self, settings: LRSweepSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._found: dict[str, Any] = {}
        self._writes_board = False

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        reason = refusal(model, config.optimizer.name)
        return [] if reason is None else [f"{key}: {reason}. Leave the callback out"]

    def on_fit_start(self, trainer: Trainer) -> None:
        if self._found:
            return
        if trainer.state.samples:
            log.info("lr_sweep looks at new runs alone: this one has begun without it")
            return
        settings = self.settings
        log.info("lr_sweep: up to %s steps with rates from %g to %g", settings.steps, settings.start, settings.end)
        curve = sweep(
            trainer.step,
            trainer.train,
            settings,
            learning_rate=trainer.learning_rate,
            accumulate=trainer.settings.accumulate,
            freezing=trainer.freezing,
            watch=lambda _: trainer.stop_reason is not None,
        )
        if trainer.stop_reason is not None:
            return  # nothing was found; a resume sweeps anew
        suggestions = suggest(curve)
        self._write(trainer, curve, suggestions)
        self._found = found(curve, suggestions)
        self._tell(suggestions, curve)
        self._use(trainer, suggestions)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._writes_board:
            self._writes_board = False
            self.context.board.close()

    def _write(self, trainer: Trainer, curve: Curve, suggestions: dict[str, Suggestion]) -> None:
        """Writes the curve into the run folder, and where TensorBoard gets curves, shows it there."""
        context, scale = self.context, self.settings.scale
        title = title_of(context.config)
        write_file(context.folder.lr_sweep_csv, drawing.csv(curve))
        write_file(context.folder.lr_sweep_svg, drawing.svg(curve, suggestions, scale, title))
        if any(other.name == "tensorboard" for other in context.config.callbacks.values()):
            context.board.open(trainer)
            self._writes_board = True
            picture = np.asarray(drawing.picture(curve, suggestions, scale, title))
            context.board.image("lr_sweep", picture, trainer.state.step, layout="HWC")

    def _tell(self, suggestions: dict[str, Suggestion], curve: Curve) -> None:
        said = [f"{rule} {s.rate:g}" for rule, s in suggestions.items() if s.rate is not None]
        log.info("lr_sweep: %s (%s)", ", ".join(said) or "no rate found", curve.ended)
        for reason in dict.fromkeys(s.reason for s in suggestions.values() if s.reason):
            log.info("lr_sweep: %s", reason)
        remark = note(self.context.config.optimizer.name)
        if remark is not None:
            log.info("lr_sweep: %s", remark)

    def _use(self, trainer: Trainer, suggestions: dict[str, Suggestion]) -> None:
        if self.settings.use is None:
            return
        rate = suggestions[self.settings.use].rate
        if rate is None:
            log.warning(
                "lr_sweep: use=%s found no rate, so the training keeps optimizer.lr = %g",
                self.settings.use,
                trainer.learning_rate,
            )
            return
        log.info("lr_sweep: training with %g instead of optimizer.lr = %g", rate, trainer.learning_rate)
        trainer.set_base_learning_rate(rate)
        self._found["used"] = rate

    def result(self) -> dict[str, Any]:
        return {"lr_sweep": self._found} if self._found else {}

    def state_dict(self) -> dict[str, Any]:
        return {"found": self._found}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._found = state["found"]


def found(curve: Curve, suggestions: dict[str, Suggestion]) -> dict[str, Any]:
    """Returns what a sweep found, for a JSON file."""
    return {
        **{rule: suggestion.rate for rule, suggestion in suggestions.items()},
        "steps": len(curve.rates),
        "diverged_at": curve.diverged_at,
        "ended": curve.ended,
    }


def title_of(config: Config) -> str:
    """Returns the title of a sweep's picture."""
    return f"Learning-rate sweep: {config.model.name} on {config.data.name}, {config.optimizer.name}"
