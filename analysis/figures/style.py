"""The style that all figures share: sizes, colours, line styles and units.

Colours are those of Okabe and Ito (2008), which people with any colour-vision deficiency can tell
apart; wherever colour carries meaning, hatching, markers or line styles carry it as well, so that a
figure can be read in grey.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterMathtext, LogFormatterSciNotation, MaxNLocator

P = ParamSpec("P")

#: A column of a two-column paper (IEEE: 252 pt), or the width of a page.
Width = Literal["column", "page"]

WIDTHS_IN: dict[Width, float] = {"column": 3.5, "page": 7.16}

BLACK, GREY = "#000000", "#7f7f7f"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

#: The colour, marker and line style of each bundled scheme, the same in every figure.
_SCHEMES: dict[str, tuple[str, str, str]] = {
    "collapipe": (BLUE, "o", "-"),
    "titanic": (ORANGE, "s", "--"),
    "pipeline": (GREEN, "^", "-."),
    "vanilla_fl": (VERMILION, "D", ":"),
    "oracle": (BLACK, "P", "-"),
    "local": (PURPLE, "v", "--"),
}

#: Those of further schemes, in the order in which they appear.
_OTHERS = ((SKY, "X", "-."), (GREY, "*", ":"), (YELLOW, "<", "--"), (PURPLE, ">", "-"))

#: The colour and hatching of each phase of a round.
PHASES: dict[str, tuple[str, str]] = {
    "sounding": (GREY, ""),
    "broadcast": (SKY, "//"),
    "pipeline": (BLUE, ""),
    "gather": (ORANGE, "\\\\"),
    "upload": (VERMILION, "xx"),
    "aggregate": (BLACK, ""),
}

#: The colour and hatching of each kind of computation in a timeline.
COMPUTATIONS: dict[str, tuple[str, str]] = {
    "F": (BLUE, ""),
    "B": (ORANGE, ""),
    "step": (BLACK, ""),
    "aggregate": (GREY, "////"),
}

#: The colour of each kind of transfer in a timeline.
TRANSFERS: dict[str, str] = {
    "sounding": "#b0b0b0",
    "model": GREEN,
    "activation": SKY,
    "labels": BLACK,
    "gradient": VERMILION,
    "parameters": PURPLE,
}

#: The marker and line style of each kind of transfer, in the order of a round.
_KINDS: dict[str, tuple[str, str]] = {
    "sounding": ("x", ":"),
    "model": ("s", "-"),
    "labels": ("P", ":"),
    "activation": ("o", "-"),
    "gradient": ("^", "--"),
    "parameters": ("D", "-."),
}

#: The colour and hatching of each component of a node's energy.
ENERGIES: dict[str, tuple[str, str]] = {
    "idle": (BLUE, ""),
    "compute": (GREY, ""),
    "send": (SKY, "//"),
    "receive": (YELLOW, "\\\\"),
}

RC: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "collapipe-ns3",  # the same figure, the same bytes
    "pdf.fonttype": 42,  # text in PDF stays text
    "text.parse_math": False,  # names of runs, studies and metrics may have `$`
}

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class CannotDraw(ValueError):
    """A figure that these runs have no data for; the message says what is missing."""


def scheme_style(scheme: str, schemes: Sequence[str] = ()) -> tuple[str, str, str]:
    """The colour, marker and line style of a scheme.

    Those of a scheme that is not bundled depend on its place among the others of `schemes`.
    """
    if scheme in _SCHEMES:
        return _SCHEMES[scheme]
    others = [name for name in dict.fromkeys(schemes) if name not in _SCHEMES]
    return _OTHERS[others.index(scheme) % len(_OTHERS) if scheme in others else 0]


def group_style(by: str, name: str, names: Sequence[str]) -> tuple[str, str, str]:
    """The colour, marker and line style of one of these schemes, or kinds of transfer."""
    if by == "kind" and name in _KINDS:
        return TRANSFERS[name], *_KINDS[name]
    return scheme_style(name, names)


def in_order(by: str, names: Iterable[str]) -> list[str]:
    """The schemes in the order in which they appear, or kinds of transfer in that of a round."""
    found = list(dict.fromkeys(names))
    known = list(_KINDS) if by == "kind" else []
    return sorted(found, key=lambda name: known.index(name) if name in known else len(known))


def new_figure(width: Width, height_in: float) -> Figure:
    """An empty figure of a paper's width, with a layout that keeps labels apart."""
    return Figure(figsize=(WIDTHS_IN[width], height_in), layout="constrained")


def number_rounds(axes: Axes) -> None:
    """Whole numbers on the axis of rounds, also where there is only one round."""
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    left, right = axes.get_xlim()
    if right - left < 1:
        axes.set_xlim((left + right) / 2 - 0.6, (left + right) / 2 + 0.6)


def legend_columns(width: Width, labels: Sequence[str]) -> int:
    """The number of columns of a legend across the figure, so that the longest label fits."""
    entry_in = 0.5 + 0.062 * max(map(len, labels), default=0)
    return max(1, min(len(labels), int(WIDTHS_IN[width] / entry_in)))


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws a figure, with the shared settings of matplotlib during the call."""

    @functools.wraps(function)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context({**mpl.rcParamsDefault, **RC, "backend": "agg"}):
            figure = function(*args, **kwargs)
            for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
                if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
                    axis.set_major_formatter(PlainPowers())
                if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
                    axis.set_minor_formatter(PlainPowers())
            return figure

    return drawn


class PlainPowers(LogFormatterSciNotation):
    """Numbers on a logarithmic axis, such as `10⁻⁴`, without the notation of mathematics."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = super().__call__(x, pos).replace(r"\times", "×")
        text = re.sub(r"\^\{([-\d]+)\}", lambda found: found[1].translate(_SUPERSCRIPTS), text)
        return text.removeprefix(r"$\mathdefault{").removesuffix("}$")
