"""``profiler``: what the time of some steps goes into, operator by operator."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dltrain import registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.callbacks.progress import total_steps
from dltrain.config import setting
from dltrain.console import log
from dltrain.errors import MachineError
from dltrain.models import device_of
from dltrain.run_folder import write_file

if TYPE_CHECKING:
    from torch.profiler import ProfilerAction, profile

    from dltrain.config import Config
    from dltrain.data import Data
    from dltrain.trainer import Trainer

_LOGGED_OPERATORS = 5


@dataclass(frozen=True)
class ProfilerSettings:
    name: str = setting("Name of the callback.")
    first_step: int = setting("First optimizer update that is profiled, counted from 1.", min=1)
    steps: int = setting(
        "How many updates are profiled; each makes the trace larger, and its writing longer.", min=1, max=200
    )
    warmup_steps: int = setting(
        "Updates before these that the profiler watches and throws away: its own start is slow.", min=0
    )
    shapes: bool = setting("Records the shapes of what the operators get, and lists them by shape.")
    memory: bool = setting("Records the memory that operators take and give back.")
    stacks: bool = setting("Records which line of Python called an operator. It makes the trace large.")
    table_rows: int = setting("How many operators the table has, the most expensive first.", min=1)


@registry.register("callbacks", "profiler", ProfilerSettings)
class Profiler(Callback):
    """Writes ``profile/steps-FIRST-to-LAST`` in the run folder: a trace and a table.

    The trace (``.pt.trace.json.gz``) opens in https://ui.perfetto.dev and in TensorBoard's profiler plugin; each
    update stands in it as ``ProfilerStep#<step>``, with the evaluation and the saving that follow it.
    Outside the asked updates nothing runs. A training that is stopped among them writes those that are done, and the
    rest of them when it goes on.
    """

    settings: ProfilerSettings

    def __init__(self, settings: ProfilerSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self.first_step, self.last_step = settings.first_step, settings.first_step + settings.steps - 1
        self._profile: profile | None = None
        self._done = 0  # the last update that was profiled

    @classmethod
    def mistakes(cls, key: str, settings: ProfilerSettings, *, config: Config, data: Data, **_: Any) -> list[str]:
        limits = config.trainer
        batches = -(-len(data.train) // limits.batch_size)
        updates = -(-batches // limits.accumulate)
        total = min(limit for limit in (limits.max_steps, limits.max_epochs and limits.max_epochs * updates) if limit)
        if settings.first_step <= total:
            return []
        return [
            f"{key}.first_step = {settings.first_step}: the training has {total} update{'s' if total > 1 else ''}, so "
            f"nothing would be profiled. Start sooner, as with {key}.first_step=1"
        ]

    def on_fit_start(self, trainer: Trainer) -> None:
        with contextlib.suppress(OSError):
            for cut_off in (self.context.folder.path / "profile").glob(".*"):  # by a kill while it was written
                cut_off.unlink()
        total, done = total_steps(trainer), trainer.state.step
        if self.last_step > total:
            log.warning("the profiler ends at step %s, not %s: the training has no more", total, self.last_step)
            self.last_step = total
        if self.first_step <= done < self.last_step:
            log.info("the profiler goes on with steps %s to %s", done + 1, self.last_step)
        self._start_if_next(trainer)

    def on_checkpoint(self, trainer: Trainer) -> None:
        step = trainer.state.step
        if self._profile is None:
            self._start_if_next(trainer)
            return
        if step >= self.first_step:
            self._done = step
        if step == self.last_step or trainer.stop_reason is not None:
            self._finish()
        else:
            self._profile.step()

    def on_fit_end(self, trainer: Trainer) -> None:
        self._finish()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._finish()

    def _start_if_next(self, trainer: Trainer) -> None:
        """Starts to watch where the next update is one to warm up with or to profile."""
        coming = trainer.state.step + 1
        start = self.first_step - self.settings.warmup_steps
        if trainer.stop_reason is not None or not start <= coming <= self.last_step:
            return
        from torch.profiler import ProfilerActivity, profile

        self.first_step = max(self.first_step, coming)
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else PyTorch's library writes lines of its own on stderr
        activities = [ProfilerActivity.CPU]
        if device_of(trainer.model).type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(
            activities=activities,
            schedule=self._action,
            record_shapes=self.settings.shapes,
            profile_memory=self.settings.memory,
            with_stack=self.settings.stacks,
        )
        self._profile.step_num = coming  # so that updates are called by their number in the training
        self._profile.current_action = self._action(coming)  # type: ignore[assignment]  # one of the enum's, as text
        self._profile.start()

    def _action(self, step: int) -> ProfilerAction:
        """Returns what the profiler does during an update."""
        from torch.profiler import ProfilerAction

        if step < self.first_step:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if step <= self.last_step else ProfilerAction.NONE

    def _finish(self) -> None:
        watched, self._profile = self._profile, None
        if watched is None:
            return
        watched.stop()
        if self._done < self.first_step:  # it was stopped before the first update was over
            return
        updates = f"steps-{self.first_step}-to-{self._done}"
        folder = self.context.folder.path / "profile"
        trace, table = folder / f"{updates}.pt.trace.json.gz", folder / f"{updates}.txt"
        unfinished = folder / f".{updates}.pt.trace.json.gz"
        try:
            folder.mkdir(exist_ok=True)
            watched.export_chrome_trace(str(unfinished))
            unfinished.replace(trace)
            write_file(table, self._table(watched))
        except (OSError, MachineError) as error:
            log.warning("the profile of %s cannot be written: %s. The training goes on", updates, error)
            return
        for line in self._summary(watched):
            log.info("%s", line)
        log.info("profile %s; open it in https://ui.perfetto.dev", trace)

    def _table(self, watched: profile) -> str:
        averages = watched.key_averages(group_by_input_shape=self.settings.shapes)
        table: str = averages.table(sort_by=_key(averages), row_limit=self.settings.table_rows)
        return f"steps {self.first_step} to {self._done}, most expensive operators first\n{table}\n"

    def _summary(self, watched: profile) -> list[str]:
        """Returns the most expensive operators as lines for the log."""
        events = watched.key_averages()
        key = _key(events)
        costs = {event.key: float(getattr(event, key)) for event in events if not event.key.startswith("ProfilerStep")}
        total = sum(costs.values()) or 1.0
        most = sorted(costs, key=lambda name: -costs[name])[:_LOGGED_OPERATORS]
        steps = self._done - self.first_step + 1
        shown = ", ".join(f"{name} {costs[name] / total:.0%}" for name in most)
        return [f"profiled steps {self.first_step} to {self._done}: {total / 1000 / steps:.3g} ms a step; {shown}"]


def _key(events: Any) -> str:
    """Returns what the operators are sorted by: time of the GPU where it did something, else of the processor."""
    on_device = any(event.self_device_time_total for event in events)
    return "self_device_time_total" if on_device else "self_cpu_time_total"
