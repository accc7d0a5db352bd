"""What a person sees while a sweep runs: one screen in a terminal, a line for each trial elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dltrain import console
from dltrain.console import duration, number
from dltrain.history import History
from dltrain.overrides import shown
from dltrain.results.record import DATA, SAMPLES

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    from dltrain.sweeps.driver import Agenda
    from dltrain.sweeps.folder import SweepPlan
    from dltrain.sweeps.ledger import Trial

_REDRAWS_A_SECOND = 4
_READS_EVERY_SECONDS = 1.0
_BAR_WIDTH = 40

# Columns of the table of trials.
_WIDEST, _NARROWEST = 24, 7

# Lines of the screen besides the trials.
_OTHER_LINES = 8


def _unlike(plan: SweepPlan) -> str:
    """Returns why the trials of a sweep cannot be ranked by its metric; "" where they can."""
    keys = sorted(plan.space)
    losses = [key for key in keys if key == "loss" or key.startswith("loss.")]
    samples = [key for key in keys if key == "data" or key in (*DATA, *SAMPLES)]
    if samples:
        return f"the trials are evaluated on other samples ({', '.join(samples)}): their {plan.metric} does not compare"
    if losses and plan.metric.endswith("/loss"):
        return (
            f"the trials have several losses ({', '.join(losses)}): their {plan.metric} does not compare. "
            "Rank them by another figure, as sweep.metric=val/accuracy does"
        )
    return ""


class View:
    """Shows how a sweep gets on: what runs, is done, pruned and failed, the best so far, and the time left."""

    def __init__(self, agenda: Agenda, workers: int) -> None:
        """
        Args:
            workers: how many trials are trained at once.
        """
        self._agenda, self._workers = agenda, workers
        self._trials = {trial.number: trial for trial in agenda.ledger.trials()}
        self._running: dict[int, float] = {}  # when each was started
        self._ended: list[int] = []
        self._seconds: list[float] = []  # that each trial took in this process
        self._rows: dict[int, dict[str, Any]] = {}
        self._rows_read = 0.0
        self._live: Live | None = None

    def __enter__(self) -> View:
        left = f"{self._agenda.left()} of {self._agenda.total} trials to train"
        beside = f", {self._workers} at once" if self._workers > 1 else ""
        console.log_to(None)
        console.log.info("sweep   %s: %s%s, in %s", self._agenda.plan.sampler, left, beside, self._agenda.folder.path)
        unlike = _unlike(self._agenda.plan)
        if unlike:
            console.log.warning("%s", unlike)
        if console.is_live():
            from rich.live import Live

            self._live = Live(
                get_renderable=self._screen,
                console=console.error_console(),
                refresh_per_second=_REDRAWS_A_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        if self._agenda.over is not None and self._agenda.left():
            console.log.warning(
                "%s: %s left. Go on with: dltrain resume %s",
                self._agenda.over, trials_are(self._agenda.left()), self._agenda.folder.path,
            )  # fmt: skip

    def tell(self, trial: int, what: str) -> None:
        """Takes note of a trial.

        Args:
            what: "started", "ended", or how its process ended before it did.
        """
        self._trials[trial] = self._agenda.ledger.trial(trial)
        if what == "started":
            self._running[trial] = time.monotonic()
            return
        started = self._running.pop(trial, None)
        ended = self._trials[trial]
        if ended.status in ("running", "waiting"):  # which goes on when the sweep does, or at once
            if what != "ended":
                console.log.warning("trial %s: %s; it is tried again", trial, what)
            return
        self._ended.append(trial)
        self._read_row(trial)
        if started is not None:
            self._seconds.append(time.monotonic() - started)
        if self._live is None:
            console.log.info("%s", self._line(ended))

    def _line(self, trial: Trial) -> str:
        """Returns what became of a trial, on one line."""
        values = spoken(trial.values)
        metric = self._agenda.plan.metric
        if trial.status == "failed":
            what = f"failed: {(trial.reason or '').partition(chr(10))[0].partition('. ')[0]}"
        elif trial.status == "pruned":
            what = (trial.reason or "pruned").partition(":")[0]
        else:
            spread = f" ± {number(trial.spread)}" if trial.spread is not None else ""
            what = f"{metric} {number(trial.objective)}{spread}"
        best = self._agenda.best(list(self._trials.values()))
        told = "" if best is None else f"; best {number(best.objective)} in trial {best.number}"
        if best is trial:
            told = "; the best so far"
        return f"trial {trial.number}: {values}: {what}{told}{self._left(', ')}"

    def _left(self, before: str) -> str:
        """Returns how long it may take from here on, as far as the trials so far tell."""
        left = self._agenda.left()
        if not self._seconds or not left or self._agenda.over is not None:
            return ""
        seconds = sum(self._seconds) / len(self._seconds) * left / self._workers
        return f"{before}{left} left, about {duration(seconds)}"

    # --- the screen ---------------------------------------------------------------------------------------

    def _screen(self) -> Group:
        """Returns all that there is to see; called by the drawing thread."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        trials = list(self._trials.values())
        counts = {name: sum(t.status == name for t in trials) for name in ("done", "pruned", "failed")}
        over, total = sum(counts.values()), self._agenda.total
        elapsed = duration(time.monotonic() - self._agenda.started)
        head = Table.grid(padding=(0, 2))
        for is_bar in (False, True, False, False):  # on a narrow terminal the bar is shorter
            head.add_column(no_wrap=not is_bar)
        told = "  ".join(f"{count} {name}" for name, count in counts.items() if count or name == "done")
        head.add_row(
            f"{over}/{total}", ProgressBar(total=total, completed=over, width=_BAR_WIDTH),
            f"{told}  {len(self._running)} running", f"{elapsed}{self._left('  ')}",
        )  # fmt: skip
        best = self._agenda.best(trials)
        values = "" if best is None else spoken(best.values)
        line = "" if best is None else f"best {self._agenda.plan.metric} {number(best.objective)}"
        told = "" if best is None else f"{line}  trial {best.number}: {values}"
        return Group(head, Text(told, no_wrap=True, overflow="ellipsis"), self._table())

    def _table(self) -> Table:
        """Returns the trials that run, and as many of those that ended last as there is room for."""
        from rich.table import Table
        from rich.text import Text

        self._read_rows()
        room = max(3, console.error_console().height - _OTHER_LINES - len(self._running))
        running, ended = list(self._running), self._ended[-room:][::-1]
        listed = [self._trials[place] for place in [*running, *ended]]
        keys = list(dict.fromkeys(key for trial in listed for key in trial.values))
        table = Table(box=None, padding=(0, 2, 0, 0))
        titles = ("trial", *(key.rpartition(".")[2] for key in keys), self._agenda.plan.metric, "epoch", "")
        for place, title in enumerate(titles):  # a narrow terminal shortens the values, and never what became of them
            is_value = 1 <= place <= len(keys)
            table.add_column(
                title, no_wrap=not is_value, overflow="ellipsis", max_width=_WIDEST if is_value else None,
                min_width=None if is_value else max(len(title), _NARROWEST),
            )  # fmt: skip
        for trial in listed:
            row = self._rows.get(trial.number, {})
            is_running = trial.number in self._running
            value = row.get(self._agenda.plan.metric) if trial.objective is None else trial.objective
            values = (shown(trial.values.get(key, "")) for key in keys)
            table.add_row(
                str(trial.number), *(Text(text, no_wrap=True, overflow="ellipsis") for text in values),
                "" if value is None else number(value), str(row.get("epoch", "")),
                "running" if is_running else trial.status,
                style="red" if trial.status == "failed" else None if is_running else "dim",
            )  # fmt: skip
        return table

    def _read_rows(self) -> None:
        """Looks how far the running trials are, now and then: their folders tell, wherever they are trained."""
        now = time.monotonic()
        if now - self._rows_read < _READS_EVERY_SECONDS:
            return
        self._rows_read = now
        for trial in list(self._running):
            self._read_row(trial)

    def _read_row(self, trial: int) -> None:
        if self._live is not None:
            for run in self._agenda.folder.runs_of(trial)[-1:]:
                *_, self._rows[trial] = [{}, *History(run.metrics).rows()]


def trials_are(count: int) -> str:
    return "1 trial is" if count == 1 else f"{count} trials are"


def spoken(values: dict[str, str]) -> str:
    """Returns values on one line, as a person reads them."""
    return " ".join(f"{key}={shown(text)}" for key, text in values.items())
