"""The trace and the table of the profiler."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from killing import assert_same
from training import build_trainer, configure, register_callback, resume, train

from dltrain import assembly, console
from dltrain.callbacks.base import Callback
from dltrain.errors import ConfigError, Interrupted

SHORT = ("trainer.batch_size=32", "trainer.max_steps=9")  # 3 updates an epoch
WINDOW = ("callbacks.profiler.first_step=4", "callbacks.profiler.steps=3")


def traces(folder: Path) -> dict[str, list[int]]:
    """Returns the updates that each trace has, by file, read as Perfetto reads it."""
    found = {}
    for path in sorted((folder / "profile").glob("*.pt.trace.json.gz")):
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
        steps = [event for event in events if event["name"].startswith("ProfilerStep#")]
        assert all(event["ph"] == "X" and event["dur"] > 0 for event in steps)
        operators = [event for event in events if event["name"] == "aten::addmm"]
        for step in steps:  # each update computes the model
            assert any(step["ts"] <= operator["ts"] <= step["ts"] + step["dur"] for operator in operators)
        found[path.name.partition(".")[0]] = sorted(int(event["name"].partition("#")[2]) for event in steps)
    return found


@pytest.fixture
def log(capfd):
    console.log_to(None)
    return lambda: capfd.readouterr().err


@pytest.mark.parametrize("warmup", [0, 2, 9])
def test_the_asked_updates_are_in_the_trace_and_no_others(warmup, tmp_path, log):
    train(tmp_path, *SHORT, *WINDOW, f"callbacks.profiler.warmup_steps={warmup}", callbacks=("profiler", "checkpoint"))
    assert traces(tmp_path) == {"steps-4-to-6": [4, 5, 6]}
    table = (tmp_path / "profile" / "steps-4-to-6.txt").read_text(encoding="utf-8")
    assert table.startswith("steps 4 to 6, most expensive operators first\n") and "aten::addmm" in table
    said = log().splitlines()
    assert said[0].startswith("profiled steps 4 to 6: ") and " ms a step; " in said[0] and "aten::" in said[0]
    assert said[1:] == [f"profile {tmp_path}/profile/steps-4-to-6.pt.trace.json.gz; open it in https://ui.perfetto.dev"]


def test_shapes_memory_and_lines_are_recorded_where_asked(tmp_path):
    asked = [f"callbacks.profiler.{name}=true" for name in ("shapes", "memory", "stacks")]
    window = ("callbacks.profiler.first_step=1", "callbacks.profiler.steps=1", "callbacks.profiler.table_rows=2")
    train(tmp_path, *SHORT, *window, *asked, callbacks=("profiler",))
    table = (tmp_path / "profile" / "steps-1-to-1.txt").read_text(encoding="utf-8")
    assert "Input Shapes" in table and "CPU Mem" in table and len(table.splitlines()) < 12
    text = gzip.decompress(next((tmp_path / "profile").glob("*.gz")).read_bytes()).decode()
    assert "trainer.py" in text and "[32, 4]" in text


def test_nothing_runs_before_and_after(monkeypatch, tmp_path):
    seen = {}

    class Watches(Callback):
        def on_checkpoint(self, trainer) -> None:
            seen[trainer.state.step] = trainer.callbacks["profiler"]._profile is not None

    register_callback(monkeypatch, Watches, "watches")
    train(tmp_path, *SHORT, *WINDOW, "callbacks.profiler.warmup_steps=1", callbacks=("profiler", "watches"))
    assert [step for step, runs in seen.items() if runs] == [2, 3, 4, 5]  # from the end of update 2


WHOLE = {"steps-4-to-6": [4, 5, 6]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of the uninterrupted training."""
    outcome = train(tmp_path_factory.mktemp("whole") / "run", *SHORT, callbacks=("checkpoint",))
    return outcome.trainer.model.state_dict()


@pytest.mark.parametrize(
    ("stop", "first", "second"),
    [(3, {}, WHOLE), (5, {"steps-4-to-5": [4, 5]}, {"steps-6-to-6": [6]}), (6, WHOLE, {}), (7, WHOLE, {})],
)
def test_a_training_that_stops_writes_what_is_done_and_goes_on_with_the_rest(
    stop, first, second, whole, monkeypatch, tmp_path
):
    class Stops(Callback):
        def on_step_end(self, trainer) -> None:
            if trainer.state.step == stop:
                trainer.request_stop("stopped by a signal", 15)

    register_callback(monkeypatch, Stops, "stops")
    with pytest.raises(Interrupted):
        train(tmp_path / "run", *SHORT, *WINDOW, callbacks=("profiler", "checkpoint", "stops"))
    assert traces(tmp_path / "run") == first
    (tmp_path / "run" / "profile").mkdir(exist_ok=True)
    (tmp_path / "run" / "profile" / ".steps-4-to-6.pt.trace.json.gz").write_bytes(b"cut off")
    outcome = resume(tmp_path / "run")
    assert outcome is not None and outcome.trainer.state.step == 9
    assert traces(tmp_path / "run") == first | second
    assert not list((tmp_path / "run" / "profile").glob(".*"))
    assert_same(whole, outcome.trainer.model.state_dict())


def test_an_error_within_the_updates_leaves_what_was_profiled_and_the_one_that_failed(monkeypatch, tmp_path):
    class Fails(Callback):
        def on_step_end(self, trainer) -> None:
            if trainer.state.step == 6:
                raise RuntimeError("no more")

    register_callback(monkeypatch, Fails, "fails")
    with pytest.raises(RuntimeError, match="no more"):
        train(tmp_path, *SHORT, *WINDOW, callbacks=("profiler", "fails"))
    assert traces(tmp_path) == {"steps-4-to-5": [4, 5, 6]}


def test_a_window_beyond_the_end_is_an_error_and_one_that_reaches_beyond_is_said(tmp_path, log):
    by_epochs = ("trainer.accumulate=2", "trainer.max_epochs=2", "trainer.max_steps=null")
    for overrides, total in {(): 9, by_epochs: 4}.items():
        config, _ = configure(tmp_path, *SHORT, *overrides, "callbacks.profiler.first_step=10", callbacks=("profiler",))
        with pytest.raises(ConfigError) as caught:
            assembly.build(config)
        assert caught.value.problems == [
            f"callbacks.profiler.first_step = 10: the training has {total} updates, so nothing would be profiled. "
            "Start sooner, as with callbacks.profiler.first_step=1"
        ]
    train(tmp_path / "run", *SHORT, "callbacks.profiler.first_step=8", callbacks=("profiler",))
    assert traces(tmp_path / "run") == {"steps-8-to-9": [8, 9]}
    assert log().splitlines()[0] == "warning: the profiler ends at step 9, not 12: the training has no more"


def test_a_profile_that_cannot_be_written_does_not_end_the_training(tmp_path, log):
    trainer = build_trainer(tmp_path, *SHORT, *WINDOW, callbacks=("profiler",))
    (tmp_path / "profile").write_text("a file where the folder should be")
    trainer.fit()
    assert trainer.state.step == 9
    assert log().startswith("warning: the profile of steps-4-to-6 cannot be written: ")
