"""A training that diverges: how it is found, and what ``trainer.on_divergence`` makes of it.

``stop`` ends the run, ``skip`` makes no update of what is not finite, and ``rollback`` goes back to the last good
checkpoint with a lower rate; that is in ``rollback``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dltrain import steps
from dltrain.console import log
from dltrain.errors import DivergedError

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

# So many updates one after another that are not finite are no stray samples: nothing is learned any more.
MOST_IN_A_ROW = 100


@dataclass
class Mishaps:
    """How often a training was saved from diverging; a part of its state.

    Attributes:
        rollbacks: how often it went back with a lower rate.
        skipped: updates that were not made.
        in_a_row: of these, those since the last that was made.
        back_to: the step that the last rollback led to.
    """

    rollbacks: int = 0
    skipped: int = 0
    in_a_row: int = 0
    back_to: int | None = None


def check_finite(trainer: Trainer) -> None:
    """
    Raises:
        DivergedError: a batch since the last row had a loss that is NaN or infinite.
    """
    bad = trainer.metrics.first_bad_batch()
    if bad is None:
        return
    num_batches, accumulate = trainer.train.num_batches, trainer.settings.accumulate
    done = trainer.state.epoch * num_batches + trainer.state.batch
    epoch, batch = divmod(done - trainer.metrics.num_batches + bad, num_batches)
    step = epoch * -(-num_batches // accumulate) + batch // accumulate + 1
    raise _diverged(trainer, "the loss became NaN or infinite at", step, epoch, batch)


def check_weights(trainer: Trainer) -> None:
    """Looks at the weights themselves: the last update may have spoilt them after a loss that was finite.

    Raises:
        DivergedError: a loss since the last row, or a weight, is NaN or infinite.
    """
    check_finite(trainer)
    if not steps.all_finite(list(trainer.model.parameters())):
        raise _diverged(trainer, "the weights became NaN or infinite by", trainer.state.step, *_last_batch(trainer))
    if not steps.all_finite(steps.running_statistics(trainer.model)):
        what = "the statistics of normalisation layers became NaN or infinite by"
        raise _diverged(trainer, what, trainer.state.step, *_last_batch(trainer))


def _last_batch(trainer: Trainer) -> tuple[int, int]:
    """Returns epoch and batch, both from 0, of the batch that was computed last."""
    done = trainer.state.epoch * trainer.train.num_batches + trainer.state.batch
    return divmod(max(0, done - 1), trainer.train.num_batches)


def _diverged(trainer: Trainer, what: str, step: int, epoch: int, batch: int) -> DivergedError:
    advice = "" if trainer.settings.on_divergence == "rollback" else ", let trainer.on_divergence=rollback do so"
    return DivergedError(
        f"{what} step {step} (epoch {epoch + 1}, batch {batch + 1}). "
        f"Lower optimizer.lr (now {trainer.learning_rate:g}){advice}, set trainer.clip_norm=1, or look for values in "
        "the data that are not finite. Checkpoints saved before stay as they are"
    )


def count_skipped(trainer: Trainer) -> None:
    """Counts an update that the step may have left out, and says the first time that it was.

    Raises:
        DivergedError: too many were not, one after another.
    """
    mishaps, state = trainer.mishaps, trainer.state
    if trainer.step.made_update:
        mishaps.in_a_row = 0
        return
    mishaps.skipped, mishaps.in_a_row = mishaps.skipped + 1, mishaps.in_a_row + 1
    epoch, batch = _last_batch(trainer)
    where = f"step {state.step} (epoch {epoch + 1}, batch {batch + 1})"
    if mishaps.skipped == 1:
        log.warning(
            "the loss or the gradient is NaN or infinite at %s: no update is made. Further ones are only counted", where
        )
    if mishaps.in_a_row >= MOST_IN_A_ROW:
        raise DivergedError(
            f"the loss or the gradient was NaN or infinite at {mishaps.in_a_row} steps one after another, up to "
            f"{where}. Nothing is learned any more: lower optimizer.lr (now {trainer.learning_rate:g}), or look for "
            "values in the data that are not finite. Checkpoints saved before stay as they are"
        )


def result(mishaps: Mishaps) -> dict[str, Any]:
    """Returns what ``result.json`` says of it."""
    counts = {"rollbacks": mishaps.rollbacks, "skipped_updates": mishaps.skipped}
    return {name: count for name, count in counts.items() if count}


def notes(mishaps: Mishaps) -> list[str]:
    """Returns what the log should say of it at the end."""
    if mishaps.skipped < 2:  # of the first it has spoken
        return []
    return [f"{mishaps.skipped} updates were not made: the loss or the gradient was NaN or infinite"]
