"""The page of a report: one HTML file that loads nothing from anywhere, with plots that Plotly draws.

What is in it may come from a run that somebody sent: each text is escaped, and the page's own policy lets the browser
run no script but its own and fetch nothing at all.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain import fonts
from dltrain.report import plotly_source
from dltrain.report.markup import Html, escaped
from dltrain.run_folder import json_text, write_file

# The first one comes with the page, and has nothing but the Korean letters in it: no machine lacks them then. Last in
# the list, it would come too late for Chromium, which draws boxes for what it has laid out before a font is loaded.
FONTS = f'"{fonts.FAMILY}", system-ui, "Segoe UI", Roboto, "Noto Sans KR", sans-serif'

# What a page of paper is wide, and a half of it, in pixels.
_PAPER = 700


@dataclass(frozen=True)
class Chart:
    """A plot.

    Attributes:
        name: in the page, such as "loss"; of letters, digits and "-".
        figure: ``data`` and ``layout`` as JSON, as Plotly takes them.
        label: what it shows, in words for whoever does not see it.
        height: in pixels.
        least_width: below which it is scrolled.
        compiles: whether Plotly makes code for it in the browser, as it does for lines of WebGL (parallel coordinates),
            which the page's policy has to allow.
    """

    name: str
    figure: str
    label: str
    height: int
    least_width: int = 0
    compiles: bool = False


@dataclass(frozen=True)
class Grid:
    """Plots beside each other, as far as there is room."""

    charts: Sequence[Chart]


Block = Html | Chart | Grid


@dataclass(frozen=True)
class Section:
    """A part of a page, with a heading of its own."""

    title: str
    blocks: Sequence[Block]

    @property
    def charts(self) -> Iterator[Chart]:
        for block in self.blocks:
            if isinstance(block, Grid):
                yield from block.charts
            elif isinstance(block, Chart):
                yield block


def figure(data: Sequence[dict[str, Any]], layout: dict[str, Any]) -> str:
    """Returns a figure as JSON. NaN and infinity become null, which is not drawn."""
    return json_text({"data": data, "layout": layout})


def write(
    path: Path, title: str, lead: Sequence[Block], sections: Sequence[Section], *, contents: bool = False
) -> None:
    """Writes a page, whole or not at all.

    Args:
        lead: what stands below the title.
        contents: whether links to the sections stand there too.

    Raises:
        MachineError: it cannot be written.
    """
    write_file(path, text(title, lead, sections, contents=contents))


def text(title: str, lead: Sequence[Block], sections: Sequence[Section], *, contents: bool = False) -> str:
    """Returns a page; see ``write``."""
    charts = [chart for section in (Section("", lead), *sections) for chart in section.charts]
    repeated = [name for name, count in Counter(chart.name for chart in charts).items() if count > 1]
    assert not repeated, f"two plots are named {repeated}"
    body = "\n".join(
        [
            f"<h1>{escaped(title)}</h1>",
            *map(_block, lead),
            _contents(sections) if contents else "",
            *(_section(place, section) for place, section in enumerate(sections)),
        ]
    )
    figures = ",".join(f"{json.dumps(chart.name)}:{chart.figure}" for chart in charts)
    nonce = secrets.token_hex(16)  # an injected script cannot know it
    compiling = " 'unsafe-eval'" if any(chart.compiles for chart in charts) else ""
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'{compiling}; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:"
    )
    letters = fonts.font_face("".join({*body, *figures}))
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escaped(title)}</title>\n<style>\n{letters}{_STYLE}\n</style>\n</head>\n<body>\n<main>",
            body,
            "</main>",
            *(_drawing(figures, nonce) if charts else ()),
            f'<script nonce="{nonce}">{_PRINTING}</script>\n</body>\n</html>\n',
        ]
    )


def _contents(sections: Sequence[Section]) -> str:
    links = " · ".join(f'<a href="#part-{place}">{escaped(s.title)}</a>' for place, s in enumerate(sections))
    return f'<nav aria-label="Contents">{links}</nav>'


def _section(place: int, section: Section) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    return f'<section id="part-{place}">\n<h2>{escaped(section.title)}</h2>\n{blocks}\n</section>'


def _block(block: Block) -> str:
    if isinstance(block, Grid):
        return f'<div class="grid">\n{"".join(map(_block, block.charts))}</div>'
    if isinstance(block, Chart):
        size = f"height: {block.height}px" + (f"; min-width: {block.least_width}px" if block.least_width else "")
        return (
            f'<div class="wide"><div class="plot" id="{escaped(block.name)}" role="img" '
            f'aria-label="{escaped(block.label)}" style="{size}"></div></div>\n'
        )
    return block


def _drawing(figures: str, nonce: str) -> Iterable[str]:
    """Returns what draws the plots: the figures, Plotly, and what puts one into the other."""
    return (
        '<noscript><p class="notice">The plots need JavaScript, which this browser does not run.</p></noscript>',
        f'<script type="application/json" id="figures">{{{_harmless(figures)}}}</script>',
        f'<script type="text/plain" id="plotly">{plotly_source.packed()}</script>',
        f'<script nonce="{nonce}">{_SCRIPT}</script>',
    )


def _harmless(as_json: str) -> str:
    """Returns JSON in which nothing can end the script element that it stands in."""
    return as_json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


_STYLE = """
body { font: 16px/1.5 FONTS; color: #222; background: #fff; margin: 0 auto; padding: 1rem; max-width: 72rem }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere }
h2 { margin-top: 2.5rem }
h3 { margin: 1.5rem 0 .5rem }
nav { font-size: .875rem; margin: 1rem 0 }
a { color: #0059a3 }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
caption { text-align: left; padding: .25rem 0 }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
th, td { white-space: nowrap }
.long { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 14rem; max-width: 30rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0; font-size: .8125rem; line-height: 1.4 }
pre, code { font-family: ui-monospace, "DejaVu Sans Mono", Consolas, monospace, FONTS }
pre b { font-weight: normal; color: #0059a3 }
.commands { background: #f3f5f8; padding: .5rem .75rem }
.number { text-align: right }
.small { font-size: .875rem; color: #555; margin: .5rem 0 }
.columns { columns: 2 22rem }
.notice { background: #fff4d6; padding: .5rem .75rem; margin: .5rem 0; overflow-wrap: anywhere; white-space: pre-wrap }
.wide { overflow-x: auto }
.wide + .wide { margin-top: 1rem }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1rem }
.grid > * { min-width: 0 }
.grid > .wide + .wide { margin-top: 0 }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: .75rem 0 }
.cards figure { margin: 0; width: 8.5rem; font-size: .8125rem; line-height: 1.35; overflow-wrap: anywhere }
.cards img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; border: 1px solid #ddd }
.right { color: #104e8b }
.wrong, .failed { color: #a11 }
.drawing svg { max-width: 100%; height: auto; display: block }
.drawing svg text { font-family: FONTS }
.y-axis text { paint-order: stroke; stroke: #fff; stroke-width: 3px }
@media print {
  body { font-size: 10pt; max-width: none; padding: 0 }
  @page { margin: 1cm }
  tr, figure, .plot, .drawing, .notice { break-inside: avoid }
  h1, h2, h3, caption, h2 + p { break-after: avoid }
  nav, .hint, .modebar, .updatemenu-container, details:not([open]) { display: none }
  .wide { overflow: visible }
  .grid { display: block }
  .drawing svg { max-height: 24cm }
  .notice, .commands { border: 1px solid #999 }
}
""".replace("FONTS", FONTS).strip()

_SCRIPT = """
(async (nonce) => {
  const places = document.querySelectorAll(".plot");
  try {
    if (typeof DecompressionStream === "undefined")
      throw new Error("this browser is too old. Chrome 80, Firefox 113 and Safari 16.4 can do it");
    const packed = atob(document.getElementById("plotly").textContent);
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const script = document.createElement("script");
    script.nonce = nonce;
    const source = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    script.textContent = await new Response(source).text();
    document.head.append(script);
    await document.fonts.load("1em dltrain-hangul", "가").catch(() => {});
    const figures = JSON.parse(document.getElementById("figures").textContent);
    for (const place of places) {
      const figure = figures[place.id], isFlat = !figure.data.some((trace) => trace.type === "parcoords");
      await Plotly.newPlot(place, figure.data, figure.layout, {
        responsive: true, modeBarButtons: [[...(isFlat ? ["resetScale2d"] : []), "toImage"]],
        displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
      });
    }
    document.documentElement.dataset.plots = "drawn";
  } catch (error) {
    document.documentElement.dataset.plots = "failed";
    for (const place of places) {
      place.classList.add("notice");
      place.style.height = "auto";
      place.textContent = `The plot cannot be drawn: ${error.message}.`;
    }
    console.error(error);
  }
})(document.currentScript.nonce);
""".strip()

_PRINTING = """
// Paper has no scroll bar: plots are drawn anew for its width, and what is wider than a page is made smaller for it.
const wide = document.querySelectorAll(".wide > *");
const plots = () => [...document.querySelectorAll(".js-plotly-plot")];
addEventListener("beforeprint", () => {
  for (const plot of plots()) if (plot.offsetWidth > PAPER) Plotly.relayout(plot, { width: PAPER });
  for (const e of wide) e.style.zoom = e.style.minWidth || !e.id ? Math.min(1, PAPER / e.offsetWidth) : "";
});
addEventListener("afterprint", () => {
  for (const e of wide) e.style.zoom = "";
  for (const plot of plots()) Plotly.relayout(plot, { width: null, autosize: true });
});
""".replace("PAPER", str(_PAPER)).strip()
