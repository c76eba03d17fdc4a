"""Figures as image files: their formats, and that the same figure gives the same bytes."""

from __future__ import annotations

import gzip
import io
import re
import time

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from analysis.figures.image_file import image_bytes, image_formats
from analysis.figures.style import WIDTHS_IN, new_figure, styled

BEGINNINGS = {
    "pdf": rb"%PDF-",
    "svg": rb"<\?xml",
    "svgz": rb"\x1f\x8b",
    "png": rb"\x89PNG",
    "eps": rb"%!PS-Adobe-3.0 EPSF",
    "jpg": rb"\xff\xd8\xff",
    "jpeg": rb"\xff\xd8\xff",
    "tif": rb"II\*\x00|MM\x00\*",
    "tiff": rb"II\*\x00|MM\x00\*",
    "webp": rb"RIFF....WEBP",
    "gif": rb"GIF8",
    "avif": rb"....ftypavif",
}


@styled
def drawn() -> Figure:
    figure = new_figure("column", 2.0)
    axes = figure.subplots()
    axes.bar(["a", "b"], [1, 2], hatch="//")
    axes.plot([0, 1], [1, 2], clip_path=axes.patch)
    axes.set_title("Energy (J)")
    return figure


def test_the_formats_that_papers_take_are_there() -> None:
    assert {"pdf", "svg", "png", "eps", "tif"} <= set(image_formats()) <= BEGINNINGS.keys()


@pytest.mark.parametrize("image_format", image_formats())
def test_a_file_is_of_its_format_and_the_same_later(
    image_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = image_bytes(drawn(), image_format)
    assert re.match(BEGINNINGS[image_format], content, re.DOTALL)
    a_day_later = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: a_day_later)
    monkeypatch.setattr(time, "ctime", lambda: "Mon Jan  1 00:00:00 2001")
    assert image_bytes(drawn(), image_format) == content


@pytest.mark.parametrize("image_format", ["pdf", "svg", "svgz", "eps"])
def test_no_file_has_a_date(image_format: str) -> None:
    content = image_bytes(drawn(), image_format)
    text = gzip.decompress(content) if image_format == "svgz" else content
    assert not re.search(rb"CreationDate|ModDate|<dc:date>", text)


def test_texts_of_users_are_drawn_as_they_are_and_powers_without_markup() -> None:
    @styled
    def with_texts() -> Figure:
        figure = new_figure("column", 2.0)
        axes = figure.subplots()
        axes.loglog([1e-4, 1e2], [1.0, 3.0])
        axes.set_title(r"$\frac$ and $x$")
        return figure

    figure = with_texts()
    image_bytes(figure, "svg")
    assert figure.axes[0].title.get_text() == r"$\frac$ and $x$"
    texts = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert {"10⁻⁴", "10⁰", "10²"} <= set(texts)
    texts = [label.get_text() for label in figure.axes[0].get_yticklabels(which="both")]
    assert "2×10⁰" in texts


def test_the_resolution_is_that_of_the_width_in_inches() -> None:
    pixels = matplotlib.image.imread(io.BytesIO(image_bytes(drawn(), "png", dpi=200)))
    assert pixels.shape[:2] == (400, int(WIDTHS_IN["column"] * 200))


def test_another_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no format 'docx'; there are .*pdf.*svg"):
        image_bytes(drawn(), "docx")
