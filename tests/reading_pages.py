"""A report as a test reads it: its headings, tables, images and figures."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from dltrain.report import plotly_source


@dataclass
class Part:
    """A section: its text, its tables as rows of cells, the plots and the images in it."""

    text: str = ""
    tables: list[list[list[str]]] = field(default_factory=list)
    plots: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)

    @property
    def facts(self) -> dict[str, str]:
        """What its tables of two columns say."""
        return {row[0]: row[1] for table in self.tables for row in table if len(row) == 2}


class Page(HTMLParser):
    """A page.

    Attributes:
        parts: by their titles; "" is what stands before the first.
        figures: by name, with ``data`` and ``layout``.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text.replace(plotly_source.packed(), "")
        self.parts: dict[str, Part] = {"": Part()}
        self.title, self._now, self._path = "", self.parts[""], []
        self._title_of_part = ""
        self.feed(self.source)
        self.close()
        found = re.findall(r'<script type="application/json" id="figures">(.*)</script>', self.source)
        self.figures: dict[str, Any] = json.loads(found[0]) if found else {}

    @classmethod
    def of(cls, path: Path) -> Page:
        return cls(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self._now.tags.add(tag)
        if tag in ("img", "meta", "link", "br", "path", "rect"):
            if tag == "img":
                self._now.images.append(given)
            return
        self._path.append(tag)
        if tag == "h2":
            self._title_of_part = ""
        elif tag == "table":
            self._now.tables.append([])
        elif tag == "tr":
            self._now.tables[-1].append([])
        elif tag in ("td", "th"):
            self._now.tables[-1][-1].append("")
        elif tag == "h3":
            self._now.headings.append("")
        elif given.get("class") == "plot":
            self._now.plots.append(given["id"])

    def handle_endtag(self, tag: str) -> None:
        if tag in self._path:
            while self._path.pop() != tag:
                pass
        if tag == "h2":
            self._now = self.parts.setdefault(self._title_of_part, Part())

    def handle_data(self, data: str) -> None:
        if "script" in self._path or "style" in self._path:
            return
        if self._path[-1:] == ["h1"]:
            self.title += data
        if "h2" in self._path:
            self._title_of_part += data
            return
        if "h3" in self._path:
            self._now.headings[-1] += data
        if "td" in self._path or "th" in self._path:
            self._now.tables[-1][-1][-1] += data
        self._now.text += data

    def traces(self, name: str) -> dict[str, dict[str, Any]]:
        """Returns the traces of a plot by their names."""
        return {trace.get("name", ""): trace for trace in self.figures[name]["data"]}
