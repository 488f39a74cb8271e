"""How figures look: colours with shapes, sizes, and files whose bytes depend on the data alone.

The colours are those of Okabe and Ito (2008), which readers with any common form of colour
blindness can tell apart; a shape or a line style always says the same as the colour.
"""

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from distillbench.reports.numbers import short

INK = "#1a1a1a"
QUIET = "#6b6b6b"
GRID = "#e4e4e4"
PAPER = "#ffffff"
WIDTH = 7.0
DPI = 150

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "8")
_LINES: tuple[Any, ...] = ("--", "-.", ":", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a name may hold dollar signs
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 2.4,
    "figure.facecolor": PAPER,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
}


class NothingToDrawError(ValueError):
    """The data hold nothing that the figure could show; the message says what is missing."""


@dataclass(frozen=True)
class Look:
    """How one method or model is drawn."""

    colour: str
    marker: str
    line: Any


CONTROL_LOOK = Look(QUIET, "o", "-")
TEACHER_LOOK = Look(INK, "*", "-")


def looks(names: Iterable[str], control: str | None = None) -> dict[str, Look]:
    """Return a look for each name; the control, which the others are compared with, is grey."""
    found: dict[str, Look] = {}
    for name in dict.fromkeys(names):
        i = len(found) - (control in found)
        own = Look(
            _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)]
        )
        found[name] = CONTROL_LOOK if name == control else own
    return found


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style, whatever the user's matplotlib is set to."""
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; the tables beside hold its text.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def new_figure(height: float) -> Figure:
    """Return an empty figure as wide as a column, `height` inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def png(figure: Figure, alt: str) -> bytes:
    """Return a figure as PNG, with its text alternative in the description."""
    stream = io.BytesIO()
    with styled():
        figure.savefig(stream, format="png", metadata={"Software": None, "Description": alt})
    return stream.getvalue()


def label(name: str, limit: int = 22) -> str:
    """Return a name for use in a figure: one line, not too long."""
    text = " ".join(name.split())
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return f" {text}" if text.startswith("_") else text  # matplotlib hides a leading underscore


def listed(parts: Sequence[str], limit: int = 12) -> str:
    """Return parts of a text alternative in one line; beyond a limit they are only counted."""
    more = [f"and {len(parts) - limit} more"] if len(parts) > limit else []
    return "; ".join([*parts[:limit], *more])


def frame(means: Sequence[float], ends: Sequence[float]) -> tuple[float, float]:
    """Return axis limits that show all means, and intervals as far as they leave room for these."""
    low, high = min(means), max(means)
    room = 1.5 * (high - low) or 0.02 * abs(high) or 1.0
    low, high = max(min([low, *ends]), low - room), min(max([high, *ends]), high + room)
    pad = 0.08 * (high - low) or 0.05 * room
    return low - pad, high + pad


def scale_axis(axes: Axes, values: Sequence[float]) -> None:
    """Scale the x axis to positive values: by decades where they span more than one."""
    low, high = min(values), max(values)
    if high >= 10 * low:
        axes.set_xscale("log")
        margin = (high / low) ** 0.08
        axes.set_xlim(low / margin, high * margin)
        subs = (1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs))
        axes.minorticks_off()
    else:
        pad = 0.1 * (high - low) or 0.1 * high
        axes.set_xlim(low - pad, high + pad)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def tick(value: float) -> str:
    """Return a tick's text without powers of ten and without needless zeros."""
    text, space, prefix = short(value).partition(" ")
    return (text.rstrip("0").rstrip(".") if "." in text else text) + space + prefix
