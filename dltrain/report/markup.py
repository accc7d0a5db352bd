"""Pieces of HTML. Whatever is put into one is escaped, unless it is ``Html`` already."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

# A cell with more letters than this is folded into lines.
_LONG = 40


class Html(str):
    """What may stand in a page as it is. Made here, and where each piece that came from elsewhere is escaped."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """Returns a value as it is seen, in an element or in an attribute with quotes."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def joined(pieces: Iterable[object], between: str = "\n") -> Html:
    return Html(between.join(map(escaped, pieces)))


def paragraph(text: str, kind: str = "") -> Html:
    """Returns a paragraph.

    Args:
        kind: its class in the page's style: "notice" or "small".
    """
    return Html(f"<p{_class(kind)}>{escaped(text)}</p>")


def heading(text: str) -> Html:
    """Returns a heading inside a section."""
    return Html(f"<h3>{escaped(text)}</h3>")


def code(text: str) -> Html:
    """Returns a block of text with the lines and spaces that it has."""
    return Html(f"<pre>{escaped(text)}</pre>")


def details(summary: str, body: Html) -> Html:
    """Returns what is shown when a person asks for it."""
    return Html(f"<details><summary>{escaped(summary)}</summary>\n{body}\n</details>")


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[int] = (), caption: str = ""
) -> Html:
    """Returns a table whose first column names its rows.

    Args:
        numbers: the places of the columns that are set to the right.
        caption: what the table shows, where no heading says it.
    """
    right = set(numbers)
    titles = "".join(
        f'<th scope="col"{_class("number" if place in right else "")}>{escaped(title)}</th>'
        for place, title in enumerate(header)
    )
    lines = [f"<tr>{_row(row, right)}</tr>" for row in rows]
    above = f"<caption>{escaped(caption)}</caption>\n" if caption else ""
    body = "\n".join(lines)
    return Html(
        f'<div class="wide"><table>\n{above}<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
    )


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """Returns a table of two columns: what something is called, and what it is."""
    lines = [
        f'<tr><th scope="row"{_kind(name, False)}>{escaped(name)}</th>{_cell(value)}</tr>' for name, value in pairs
    ]
    return Html('<div class="wide"><table>\n<tbody>\n' + "\n".join(lines) + "\n</tbody>\n</table></div>")


def picture(content: bytes, alt: str, width: int, height: int) -> Html:
    """Returns an image that stands in the page itself.

    Args:
        content: of a PNG file.
        width, height: in pixels of the page; the image may have others.
    """
    data = base64.b64encode(content).decode("ascii")
    return Html(f'<img src="data:image/png;base64,{data}" alt="{escaped(alt)}" width="{width}" height="{height}">')


def _row(row: Sequence[object], right: set[int]) -> str:
    first = f'<th scope="row"{_kind(row[0], 0 in right)}>{escaped(row[0])}</th>'
    return first + "".join(_cell(value, place in right) for place, value in enumerate(row[1:], 1))


def _cell(value: object, is_number: bool = False) -> str:
    return f"<td{_kind(value, is_number)}>{escaped(value)}</td>"


def _kind(value: object, is_number: bool) -> str:
    is_long = not isinstance(value, Html) and len(str(value)) > _LONG
    return _class("number" if is_number else "long" if is_long else "")


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
