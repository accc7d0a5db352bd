"""TensorBoard really shows what a run logged, and compares the trials of a sweep."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from commandline import QUICK, only_run, start
from sweeping import HERE, swept, trials_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from training import build_trainer, rows_of

from dltrain import cli
from dltrain.board import Board

# Straight to the server, whatever proxy the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, path: str, **query: str):
    """Returns what TensorBoard answers, or None where it does not yet."""
    url = f"http://127.0.0.1:{port}/data/plugin/scalars/{path}?{urllib.parse.urlencode(query)}"
    try:
        with OPENER.open(url, timeout=5) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
        return None


def wait_for(condition, seconds: float = 90):
    """Returns the first true value of a function that is asked again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def processes_of_group(group: int) -> list[str]:
    """Returns the command lines of the processes in a process group, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (ProcessLookupError, FileNotFoundError):
            continue
    return [command for command in found if command]


def of_a_run(tmp_path_factory, *words: str) -> Path:
    """Trains in a new folder, which is returned."""
    folder = tmp_path_factory.mktemp("folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.run([*QUICK[:2], "report=false", *words]) == 0
    return folder


@pytest.fixture(scope="module")
def with_curves(tmp_path_factory):
    return of_a_run(tmp_path_factory, "trainer.max_epochs=5", "callbacks.tensorboard.graph=false")


@pytest.fixture(scope="module")
def without_curves(tmp_path_factory):
    return of_a_run(tmp_path_factory, *QUICK[2:])


@pytest.fixture
def trained(with_curves, work):
    """The working directory, with a run that has curves."""
    return shutil.copytree(with_curves, work, dirs_exist_ok=True)


@pytest.mark.slow
def test_the_curves_are_those_of_metrics_jsonl(trained, tmp_path_factory):
    port = free_port()
    rows = [json.loads(line) for line in (only_run(trained) / "metrics.jsonl").read_text().splitlines()]
    temporary = tmp_path_factory.mktemp("temporary")
    with start("board", "last", "--port", str(port), cwd=trained, TMPDIR=str(temporary)) as board:
        try:
            # TensorBoard may answer here before dltrain has asked it, and said so.
            assert board.stdout.readline() == f"TensorBoard: http://127.0.0.1:{port}/   (Ctrl-C ends it)\n"
            name = only_run(trained).name
            logged = {key for key in rows[0] if "/" in key or key == "lr"}
            # It answers while it reads, too, with what it has read by then.
            tags = wait_for(lambda: (found := ask(port, "tags")) and logged == set(found.get(name, ())) and found)
            assert list(tags) == [name]
            steps = [row["step"] for row in rows]
            for tag in logged:
                points = wait_for(
                    lambda tag=tag: (
                        (found := ask(port, "scalars", run=name, tag=tag))
                        and [step for _, step, _ in found] == steps
                        and found
                    )
                )
                assert [value for _, _, value in points] == pytest.approx([row[tag] for row in rows], rel=1e-6)
            # On this machine only.
            addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
            for address in addresses - {"127.0.0.1"}:
                with pytest.raises(OSError), socket.create_connection((address, port), timeout=2):
                    pass
            assert any("tensorboard" in command for command in processes_of_group(board.pid))
        finally:
            os.killpg(board.pid, signal.SIGINT)
        out, err = board.communicate(timeout=60)
        assert board.returncode == 0
        assert out == ""
        assert err == f"showing {name}\n"
        wait_for(lambda: not processes_of_group(board.pid), seconds=10)
    assert not list(temporary.glob("dltrain-board-*"))
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert [path.name for path in trained.iterdir()] == ["runs"]


@pytest.mark.slow
def test_only_dltrain_itself_is_stopped(trained):
    """As when another program sends the signal, not the terminal, which sends it to the whole group."""
    port = free_port()
    with start("board", "--port", str(port), cwd=trained) as board:
        wait_for(lambda: ask(port, "tags"))
        os.kill(board.pid, signal.SIGINT)
        board.communicate(timeout=60)
        assert board.returncode == 0
        wait_for(lambda: not processes_of_group(board.pid), seconds=10)


@pytest.mark.slow
def test_a_port_that_is_taken_is_told(trained, dltrain):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = dltrain("board", "last", "--port", port)
    assert answer.code == 5
    assert f"port {port} cannot be used: Address already in use" in answer.err


@pytest.mark.slow
def test_two_at_once_are_two_and_each_shows_its_own(trained, dltrain):
    """They start in the same instant, and would take the same port."""
    assert dltrain(*QUICK[:2], "trainer.max_epochs=1", "callbacks.tensorboard.graph=false").code == 0
    older, newer = sorted(path.parent.name for path in trained.glob("runs/*/*/config.yaml"))
    with start("board", older, cwd=trained) as one, start("board", newer, cwd=trained) as other:
        try:
            ports = [int(board.stdout.readline().split(":")[3].partition("/")[0]) for board in (one, other)]
            assert ports[0] != ports[1]
            assert [list(wait_for(lambda port=port: ask(port, "tags"))) for port in ports] == [[older], [newer]]
        finally:
            for board in (one, other):
                os.killpg(board.pid, signal.SIGINT)
        assert [board.wait(timeout=60) for board in (one, other)] == [0, 0]


@pytest.mark.slow
def test_several_runs_are_called_by_what_differs_and_a_later_one_is_added(trained, dltrain):
    port = free_port()
    assert (
        dltrain(*QUICK[:2], "optimizer.lr=0.5", "trainer.max_epochs=1", "callbacks.tensorboard.graph=false").code == 0
    )
    with start("board", "--port", str(port), cwd=trained) as board:
        try:
            names = sorted(wait_for(lambda: len(found := ask(port, "tags") or ()) == 2 and found))
            assert [name[:16] for name in names] == ["mlp lr=0.001 max", "mlp lr=0.5 max_e"]
            assert dltrain(*QUICK[:2], "optimizer.lr=0.7", "callbacks.tensorboard.graph=false").code == 0
            later = wait_for(lambda: set(ask(port, "tags") or ()) - set(names))
            assert [name[:10] for name in later] == ["mlp lr=0.7"]
        finally:
            os.kill(board.pid, signal.SIGTERM)
        _, err = board.communicate(timeout=60)
        assert board.returncode == 128 + signal.SIGTERM and err == "showing 2 runs\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_stays_where_it_is_stopped_while_it_starts(number, trained, tmp_path):
    with start("board", cwd=trained, TMPDIR=str(tmp_path)) as board:
        folder = wait_for(lambda: next(tmp_path.glob("dltrain-board-*/*"), None))
        assert folder.is_symlink()
        os.kill(board.pid, number)
        _, err = board.communicate(timeout=60)
        assert "Traceback" not in err
        assert board.returncode == (0 if number == signal.SIGINT else 128 + number)
        wait_for(lambda: not processes_of_group(board.pid), seconds=10)
    assert not list(tmp_path.glob("dltrain-board-*"))


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_there_is_not_is_refused(port, dltrain, work):
    answer = dltrain("board", "--port", port)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: --port {port}: give a number from 1 to 65535, or leave it out for a free one\n"


def test_a_machine_without_a_display_is_told(monkeypatch, capsys):
    from dltrain.commands import board

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    board._open("http://127.0.0.1:1/")
    assert capsys.readouterr().err == ("--open: this machine has no display. Open the address in a browser yourself\n")


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "there are no runs in {runs}. Train one first"),
        (1, "the run in {runs} has no curves: it was trained without callbacks.tensorboard"),
        (2, "none of the 2 runs in {runs} has curves: they were trained without callbacks.tensorboard"),
    ],
)
def test_nothing_to_show_is_told(count, message, without_curves, dltrain, work):
    for number in range(count):
        shutil.copytree(only_run(without_curves), work / "runs" / "2026-01-02" / f"iris-mlp-{number}")
    answer = dltrain("board")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: {message.format(runs=work / 'runs')}\n"


# --- the tab that compares runs ---------------------------------------------------------------------------


def compared(folder: Path) -> tuple[dict[str, float | str], list[str], dict[str, list[tuple[int, float]]]]:
    """Returns what the HParams tab shows of a run: its values, the names of its figures, and these by step."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    contents = events.PluginTagToContent("hparams")
    assert set(contents) == {f"_hparams_/{part}" for part in ("experiment", "session_start_info", "session_end_info")}
    started = HParamsPluginData.FromString(contents["_hparams_/session_start_info"]).session_start_info
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in started.hparams.items()}
    experiment = HParamsPluginData.FromString(contents["_hparams_/experiment"]).experiment
    figures = [info.name.tag for info in experiment.metric_infos]
    scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return values, figures, scalars


def test_values_and_figures_of_a_run_can_be_compared(tmp_path):
    trainer = build_trainer(tmp_path, "data=iris", "trainer.max_epochs=1")
    board = Board(tmp_path / "tensorboard")
    board.open(trainer)
    values = {"optimizer.lr": "3e-4", "trainer.batch_size": "32", "data.path": "'한글.txt'", "model.hidden": "[30,20]"}
    board.hyperparameters({**values, "model.norm": "null"}, {"val/loss": 0.25, "val/accuracy": 0.5}, 7)
    board.close()
    shown, figures, scalars = compared(tmp_path / "tensorboard")
    assert shown == {
        "optimizer.lr": 3e-4,
        "trainer.batch_size": 32.0,
        "data.path": "'한글.txt'",
        "model.hidden": "[30,20]",
        "model.norm": "null",
    }
    assert figures == ["best/val/loss", "best/val/accuracy"]
    assert scalars == {"best/val/loss": [(7, 0.25)], "best/val/accuracy": [(7, 0.5)]}


def test_nothing_of_it_is_written_to_a_board_that_is_closed(tmp_path):
    Board(tmp_path / "tensorboard").hyperparameters({"optimizer.lr": "1"}, {"val/loss": 0.25}, 7)
    assert not (tmp_path / "tensorboard").exists()


def test_the_trials_of_a_sweep_can_be_compared(tmp_path):
    words = ["data=iris", "model.hidden=[4]", "trainer.max_epochs=3", "callbacks=[checkpoint,tensorboard]"]
    sweep = swept(tmp_path, *HERE, *words, "optimizer.lr=0.1,0.5", "callbacks.tensorboard.graph=false")
    for trial in trials_of(sweep):
        run = sweep.trial(trial.number)
        values, figures, scalars = compared(run.tensorboard)
        assert values == {"optimizer.lr": (0.1, 0.5)[trial.number]}
        assert figures == ["best/val/loss"]
        rows = rows_of(run.path)
        ((step, value),) = scalars["best/val/loss"]
        assert step == rows[-1]["step"] and value == pytest.approx(trial.objective, rel=1e-6)
        assert [step for step, _ in scalars["val/loss"]] == [row["step"] for row in rows]
        assert len(list(run.tensorboard.iterdir())) == 1  # a second file would hide the first from TensorBoard
