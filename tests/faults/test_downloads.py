"""R11: whatever a server, a kill or a full disk does, what lies under a file's own name is whole."""

from __future__ import annotations

import hashlib
import http.server
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fileserver import FileServer, serving

from dltrain.errors import DataError, MachineError

pytestmark = pytest.mark.faults

CONTENT = random.Random(0).randbytes(600_000)
WRONG = random.Random(1).randbytes(600_000)
LOGIN = b"<!DOCTYPE html><title>Please log in</title>" + bytes(1000)

# What a process of its own runs: it wants a data set of one file.
SCRIPT = """
import sys
from dltrain import catalog, cli, download, files
from dltrain.catalog import Dataset, File
download.PAUSE_SECONDS, download.SILENT_SECONDS = 0.01, 1.0
url, size, digest = sys.argv[1:]
catalog.DATASETS["toy"] = Dataset(
    "toy", "nothing", "1 file", "CC0", "", choices=((File("a.bin", int(size), digest, (url,)),),)
)
cli._dispatch = lambda arguments: print(files.locate("toy", None)["a.bin"].stat().st_size) or 0
sys.exit(cli.run([]))
"""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as state:
        state.files = {"/a.bin": CONTENT}
        yield state


def start(url: str, work: Path) -> subprocess.Popen[str]:
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    kept = {name: value for name, value in os.environ.items() if name.lower() not in ("http_proxy", "all_proxy")}
    variables = {**kept, "DLTRAIN_CACHE": str(work / "cache"), "DLTRAIN_DATA": "", "DLTRAIN_OFFLINE": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, url, str(len(CONTENT)), digest],
        cwd=work,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def file_of(work: Path) -> Path:
    return work / "cache" / "downloads" / "toy" / "a.bin"


def fetches(url: str, work: Path, *codes: int) -> str:
    """Downloads in a process of its own; returns what it said, and holds what is promised of any download."""
    process = start(url, work)
    _, said = process.communicate(timeout=60)
    assert process.returncode in codes, said
    assert "Traceback" not in said
    path = file_of(work)
    assert not path.exists() or path.read_bytes() == CONTENT
    assert path.exists() == (process.returncode == 0)
    if process.returncode == DataError.exit_code:
        assert "give data.root=FOLDER" in said and url in said  # what to do
    return said


@contextmanager
def redirecting(target: str) -> Iterator[str]:
    """Serves nothing but a redirect."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{other.server_port}/a.bin"
    finally:
        other.shutdown()
        other.server_close()
        thread.join()


def faults(*each: tuple) -> Callable[[FileServer], None]:
    def prepare(server: FileServer) -> None:
        server.faults["/a.bin"] = list(each)

    return prepare


def serves(content: bytes | None) -> Callable[[FileServer], None]:
    def prepare(server: FileServer) -> None:
        server.files = {} if content is None else {"/a.bin": content}

    return prepare


# Name -> what the server does, the exit code, a word of the message.
BAD: dict[str, tuple[Callable[[FileServer], None], int, str]] = {
    "wrong content": (serves(WRONG), 3, "expected sha256"),
    "one byte wrong": (serves(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])), 3, "expected sha256"),
    "short": (faults(*[("short", 1000)] * 25), 3, "1,000 bytes instead of 600,000"),
    "longer": (serves(CONTENT + b"x"), 3, "more than the 600,000 bytes"),
    "404": (serves(None), 3, "404"),
    "503": (faults(*[("503",)] * 25), 3, "503"),
    "a login page": (serves(LOGIN), 3, "a web page"),
    "cut once": (faults(("cut", 100_000)), 0, ""),
    "cut again and again": (faults(*[("cut", n * 1000) for n in range(1, 8)]), 0, ""),
    "silent once": (faults(("silent", 1000, 3)), 0, ""),
    "slow": (faults(("slow", 0.02)), 0, ""),
    "without an end": (faults(("endless",)), 3, "more than the 600,000 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_server(name, work, server, tally):
    line = tally("R11", "wrong, short, missing, cut and slow answers")
    prepare, code, words = BAD[name]
    prepare(server)
    line.tried += 1
    assert words in fetches(f"{server.url}/a.bin", work, code)
    line.survived += 1


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/a.bin", "gopher://x", "http://127.0.0.1:1/a"]
)
def test_a_redirect_to_what_is_no_server(target, work, tally):
    line = tally("R11", "redirects")
    with redirecting(target) as url:
        line.tried += 1
        fetches(url, work, 3)
        line.survived += 1


def test_a_redirect_in_a_circle_and_to_another_host(work, server, tally):
    line = tally("R11", "redirects")
    with redirecting("/a.bin") as url:
        line.tried += 1
        fetches(url, work, 3)
        line.survived += 1
    with redirecting(f"{server.url}/a.bin") as url:  # what counts is the hash
        line.tried += 1
        fetches(url, work, 0)
        line.survived += 1


def test_killed_in_the_middle_again_and_again(work, server, tally, full_size):
    line = tally("R11", "kill -9 in the middle of a download, then again")
    part = file_of(work).with_name(".a.bin.part")
    for number in range(20 if full_size else 4):
        server.faults["/a.bin"] = [("silent", 100_000, 20)]
        before = part.stat().st_size if part.exists() else 0
        process = start(f"{server.url}/a.bin", work)
        while process.poll() is None and (not part.exists() or part.stat().st_size <= before):
            time.sleep(0.01)
        line.tried += 1
        process.kill()
        process.communicate()
        assert not file_of(work).exists()
        line.survived += 1
        if number % 5 == 4:
            part.unlink()
    server.faults.clear()
    fetches(f"{server.url}/a.bin", work, 0)
    assert [path.name for path in file_of(work).parent.iterdir() if path.name not in (".lock", "a.bin")] == []


def test_many_at_once(work, server, tally):
    line = tally("R11", "processes that want one file at once")
    server.faults["/a.bin"] = [("slow", 0.05), ("slow", 0.05)]
    processes = [start(f"{server.url}/a.bin", work) for _ in range(4)]
    line.tried += len(processes)
    for process in processes:
        out, said = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, f"{len(CONTENT)}\n"), said
        line.survived += 1
    assert file_of(work).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_full_disk(work, server, tally):
    """A real file system that is too full, then one that fills up in the middle; with room, the download goes on."""
    line = tally("R11", "a full disk")
    cache = work / "cache"
    cache.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(cache)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    try:
        (cache / "filler").write_bytes(bytes(400_000))
        line.tried += 1
        said = fetches(f"{server.url}/a.bin", work, MachineError.exit_code)
        assert "too full" in said and "DLTRAIN_CACHE" in said
        line.survived += 1
        (cache / "filler").unlink()
        server.faults["/a.bin"] = [("slow", 0.2)]
        line.tried += 1
        process = start(f"{server.url}/a.bin", work)
        while process.poll() is None and not server.asked:
            time.sleep(0.005)
        with pytest.raises(OSError, match="No space left"), (cache / "filler").open("wb", buffering=0) as filler:
            for _ in range(200):  # another program takes the room meanwhile
                filler.write(bytes(8192))
        said = process.communicate(timeout=60)[1]
        assert process.returncode == MachineError.exit_code and "is full" in said and not file_of(work).exists(), said
        line.survived += 1
        (cache / "filler").unlink()
        fetches(f"{server.url}/a.bin", work, 0)
    finally:
        subprocess.run(["umount", "-l", str(cache)], check=True)
