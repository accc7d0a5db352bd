"""A real HTTP server on this machine that serves files well, or badly in the ways that servers are bad."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class FileServer:
    """What it serves, and what it was asked.

    Attributes:
        files: content by path, such as "/a.gz".
        faults: by path, the ways in which the next answers to it are bad, used up one by one; ("404",),
            ("503",), ("cut", n) ends the connection after n bytes, ("short", n) sends n bytes and says that this is
            all, ("silent", n, seconds) says nothing for so long after n bytes, ("slow", seconds) sends in pieces
            with so much time before each.
        ranges: whether it can begin in the middle.
        asked: (path, first byte) of each request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[tuple]] = field(default_factory=dict)
    ranges: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)


def _handler(state: FileServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.close_connection = True
            start = 0
            if self.headers.get("Range") and state.ranges:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            state.asked.append((self.path, start))
            fault = state.faults[self.path].pop(0) if state.faults.get(self.path) else ("none",)
            content = state.files.get(self.path)
            if content is None or fault[0] in ("404", "503"):
                self.send_error(404 if content is None else int(fault[0]))
                return
            if start > len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = content[start:]
            if fault[0] == "short":
                body = body[: fault[1]]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if fault[0] != "endless":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._send(body, fault)

        def _send(self, body, fault):
            try:
                if fault[0] == "cut":
                    self.wfile.write(body[: fault[1]])
                elif fault[0] == "silent":
                    self.wfile.write(body[: fault[1]])
                    self.wfile.flush()
                    time.sleep(fault[2])
                elif fault[0] == "slow":
                    for first in range(0, len(body), 2**16):
                        time.sleep(fault[1])
                        self.wfile.write(body[first : first + 2**16])
                elif fault[0] == "endless":
                    for _ in range(1000):
                        self.wfile.write(body)
                else:
                    self.wfile.write(body)
            except OSError:  # the other side has gone
                pass

    return Handler


@contextmanager
def serving() -> Iterator[FileServer]:
    """Serves on a free port of this machine until the end."""
    state = FileServer()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
