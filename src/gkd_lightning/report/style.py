"""One look for every figure: quiet greys, one accent for the method the report is about, no boxes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import cycle
from typing import NamedTuple

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gkd_lightning.evaluate import Role

PAPER, INK, MUTED, RULE, PALE, ACCENT = "#ffffff", "#1f2328", "#6b7178", "#e3e4e1", "#eeeeec", "#d9480f"
GREYS = ("#8a9097", "#565d65")
_CSS = {PAPER: "var(--paper)", INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", ACCENT: "var(--accent)"}
_CSS |= {grey: f"var(--grey{index})" for index, grey in enumerate(GREYS)}


@cache
def _font() -> str:
    """The first of these that the machine has; matplotlib brings DejaVu Sans along."""
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    wanted = ("Inter", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "Noto Sans")
    return next((name for name in wanted if name in installed), "DejaVu Sans")


@contextmanager
def style() -> Iterator[None]:
    """Inside the block figures get our fonts, colours and hairlines."""
    settings = {
        "font.family": [_font(), "DejaVu Sans"],
        "font.size": 8.5,
        "text.color": INK,
        "axes.edgecolor": RULE,
        "axes.labelcolor": MUTED,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.titlecolor": INK,
        "axes.spines.left": False,
        "axes.axisbelow": True,
        "grid.color": RULE,
        "grid.linewidth": 0.7,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "lines.linewidth": 1.4,
        "lines.solid_capstyle": "round",
        "svg.fonttype": "none",
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
    }
    with matplotlib.rc_context(settings):
        yield


class Look(NamedTuple):
    """How a method is drawn everywhere."""

    colour: str
    dash: tuple[int, tuple[float, ...]] | str = "solid"


def looks(methods: Sequence[tuple[str, Role]], highlight: str) -> dict[str, Look]:
    """The accent for `highlight`, dotted ink for the first teacher, greys for all others, in their order."""
    teacher = next((method for method, role in methods if role == "teacher"), None)
    greys = cycle(Look(grey, dash) for dash in ("solid", (0, (4, 2)), (0, (1, 1.5))) for grey in GREYS)
    return {
        method: Look(ACCENT) if method == highlight else Look(INK, (0, (1, 1.8))) if method == teacher else next(greys)
        for method, _ in methods
    }


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, apart from pyplot's global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def picture_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes for a picture or a text, without frame; the box is in inches from the top left corner."""
    total_width, total_height = figure.get_size_inches()
    box = (left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height)
    axes = figure.add_axes(box)
    axes.set_axis_off()
    return axes


def png(figure: Figure, dpi: int = 200) -> bytes:
    """The figure as PNG; its size in pixels is its size in inches times `dpi`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor=PAPER, metadata={"Software": None})
    return buffer.getvalue()


def themed_svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for a page that defines our colours as CSS variables (light and dark).

    `name` keeps the identifiers of several figures on one page apart. The element refers to nothing outside.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for unwanted in (
        r"\s*<metadata>.*?</metadata>",
        r"\s*<style.*?</style>",
        r'\s(xmlns|xmlns:xlink|version)="[^"]*"',
        r'(?<=<svg )(width="[^"]*" height="[^"]*" )',
        r'\sid="(figure|axes|patch|line2d|text|xtick|ytick|legend|matplotlib\.axis|[A-Za-z]*Collection)_\d+"',
        r"font-family: [^;\"]*;?\s?",
    ):
        text = re.sub(unwanted, "", text, flags=re.DOTALL)
    for colour, variable in _CSS.items():
        text = text.replace(colour, variable)
    return text.strip()
