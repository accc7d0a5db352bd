"""What tests of pages in a browser share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

# Where the pictures of pages that were looked at are kept; git does not know this folder.
OUTPUT = Path(__file__).parent / "output"


def eventually(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until something is so; a page's policy forbids Playwright to wait in the page itself."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it never was so"
        time.sleep(0.1)
