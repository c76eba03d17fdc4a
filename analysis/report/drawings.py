"""All figures as SVG within the page, or the message why one can't be drawn."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from analysis.figures import FIGURES, CannotDraw, FigureKind
from analysis.figures.image_file import image_bytes
from analysis.load import Runs

#: An artist, or all patches of an axes, with more elements than this is drawn as pixels.
_DENSE = 1500

_DPI = 200


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure of the page: `source` is a `data:` address, empty where `message` says why not.

    `size` is its width and height in points, and `alt` describes it to who can't see it.
    """

    name: str
    title: str
    caption: str
    source: str = ""
    size: tuple[int, int] = (0, 0)
    alt: str = ""
    message: str = ""


def drawings(runs: Runs) -> list[Drawing]:
    """Every figure of `analysis.figures.FIGURES`, in that order."""
    return [_drawing(kind, runs) for kind in FIGURES.values()]


def _drawing(kind: FigureKind, runs: Runs) -> Drawing:
    try:
        figure = kind.draw(runs, width="page")
    except CannotDraw as error:
        return Drawing(kind.name, kind.title, kind.caption, message=str(error))
    alt = f"{kind.title}. {' '.join(_described(figure))}"
    address = "data:image/svg+xml;base64," + base64.b64encode(svg(figure).encode()).decode()
    width_in, height_in = figure.get_size_inches()
    size = round(72 * width_in), round(72 * height_in)
    return Drawing(kind.name, kind.title, kind.caption, address, size, alt)


def svg(figure: Figure) -> str:
    """The figure as an SVG document that is the same for the same figure; what is dense as pixels.

    Coordinates have two decimals, of points of 1/72 in.
    """
    for artist in _dense(figure):
        artist.set_rasterized(True)
    text = image_bytes(figure, "svg", _DPI).decode()
    text = text[text.index("<svg") :]
    return re.sub(r' d="[^"]*"', lambda found: _shortened(found.group()), text)


def _shortened(path: str) -> str:
    rounded = re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n.group()):.2f}", path)
    return re.sub(r"\s+", " ", rounded)


def _dense(figure: Figure) -> Iterator[Artist]:
    for axes in figure.findobj(Axes):
        assert isinstance(axes, Axes)
        if len(axes.patches) > _DENSE:
            yield from axes.patches
        shapes: list[Collection | Line2D] = [*axes.collections, *axes.lines]
        yield from (each for each in shapes if _elements(each) > _DENSE)


def _elements(artist: Collection | Line2D) -> int:
    """The number of markers, shapes or points of an artist."""
    if isinstance(artist, Line2D):
        return int(np.size(artist.get_xdata()))
    return max(len(np.asarray(artist.get_offsets())), len(artist.get_paths()))


def _described(figure: Figure) -> Iterator[str]:
    """What the axes of a figure show, by their titles and labels, and what its legends explain."""
    seen: list[str] = []
    for axes in figure.axes:
        title, x, y = axes.get_title(), axes.get_xlabel(), axes.get_ylabel()
        over = " over ".join(filter(None, (y, x)))
        text = ": ".join(filter(None, (_words(title), _words(over))))
        if text and text not in seen:
            seen.append(text)
    if seen:
        yield f"{'Panels' if len(seen) > 1 else 'Axes'}: {'; '.join(seen)}."
    entries = dict.fromkeys(
        _words(text.get_text()) for legend in _legends(figure) for text in legend
    )
    if entries:
        yield f"Legend: {', '.join(entries)}."


def _legends(figure: Figure) -> Iterator[Sequence[Text]]:
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return (legend.get_texts() for legend in legends if legend is not None)


def _words(text: str) -> str:
    return " ".join(text.split())
