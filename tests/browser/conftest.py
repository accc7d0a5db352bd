"""Debian's Chromium, driven by Playwright, which sees what leaves it and what goes wrong in it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from browsing import OUTPUT

# A machine that is busy takes its time.
_PATIENCE_MS = 120_000


def chromium() -> str:
    """Returns where the browser is, or skips the test that needs one."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on PATH: install Debian's package chromium to have the pages looked at in a browser")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'dltrain[dev]'")
    return found


@dataclass
class Watched:
    """A page in the browser.

    Attributes:
        requests: the addresses that it asked for, without those that stand in the page itself.
        troubles: errors of its scripts, and what the console said as an error.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def note(self, address: str) -> None:
        if not address.startswith(("data:", "blob:")):
            self.requests.append(address)

    def wait_until_drawn(self) -> None:
        self.page.wait_for_selector("html[data-plots]", state="attached")
        assert self.page.evaluate("document.documentElement.dataset.plots") == "drawn", self.troubles

    def shoot(self, name: str, part: str | None = None) -> Path:
        """Keeps a picture of the page, or of the first part that fits a selector, as ``tests/output/NAME.png``."""
        OUTPUT.mkdir(exist_ok=True)
        path = OUTPUT / f"{name}.png"
        if part is None:
            self.page.screenshot(path=str(path), full_page=True)
        else:
            self.page.locator(part).first.screenshot(path=str(path))
        return path


class Browsers:
    """Chromium with the fonts of this machine, and another without any Korean ones."""

    def __init__(self, folder: Path) -> None:
        from playwright.sync_api import sync_playwright

        self._folder, self._driver = folder, sync_playwright().start()
        self._open: dict[bool, Any] = {}

    def browser(self, *, without_korean: bool) -> Any:
        if without_korean not in self._open:
            changed = {"FONTCONFIG_FILE": str(self._few_fonts())} if without_korean else {}
            self._open[without_korean] = self._driver.chromium.launch(
                executable_path=chromium(),
                args=["--no-sandbox", "--disable-quic", "--enable-unsafe-swiftshader", "--no-first-run"],
                env={**os.environ, **changed},
            )
        return self._open[without_korean]

    def _few_fonts(self) -> Path:
        """Writes a configuration of fonts with DejaVu alone, which has no Hangul."""
        import matplotlib as mpl

        (self._folder / "fonts").mkdir(exist_ok=True)
        shutil.copy(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", self._folder / "fonts")
        path = self._folder / "fonts.conf"
        folders = f"<dir>{self._folder / 'fonts'}</dir><cachedir>{self._folder / 'cache'}</cachedir>"
        path.write_text(f"<?xml version='1.0'?><fontconfig>{folders}</fontconfig>")
        return path

    def close(self) -> None:
        for browser in self._open.values():
            browser.close()
        self._driver.stop()


@pytest.fixture(scope="session")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsers]:
    chromium()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of Playwright's own pipes
        opened = Browsers(tmp_path_factory.mktemp("browser"))
        yield opened
        opened.close()


@pytest.fixture
def look(browsers: Browsers) -> Iterator[Any]:
    """Returns a function that opens an address. No request leaves this machine: it fails, and is noted."""
    contexts = []

    def opened(address: str, *, without_korean: bool = False, width: int = 1200) -> Watched:
        context = browsers.browser(without_korean=without_korean).new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        context.set_default_timeout(_PATIENCE_MS)
        context.route(lambda url: not _stays_here(url), lambda route: route.abort())
        watched = Watched(context.new_page())
        page = watched.page
        page.on(
            "request", lambda r: watched.requests.append(r.url) if not r.url.startswith(("data:", "blob:")) else None
        )
        page.on("pageerror", lambda error: watched.troubles.append(str(error)))
        page.on("console", lambda m: watched.troubles.append(m.text) if m.type == "error" else None)
        page.goto(address)
        return watched

    yield opened
    for context in contexts:
        context.close()


def _stays_here(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:"))
