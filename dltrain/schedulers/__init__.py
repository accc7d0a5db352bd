"""Learning-rate schedules by name.

``contract`` says what a schedule is, ``curves`` are pure functions of the position in the training, and ``plateau``
alone looks at the figures.
"""

from __future__ import annotations

from dltrain import registry
from dltrain.schedulers.contract import Factor, Observer, Schedule, SchedulerSettings

__all__ = ["Factor", "Observer", "Schedule", "SchedulerSettings", "build"]


def build(settings: SchedulerSettings, *, max_epochs: int | None, max_steps: int | None, epoch_steps: int) -> Schedule:
    """Builds the schedule of a training of this length.

    Args:
        epoch_steps: optimizer updates of an epoch.
    """
    if settings.name == "constant" and not settings.warmup:
        return Schedule(settings.interval, None)
    lengths = [length for length in (max_steps, max_epochs and max_epochs * epoch_steps) if length]
    total = min(lengths) if settings.interval == "step" else -(-min(lengths) // epoch_steps)
    after_warmup: Factor = registry.build("scheduler", settings, total=max(1, total - settings.warmup))

    def factor(position: float) -> float:
        if position < settings.warmup:
            return (position + 1) / (settings.warmup + 1)
        return after_warmup(position - settings.warmup)

    observer = after_warmup if isinstance(after_warmup, Observer) else None
    notes: tuple[str, ...] = ()
    if settings.warmup >= total:
        length = f"{total} {settings.interval}{'s' if total != 1 else ''}"
        notes = (
            f"scheduler.warmup = {settings.warmup}: the training has {length}, so the rate never reaches optimizer.lr",
        )
    return Schedule(settings.interval, factor, settings.warmup, observer, notes)
