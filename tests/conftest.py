"""Fixtures that all tests share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

# Test processes share the cores; each with threads on all of them, they would wait for one another. Before PyTorch.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell lets what it starts in the background ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import families
import pytest
import training
from commandline import Answer
from hypothesis import settings as hypothesis_settings

from dltrain import cli, registry

# The same examples in every run, and no time limit for one: a busy machine must not fail a test.
hypothesis_settings.register_profile("dltrain", derandomize=True, deadline=None, database=None)
hypothesis_settings.load_profile("dltrain")


def pytest_collection_finish() -> None:
    """Takes what stays until the end, the tests and the libraries, out of the sight of the garbage collector."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _a_cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """Keeps the tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLTRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_components():
    """What dltrain registers itself, before any test or fixture adds to it."""
    for kind in registry.BUILT_IN:
        registry.names(kind)
    return dict(registry._entries)


@pytest.fixture(autouse=True)
def _components_of_a_test_go_with_it(_own_components):
    """Takes back what a test, or a fixture that it shares with others, registers, so that no other test finds it."""
    yield
    registry._entries.clear()
    registry._entries.update(_own_components)


@pytest.fixture(scope="session")
def settings_of():
    """Returns a function that gives a component's settings as its YAML file has them, with changes."""
    return training.settings_of


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory."""
    for name in ("DLTRAIN_CONFIG_PATH", "DLTRAIN_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.path", [*sys.path])  # the command line adds the working directory
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dltrain(work: Path, capsys: pytest.CaptureFixture[str]):
    """Returns a function that runs a command line in this process, in an empty folder."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        answer = Answer(code, *capsys.readouterr())
        assert "Traceback" not in answer.err, answer.err
        assert "\x1b" not in answer.out + answer.err
        return answer

    return run


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, images, texts and shards."""
    return families.write_files(tmp_path_factory.mktemp("files"))


@dataclass
class Tally:
    """What a test of the fault suite tried, and what of it survived; printed as a table at the end of the session.

    Attributes:
        name: the line of the table, R1 to R14.
    """

    name: str
    what: str
    tried: int = 0
    survived: int = 0


@pytest.fixture
def tally(request: pytest.FixtureRequest):
    """Returns a function that opens a line of the fault suite's table: ``tally("R5", "damaged bits are found")``.

    A test counts each attempt in ``tried`` before it is made, and in ``survived`` once all was as it must be, so that
    a test which fails half-way shows how far it came.
    """
    lines: list[Tally] = []

    def opened(name: str, what: str) -> Tally:
        lines.append(Tally(name, what))
        return lines[-1]

    yield opened
    request.node.user_properties += [("fault", [line.name, line.what, line.tried, line.survived]) for line in lines]


@pytest.fixture
def full_size(request: pytest.FixtureRequest) -> bool:
    """Tells whether the fault suite runs at its full size, as scripts/faults does, and not at CI's."""
    return bool(request.config.getoption("--full"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the fault suite at its full size, for hours")


def pytest_terminal_summary(terminalreporter) -> None:
    """Prints what the fault suite tried and what survived."""
    lines: dict[tuple[str, str], list[int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, line in getattr(report, "user_properties", []):
                if key == "fault" and report.when == "teardown":
                    sums = lines.setdefault((line[0], line[1]), [0, 0])
                    sums[0], sums[1] = sums[0] + line[2], sums[1] + line[3]
    if not lines:
        return
    terminalreporter.section("faults: tried and survived")
    width = max(len(what) for _, what in lines)
    for (name, what), (tried, survived) in sorted(lines.items(), key=lambda line: (int(line[0][0][1:]), line[0][1])):
        mark = "" if tried == survived else "   <- LOST"
        terminalreporter.write_line(f"{name:<4} {what:<{width}} {survived:>6}/{tried:<6}{mark}")
