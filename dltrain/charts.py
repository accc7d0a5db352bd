"""Charts as SVG, drawn by Matplotlib: one style for all, and letters that are shapes, so that Korean shows anywhere.

Matplotlib is imported where a chart is drawn and nowhere else, and its state of the process is left as it was.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from dltrain import fonts
from dltrain.files import cache_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart by people who do not see all colours, too (Okabe and Ito 2008), the darkest first.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")

_PER_INCH = 100


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Lets what is drawn inside look as all charts of dltrain do."""
    # Where Matplotlib keeps what fonts there are; by itself it would make two folders in the user's home.
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    import matplotlib as mpl
    from cycler import cycler

    settings: dict[str, Any] = {
        "font.family": ["DejaVu Sans", _korean()],
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=COLORS),
        "axes.titlesize": 11,
        "axes.edgecolor": "#555555",
        "grid.color": "#e3e6ea",
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "figure.dpi": _PER_INCH,
        "svg.fonttype": "path",
        "svg.hashsalt": "dltrain",  # the same chart is the same file
        "text.parse_math": False,  # a name may hold a dollar sign
    }
    with mpl.rc_context(cast(Any, settings)):  # whose type is a list of all names there are
        yield


def new(width: int, height: int) -> Figure:
    """Returns an empty figure of a size in pixels; called inside ``style``. Its axes never overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / _PER_INCH, height / _PER_INCH), layout="constrained", facecolor="white")


def svg(figure: Figure) -> str:
    """Returns a figure as SVG; called inside ``style``."""
    return _written(figure, "svg", metadata={"Date": None, "Creator": "dltrain"}).decode("utf-8")


def png(figure: Figure) -> bytes:
    """Returns a figure as PNG, twice as fine as its size says; called inside ``style``."""
    return _written(figure, "png", dpi=2 * _PER_INCH)


def _written(figure: Figure, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, **options)
    return stream.getvalue()


@functools.cache
def _korean() -> str:
    """Makes the font that comes with dltrain known to Matplotlib, and returns its name."""
    from matplotlib import font_manager

    font_manager.fontManager.addfont(fonts.HANGUL)
    return font_manager.FontProperties(fname=str(fonts.HANGUL)).get_name()
