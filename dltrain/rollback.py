"""``trainer.on_divergence=rollback``: a training that diverged goes on from its last good state, with a lower rate.

It is what a resume does, within the process: model, optimizer, trainer and callbacks are built anew and take over that
state. Since it is at the same place in the same order of the samples, the rate is what must differ: it is lowered each
time, and each checkpoint holds the rate that its training had, so that a resume goes on with it. What is killed after a
rollback and before the next checkpoint diverges again, at the same step, and goes back again.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from typing import Any

from dltrain.assembly import Parts, build_model, build_step, build_trainer, start_from
from dltrain.checkpoint import CheckpointStore
from dltrain.console import log
from dltrain.divergence import Mishaps
from dltrain.errors import CheckpointError, DivergedError
from dltrain.run_folder import RunFolder
from dltrain.trainer import Trainer


def rolled_back(
    error: DivergedError, trainer: Trainer, parts: Parts, folder: RunFolder, container: dict[str, Any]
) -> tuple[Parts, Trainer]:
    """Returns a trainer that goes on where the one that diverged was last all right, and the parts that it has.

    Args:
        error: why it has ended; its callbacks have closed what they had open.
        container: the config as plain values.

    Raises:
        DivergedError: the config says to stop, or it went back too often.
    """
    settings, mishaps = trainer.settings, trainer.mishaps
    if settings.on_divergence != "rollback":
        raise error
    if mishaps.rollbacks >= settings.max_rollbacks:
        raise DivergedError(
            f"{error}. It went back {mishaps.rollbacks} times, each with a lower rate, as trainer.max_rollbacks allows"
        ) from error
    state = _back_to_last_good(CheckpointStore(folder.checkpoints), mishaps.back_to)
    parts, fresh = _built_anew(parts, folder, container)
    if state is None:
        shutil.rmtree(folder.tensorboard, ignore_errors=True)
    else:
        fresh.load_state_dict(state)
    fresh.history.cut(fresh.state.step)
    fresh.mishaps = Mishaps(rollbacks=mishaps.rollbacks + 1, back_to=fresh.state.step)
    fresh.deadline = trainer.deadline
    fresh.rollback_rate = trainer.learning_rate * settings.rollback_factor
    log.warning(
        "%s: back to step %s with a learning rate of %g (rollback %s of %s)",
        str(error).partition(". ")[0], fresh.state.step, fresh.rollback_rate, fresh.mishaps.rollbacks,
        settings.max_rollbacks,
    )  # fmt: skip
    return parts, fresh


def _back_to_last_good(store: CheckpointStore, but: int | None) -> dict[str, Any] | None:
    """Returns the newest state that is whole, as which it counts from here on; None stands for the start.

    Args:
        but: the step whose state has led to a divergence twice. Finite as its weights are, they are no good.
    """
    for name in reversed(store.names()):
        if name.startswith("step-"):
            with contextlib.suppress(CheckpointError):  # a damaged one is passed over
                state = store.load(name)
                if state["progress"]["step"] != but:
                    store.point("last", name)
                    return state
    store.unpoint("last")
    return None


def _built_anew(parts: Parts, folder: RunFolder, container: dict[str, Any]) -> tuple[Parts, Trainer]:
    """Returns the trainer as it was at the start of the run, with a model of its own."""
    parts = replace(parts, model=build_model(parts.config, parts.data, parts.device))
    start_from(parts)
    return parts, build_trainer(parts, build_step(parts), folder, container)
