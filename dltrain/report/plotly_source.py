"""The source of Plotly, which draws the plots of a page, as small as a browser can unpack it by itself."""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import importlib.util
import zlib
from pathlib import Path

from dltrain.errors import MachineError
from dltrain.files import cache_folder
from dltrain.run_folder import write_file

# 9 makes the page 0.3 % smaller in twice the time.
_LEVEL = 6


@functools.cache
def packed() -> str:
    """Returns the source as gzip in base64: 2.0 MB in place of 4.8.

    To pack it takes a fifth of a second, so that the bytes are kept in the user's cache for the next page; what is
    found there is taken only where it is this very source.
    """
    source = _source()
    path = cache_folder() / "report" / f"plotly-{zlib.crc32(source):08x}.js.gz"
    content = _unpacks_to(source, path)
    if content is None:
        content = gzip.compress(source, _LEVEL, mtime=0)
        with contextlib.suppress(OSError, MachineError):  # nothing but the time is lost
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, content)
    return base64.b64encode(content).decode("ascii")


def _source() -> bytes:
    """Returns the JavaScript that came with the Python package, which itself is not imported: that takes as long as
    many a page.
    """
    spec = importlib.util.find_spec("plotly")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_bytes()
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text.encode()


def _unpacks_to(source: bytes, path: Path) -> bytes | None:
    """Returns what a file holds where that is the source, packed; else None."""
    try:
        content = path.read_bytes()
        return content if gzip.decompress(content) == source else None
    except (OSError, EOFError, zlib.error):
        return None
