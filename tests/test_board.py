"""TensorBoard really shows what a run logged."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from commandline import QUICK, only_run, start

pytestmark = pytest.mark.slow

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


@pytest.fixture
def trained(dltrain, work):
    """The working directory, with a run that has curves."""
    answer = dltrain(*QUICK[:2], "trainer.max_epochs=5", "callbacks.tensorboard.graph=false")
    assert answer.code == 0, answer.err
    return work


def test_the_curves_are_those_of_metrics_jsonl(trained):
    port = free_port()
    rows = [json.loads(line) for line in (only_run(trained) / "metrics.jsonl").read_text().splitlines()]
    with start("board", "last", "--port", str(port), cwd=trained) as board:
        try:
            tags = wait_for(lambda: ask(port, "tags"))
            (name,) = tags
            logged = {key for key in rows[0] if "/" in key or key == "lr"}
            assert set(tags[name]) == logged
            for tag in logged:
                points = wait_for(lambda tag=tag: ask(port, "scalars", run=name, tag=tag))
                assert [step for _, step, _ in points] == [row["step"] for row in rows]
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
        assert out.startswith(f"TensorBoard: http://127.0.0.1:{port}/")
        assert "Traceback" not in err
        wait_for(lambda: not processes_of_group(board.pid), seconds=10)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert [path.name for path in trained.iterdir()] == ["runs"]


def test_only_dltrain_itself_is_stopped(trained):
    """As when another program sends the signal, not the terminal, which sends it to the whole group."""
    port = free_port()
    with start("board", "--port", str(port), cwd=trained) as board:
        wait_for(lambda: ask(port, "tags"))
        os.kill(board.pid, signal.SIGINT)
        board.communicate(timeout=60)
        assert board.returncode == 0
        wait_for(lambda: not processes_of_group(board.pid), seconds=10)


def test_a_port_that_is_taken_is_told(trained, dltrain):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = dltrain("board", "last", "--port", port)
    assert answer.code == 5
    assert f"port {port} cannot be used: Address already in use" in answer.err
    assert dltrain("board", "last", "--port", "99999").code == 5
