"""Figures as the bytes of image files; the same figure gives the same bytes."""

from __future__ import annotations

import gzip
import io
import re

import matplotlib as mpl
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from analysis.figures.style import RC

__all__ = ["image_bytes", "image_formats"]

#: Formats of matplotlib that aren't offered: `pgf` needs LaTeX, `ps` is `eps` without a size, and
#: no program opens raw pixels by their suffix.
_NOT_OFFERED = {"pgf", "ps", "raw", "rgba"}

#: What a file would otherwise say about the time at which it was written.
_NO_DATE: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def image_formats() -> tuple[str, ...]:
    """The formats that can be written, such as `pdf`, by the suffixes of their files."""
    return tuple(sorted(FigureCanvasBase.get_supported_filetypes().keys() - _NOT_OFFERED))


def image_bytes(figure: Figure, image_format: str, dpi: int = 300) -> bytes:
    """The figure as the content of a file of this format.

    `dpi` is the resolution (dots per inch) of raster formats, and of what is drawn as raster in the
    others. No file contains a date. Raises `ValueError` for a format that is not among
    `image_formats()`.
    """
    if image_format not in image_formats():
        raise ValueError(f"no format {image_format!r}; there are {', '.join(image_formats())}")
    if image_format == "svgz":
        return gzip.compress(image_bytes(figure, "svg", dpi), mtime=0)
    file = io.BytesIO()
    with mpl.rc_context({**mpl.rcParamsDefault, **RC, "backend": "agg"}):
        figure.savefig(file, format=image_format, dpi=dpi, metadata=_NO_DATE.get(image_format))
    content = file.getvalue()
    if image_format == "eps":  # matplotlib has no option for it
        return re.sub(rb"^%%CreationDate: .*\n", b"", content, count=1, flags=re.MULTILINE)
    return content
