"""What a person sees of a sweep: lines that can be read in a log, and a screen that fits its terminal."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live

from dltrain import console
from dltrain.commands.sweep import print_leaderboard
from dltrain.sweeps import leaderboard, view
from dltrain.sweeps.driver import Agenda
from dltrain.sweeps.folder import SweepFolder, SweepPlan
from dltrain.sweeps.view import View


class Clock:
    """A clock that stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(view, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def agenda_of(work, clock):
    """Returns a function that plans a grid in the folder ``mine``, of which nothing is trained."""

    def of(*points: dict[str, str], **settings: object) -> Agenda:
        space = {key: ",".join(point[key] for point in points) for key in points[0]}
        sweep = SweepFolder.create(Path("mine"), "grid")
        given = {"metric": "val/loss", "overrides": [], "seed": 0, "working_directory": ".", "module_folders": []}
        plan = {"space": space, "sampler": "grid", "points": list(points), "trials": len(points), **given, **settings}
        sweep.write_plan(SweepPlan(**plan))
        agenda = Agenda(sweep)
        agenda.started = clock.now
        return agenda

    return of


def rates(*values: str) -> list[dict[str, str]]:
    return [{"optimizer.lr": value} for value in values]


def train(view: View, clock: Clock, number: int, seconds: float, end: float | str, parts: dict | None = None) -> None:
    """Lets a trial take some seconds and end.

    Args:
        end: its objective, or "pruned: why" or "failed: why".
    """
    ledger = view._agenda.ledger
    view.tell(number, "started")
    clock.now += seconds
    if isinstance(end, float):
        ledger.finish(number, end, parts)
    else:
        how, _, why = end.partition(": ")
        (ledger.prune if how == "pruned" else ledger.fail)(number, why)
    view.tell(number, "ended")


def lines_of(capsys) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


# --- lines ------------------------------------------------------------------------------------------------


def test_a_line_says_what_became_of_a_trial_and_what_is_left(agenda_of, clock, capsys):
    agenda = agenda_of(*rates("0.1", "0.2", "0.3", "0.4", "0.5", "0.6"))
    with View(agenda, 1) as seen:
        train(seen, clock, 0, 1.5, "failed: the loss became NaN at step 2. Take a smaller optimizer.lr\nmore")
        train(seen, clock, 1, 3.5, 0.5)
        train(seen, clock, 2, 1.0, "pruned: pruned after 3 evaluations: val/loss 0.9 falls behind")
        train(seen, clock, 3, 2.0, 0.75)
        train(seen, clock, 4, 92.0, 0.25)
        train(seen, clock, 5, 1.0, 0.25)
    assert lines_of(capsys) == [
        "sweep   grid: 6 of 6 trials to train, in mine",
        "trial 0: optimizer.lr=0.1: failed: the loss became NaN at step 2, 5 left, about 7.50 s",
        "trial 1: optimizer.lr=0.2: val/loss 0.5000; the best so far, 4 left, about 10 s",
        "trial 2: optimizer.lr=0.3: pruned after 3 evaluations; best 0.5000 in trial 1, 3 left, about 6.00 s",
        "trial 3: optimizer.lr=0.4: val/loss 0.7500; best 0.5000 in trial 1, 2 left, about 4.00 s",
        "trial 4: optimizer.lr=0.5: val/loss 0.2500; the best so far, 1 left, about 20 s",
        "trial 5: optimizer.lr=0.6: val/loss 0.2500; best 0.2500 in trial 4",
    ]


@pytest.mark.parametrize(
    ("point", "metric", "told"),
    [
        (
            {"loss": "focal", "loss.gamma": "2"}, "val/loss",
            "the trials have several losses (loss, loss.gamma): their val/loss does not compare. "
            "Rank them by another figure, as sweep.metric=val/accuracy does",
        ),
        ({"loss": "focal"}, "val/accuracy", ""),
        (
            {"data.test_fraction": "0.1", "data": "iris", "data.batch_size": "8"}, "val/accuracy",
            "the trials are evaluated on other samples (data, data.test_fraction): their val/accuracy does not compare",
        ),
        ({"data.batch_size": "8", "lossy": "1"}, "val/loss", ""),
    ],
)  # fmt: skip
def test_trials_that_cannot_be_ranked_are_told(point, metric, told, agenda_of, capsys):
    with View(agenda_of(point, metric=metric), 1):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ([f"warning: {told}"] if told else [])


def test_values_may_be_several_and_korean(agenda_of, clock, capsys):
    agenda = agenda_of(
        {"data.text": "'가.txt'", "model.hidden": "[30,20]"}, {"data.text": "'나'", "model.hidden": "[]"}
    )
    with View(agenda, 1) as seen:
        train(seen, clock, 0, 1.0, 1.0)
    assert lines_of(capsys)[1] == (
        "trial 0: data.text=가.txt model.hidden=[30,20]: val/loss 1.0000; the best so far, 1 left, about 1.00 s"
    )


def test_of_several_runs_the_spread_is_told(agenda_of, clock, capsys):
    with View(agenda_of(*rates("0.1")), 1) as seen:
        train(seen, clock, 0, 1.0, 0.3, {"seed-0": 0.2, "seed-1": 0.4})
    assert lines_of(capsys)[1] == "trial 0: optimizer.lr=0.1: val/loss 0.3000 ± 0.1414; the best so far"


def test_larger_is_better_where_it_is(agenda_of, clock, capsys):
    with View(agenda_of(*rates("0.1", "0.2"), metric="val/accuracy"), 1) as seen:
        train(seen, clock, 0, 1.0, 0.3)
        train(seen, clock, 1, 1.0, 0.9)
    assert lines_of(capsys)[2] == "trial 1: optimizer.lr=0.2: val/accuracy 0.9000; the best so far"


def test_several_at_once_need_less_time(agenda_of, clock, capsys):
    agenda = agenda_of(*rates("0.1", "0.2", "0.3", "0.4", "0.5"))
    with View(agenda, 2) as seen:
        seen.tell(1, "started")
        train(seen, clock, 0, 10.0, 0.5)
        train(seen, clock, 2, 10.0, 0.6)
    assert lines_of(capsys) == [
        "sweep   grid: 5 of 5 trials to train, 2 at once, in mine",
        "trial 0: optimizer.lr=0.1: val/loss 0.5000; the best so far, 4 left, about 20 s",
        "trial 2: optimizer.lr=0.3: val/loss 0.6000; best 0.5000 in trial 0, 3 left, about 15 s",
    ]


def test_what_ended_before_a_resume_counts_for_the_best_and_not_for_the_time(agenda_of, clock, capsys):
    agenda = agenda_of(*rates("0.1", "0.2", "0.3"))
    agenda.ledger.finish(0, 0.125)
    with View(agenda, 1) as seen:
        train(seen, clock, 1, 3.0, 0.5)
    assert lines_of(capsys) == [
        "sweep   grid: 2 of 3 trials to train, in mine",
        "trial 1: optimizer.lr=0.2: val/loss 0.5000; best 0.1250 in trial 0, 1 left, about 3.00 s",
    ]


def test_a_trial_whose_process_ended_is_said_to_be_tried_again(agenda_of, clock, capsys):
    with View(agenda_of(*rates("0.1", "0.2")), 2) as seen:
        seen.tell(0, "started")
        clock.now += 5
        seen.tell(0, "its process ended with SIGKILL(-9)")
        train(seen, clock, 0, 1.0, 0.5)
        seen.tell(1, "started")
        seen.tell(1, "ended")  # stopped by a signal: it goes on when the sweep does
    assert lines_of(capsys)[1:] == [
        "warning: trial 0: its process ended with SIGKILL(-9); it is tried again",
        "trial 0: optimizer.lr=0.1: val/loss 0.5000; the best so far, 1 left, about 0.50 s",
    ]


def test_why_it_ends_before_its_time_is_said_at_the_end(agenda_of, clock, capsys):
    agenda = agenda_of(*rates("0.1", "0.2", "0.3"))
    with View(agenda, 1) as seen:
        train(seen, clock, 0, 1.0, 0.5)
        agenda.over = "sweep.max_time=1h is used up"
        train(seen, clock, 1, 1.0, 0.75)
    assert lines_of(capsys)[2:] == [
        "trial 1: optimizer.lr=0.2: val/loss 0.7500; best 0.5000 in trial 0",
        "warning: sweep.max_time=1h is used up: 1 trial is left. Go on with: dltrain resume mine",
    ]
    with View(agenda, 1) as seen:
        train(seen, clock, 2, 1.0, 0.5)
    assert len(lines_of(capsys)) == 2  # nothing is left


# --- the screen -------------------------------------------------------------------------------------------


@pytest.fixture
def screen(monkeypatch, capsys):
    """Returns a function that gives the lines of a view's screen, none wider than the terminal."""

    def lines(seen: View, width: int = 100, height: int = 24) -> list[str]:
        terminal = Console(record=True, width=width, height=height, file=io.StringIO())
        monkeypatch.setattr(console, "error_console", lambda: terminal)
        terminal.print(seen._screen())
        shown = [line.rstrip() for line in terminal.export_text().splitlines()]
        assert all(cell_len(line) <= width for line in shown)
        return shown

    return lines


def on_screen(agenda: Agenda, workers: int) -> View:
    """Returns a view of a terminal."""
    seen = View(agenda, workers)
    seen._live = Live(console=Console(file=io.StringIO()))
    return seen


def cells(line: str) -> list[str]:
    return re.split(" {2,}", line.strip())


def write_rows(agenda: Agenda, trial: int, *rows: dict[str, object], part: str = "") -> None:
    """Writes what a run in training has written so far."""
    run = agenda.folder.run(trial, part)
    run.path.mkdir(parents=True, exist_ok=True)
    run.config.write_text("{}")
    run.metrics.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_the_screen_shows_the_counts_the_best_and_what_runs(agenda_of, clock, screen):
    agenda = agenda_of(*({"optimizer.lr": value, "model": "mlp"} for value in ("0.1", "0.2", "0.3", "0.4", "0.5")))
    seen = on_screen(agenda, 2)
    train(seen, clock, 0, 30.0, 0.5)
    train(seen, clock, 1, 30.0, "failed: it broke")
    train(seen, clock, 2, 30.0, "pruned: pruned after 1 evaluation: it falls behind")
    seen.tell(3, "started")
    seen.tell(4, "started")
    write_rows(agenda, 3, {"epoch": 1, "val/loss": 0.875}, {"epoch": 2, "val/loss": 0.75})
    head, best, titles, *trials = screen(seen, width=110)
    assert head.startswith("3/5  ━━━")
    assert head.endswith("  1 done  1 pruned  1 failed  2 running  1:30  2 left, about 30 s")
    assert best == "best val/loss 0.5000  trial 0: optimizer.lr=0.1 model=mlp"
    assert titles.split() == ["trial", "lr", "model", "val/loss", "epoch"]
    assert [line.split() for line in trials] == [
        ["3", "0.4", "mlp", "0.7500", "2", "running"],
        ["4", "0.5", "mlp", "running"],
        ["2", "0.3", "mlp", "pruned"],
        ["1", "0.2", "mlp", "failed"],
        ["0", "0.1", "mlp", "0.5000", "done"],
    ]


def test_on_a_narrow_terminal_the_counts_are_one_line_too(agenda_of, clock, screen):
    seen = on_screen(agenda_of(*rates("0.1", "0.2", "0.3", "0.4")), 1)
    train(seen, clock, 0, 30.0, 0.5)
    train(seen, clock, 1, 30.0, "failed: it broke")
    train(seen, clock, 2, 30.0, "pruned: pruned after 1 evaluation: it falls behind")
    assert screen(seen, width=80)[0].endswith("  1 done  1 pruned  1 failed  0 running  1:30  1 left, about 30 s")


def test_before_the_first_trial_there_is_nothing_to_tell(agenda_of, screen):
    head, *others = screen(on_screen(agenda_of(*rates("0.1", "0.2")), 1))
    assert head.startswith("0/2  ") and head.endswith("0 done  0 running  0.00 s")
    assert [line.split() for line in others] == [[], ["trial", "val/loss", "epoch"]]


def test_the_epoch_goes_on_as_the_run_does(agenda_of, clock, screen):
    agenda = agenda_of(*rates("0.1"))
    seen = on_screen(agenda, 1)
    seen.tell(0, "started")
    for epoch, value in ((1, 0.5), (2, 0.25)):
        write_rows(agenda, 0, {"epoch": epoch, "val/loss": value})
        clock.now += 1  # it does not look more often
        assert screen(seen)[-1].split() == ["0", "0.1", f"{value:.4f}", str(epoch), "running"]
    write_rows(agenda, 0, {"epoch": 3, "val/loss": 0.125})
    assert screen(seen)[-1].split()[3] == "2"


def test_of_several_runs_the_one_in_training_is_shown(agenda_of, clock, screen):
    agenda = agenda_of(*rates("0.1"), seeds=2)
    seen = on_screen(agenda, 1)
    seen.tell(0, "started")
    write_rows(agenda, 0, {"epoch": 9, "val/loss": 0.5}, part="seed-9")
    write_rows(agenda, 0, {"epoch": 1, "val/loss": 0.75}, part="seed-10")
    assert screen(seen)[-1].split() == ["0", "0.1", "0.7500", "1", "running"]


@pytest.mark.parametrize("height", [12, 24, 40])
def test_the_screen_is_no_taller_than_the_terminal(height, agenda_of, clock, screen):
    agenda = agenda_of(*rates(*(str(number) for number in range(50))))
    seen = on_screen(agenda, 4)
    for number in range(46):
        train(seen, clock, number, 1.0, 1.0 - number / 100)
    for number in range(46, 50):
        seen.tell(number, "started")
    shown = screen(seen, height=height)
    assert len(shown) <= height
    assert [line.split()[0] for line in shown[3:10]] == ["46", "47", "48", "49", "45", "44", "43"]
    assert all(line.endswith("running") for line in shown[3:7])


def test_korean_values_fit(agenda_of, clock, screen):
    seen = on_screen(agenda_of(*({"data.path": value} for value in ("'한국어 말뭉치.txt'", "'가.txt'"))), 1)
    train(seen, clock, 0, 1.0, 0.5)
    seen.tell(1, "started")
    best, titles, *trials = screen(seen)[1:]
    assert best == "best val/loss 0.5000  trial 0: data.path=한국어 말뭉치.txt"
    assert cells(titles) == ["trial", "path", "val/loss", "epoch"]
    assert [cells(line) for line in trials] == [
        ["1", "가.txt", "running"],
        ["0", "한국어 말뭉치.txt", "0.5000", "done"],
    ]
    ends = [cell_len(line.partition(word)[0]) for line, word in ((titles, "val/loss"), (trials[1], "0.5000"))]
    assert ends[0] == ends[1]  # a letter is two columns wide


@pytest.mark.parametrize("width", [80, 100])
def test_a_long_value_leaves_room_for_all_others(width, agenda_of, clock, screen):
    points = [{f"data.{name}": f"'{word * 40}'" for name in ("path", "root", "target")} for word in ("긴 ", "long ")]
    seen = on_screen(agenda_of(*points), 1)
    train(seen, clock, 0, 1.0, 0.5)
    titles, trial = screen(seen, width)[-2:]
    assert cells(titles) == ["trial", "path", "root", "target", "val/loss", "epoch"]
    number, *values, value, what = cells(trial)
    assert (number, value, what) == ("0", "0.5000", "done")
    assert all(text.startswith("긴 긴") and text.endswith("…") for text in values) and len(values) == 3


BRACKETS = ["[sepal_length]", "[petal_length,x]", "[/mine]"]


def test_lists_of_words_are_shown_on_the_screen(agenda_of, clock, screen):
    seen = on_screen(agenda_of(*({"data.measures": value} for value in BRACKETS)), 1)
    for number, value in enumerate(BRACKETS):
        train(seen, clock, number, 1.0, 1.0 / (number + 1))
        shown = screen(seen)
        assert shown[1].endswith(f"trial {number}: data.measures={value}")
        assert cells(shown[3])[1] == value


def test_lists_of_words_are_shown_on_the_leaderboard(agenda_of, clock, capsys):
    agenda = agenda_of(*({"data.measures": value} for value in BRACKETS))
    for number in range(3):
        agenda.ledger.finish(number, 1.0 / (number + 1))
    print_leaderboard(agenda.folder, leaderboard.ranked(agenda.folder))
    shown = capsys.readouterr().out
    assert all(value in shown for value in BRACKETS)
    assert shown.splitlines()[-1] == "3 trials in mine; the best one is mine/best"


def test_a_terminal_has_the_screen_and_no_lines(agenda_of, clock, capsys, monkeypatch):
    terminal = Console(
        width=100, height=24, file=io.StringIO(), force_terminal=True, color_system=None, highlight=False
    )
    monkeypatch.setattr(console, "is_live", lambda: True)
    monkeypatch.setattr(console, "error_console", lambda: terminal)
    with View(agenda_of(*rates("0.1", "0.2")), 1) as seen:
        train(seen, clock, 0, 1.0, 0.5)
        seen._live.refresh()
        shown = terminal.file.getvalue()
    assert "best val/loss 0.5000  trial 0: optimizer.lr=0.1" in shown and "trial 0: optimizer.lr=0.1: val" not in shown
    assert "sweep   grid: 2 of 2 trials to train, in mine" in shown
    assert capsys.readouterr() == ("", "")
