"""The map has the nodes at their places, and the links of the plan coloured by their SINR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Annotation
from synthetic_runs import write_run

from analysis import Runs, load
from analysis.figures.labels import place_labels
from analysis.figures.site_map import _scale, site_map
from analysis.figures.style import GREY, CannotDraw, Width, new_figure

_PLACES = {"bs": (0.0, 0.0), "c0.cu": (100.0, 50.0), "c0.d0": (104.0, 50.0), "c0.d1": (98.0, 47.0)}
_ROLES = {"bs": "base station", "c0.cu": "control unit", "x": "interferer"}


def _nodes(
    places: Mapping[str, tuple[float, float]], number: int = 0, moves_m: float = 0.0
) -> list[dict[str, object]]:
    """Rows of the table; all nodes of clusters move east."""
    return [
        {
            "round": number,
            "node": name,
            "role": _ROLES.get(name, "device"),
            "cluster": int(name[1]) if name[0] == "c" else -1,
            "x_m": x + number * moves_m * (name[0] == "c"),
            "y_m": y,
            "end_x_m": x + (number + 1) * moves_m * (name[0] == "c"),
            "end_y_m": y,
        }
        for name, (x, y) in places.items()
    ]


def _plan(*links: tuple[str, str]) -> dict[str, object]:
    """`c0.d0` has the blocks 0 to 3; `c0.d1` has none."""
    stage = {"device": "c0.d0", "first": 0, "last": 3}
    pipeline = {"stages": [stage], "micro_batches": 4, "schedule": "gpipe", "share": 1.0}
    clusters = [{"cluster": 0, "pipelines": [pipeline]}]
    return {"clusters": clusters, "links": [{"src": src, "dst": dst} for src, dst in links]}


def _sent(src: str, dst: str, sinr_db: float, airtime_s: float) -> dict[str, object]:
    return {"src": src, "dst": dst, "bytes": 9, "sinr_db": sinr_db, "airtime_s": airtime_s}


def _runs(folder: Path, **tables: Sequence[Mapping[str, object]]) -> Runs:
    plans = tables.pop("plans", [_plan()])
    return load(write_run(folder / "run", rounds=len(plans), plans=plans, **tables))


def _arrows(axes: Axes) -> list[str]:
    """The colours of the arrows, in the order in which they were drawn."""
    return [to_hex(p.get_edgecolor()) for p in axes.patches if isinstance(p, FancyArrowPatch)]


def _markers(axes: Axes) -> list[tuple[float, float, str]]:
    """The place and marker of each node."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", "")]
    return [(float(x.get_xdata()[0]), float(x.get_ydata()[0]), str(x.get_marker())) for x in lines]


def _texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_nodes_are_at_their_places_with_what_they_hold(tmp_path: Path) -> None:
    site, detail = site_map(_runs(tmp_path, nodes=_nodes(_PLACES))).axes[:2]
    cluster = [(100.0, 50.0, "s"), (104.0, 50.0, "o"), (98.0, 47.0, "o")]
    assert _markers(site) == [(0.0, 0.0, "^"), *cluster]
    assert _markers(detail) == cluster
    assert _texts(detail) == ["0", "2 m", "cu", "d0: 0–3", "d1"]
    faces = [to_hex(line.get_markerfacecolor()) for line in detail.lines[:3]]
    assert faces[2] == "#ffffff" != faces[1]
    assert detail.get_title() == "cluster 0\ngpipe, 4 micro-batches"
    assert site.get_aspect() == detail.get_aspect() == 1.0


def test_links_are_coloured_by_the_sinr_of_their_transfers(tmp_path: Path) -> None:
    """A mean weighted by airtime; else the SINR last measured; else grey."""
    pairs = [("c0.cu", "c0.d0"), ("c0.d0", "c0.cu"), ("bs", "c0.cu"), ("c0.cu", "bs")]
    runs = _runs(
        tmp_path,
        nodes=_nodes(_PLACES),
        plans=[_plan(*pairs)],
        transfers=[_sent("c0.cu", "c0.d0", 10.0, 0.3), _sent("c0.cu", "c0.d0", 30.0, 0.1)],
        links=[{"src": src, "dst": dst, "sinr_db": 35.0} for src, dst in (pairs[0], pairs[2])],
    )
    site, detail = site_map(runs).axes[:2]
    colour = {sinr: to_hex(_scale().to_rgba(np.array([sinr]))[0]) for sinr in (15.0, 35.0)}
    assert _arrows(detail) == [colour[15.0], GREY]
    assert _arrows(site) == [colour[35.0], GREY]


def test_a_multicast_is_drawn_as_the_links_to_its_receivers(tmp_path: Path) -> None:
    runs = _runs(
        tmp_path,
        nodes=_nodes(_PLACES),
        plans=[_plan(("c0.cu", "c0.d0+c0.d1"))],
        transfers=[_sent("c0.cu", "c0.d0", 15.0, 0.3), _sent("c0.cu", "c0.d1", 35.0, 0.3)],
    )
    colours = [to_hex(_scale().to_rgba(np.array([sinr]))[0]) for sinr in (15.0, 35.0)]
    assert _arrows(site_map(runs).axes[1]) == colours


def test_ways_are_those_of_all_rounds_and_of_the_round(tmp_path: Path) -> None:
    nodes = [row for number in range(3) for row in _nodes(_PLACES, number, 5.0)]
    runs = _runs(tmp_path, nodes=nodes, plans=[_plan()] * 3)
    site, detail = site_map(runs, round_number=1).axes[:2]
    assert np.asarray(site.lines[0].get_xdata()).tolist() == [100.0, 105.0, 110.0, 115.0]
    assert np.asarray(detail.lines[0].get_xdata()).tolist() == [105.0, 110.0]
    assert _markers(detail)[0] == (105.0, 50.0, "s")
    assert _markers(site_map(runs).axes[1])[0] == (110.0, 50.0, "s")


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("clusters", [1, 3, 6])
def test_labels_stay_within_the_figure_and_apart(
    tmp_path: Path, clusters: int, width: Width
) -> None:
    """Of clusters with 4 devices 10 m apart, in a cell of 300 m."""
    random = np.random.default_rng(7)
    places = {"bs": (0.0, 0.0), "x": (20.0, 200.0)}
    for number in range(clusters):
        east, north = random.uniform(-300, 300, 2)
        places[f"c{number}.cu"] = (east, north)
        for device, (x, y) in enumerate([(10, 0), (-10, 2), (0, 10), (1, -9)]):
            places[f"c{number}.d{device}"] = (east + x, north + y)
    figure = site_map(_runs(tmp_path, nodes=_nodes(places)), width=width)
    figure.draw_without_rendering()
    for axes in figure.axes[1 : 1 + clusters]:
        _assert_apart(figure, axes)


def _assert_apart(figure: Figure, axes: Axes) -> None:
    boxes = [x.get_window_extent() for x in axes.texts if isinstance(x, Annotation)]
    assert len(boxes) == 5
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_of_two_labels_the_second_gives_way() -> None:
    figure = new_figure("column", 3.0)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    place_labels(axes, [(0.5, 0.5, "first"), (0.5, 0.5, "second")])
    first, second = (text.get_window_extent() for text in axes.texts)
    assert first.x0 > figure.transFigure.inverted().transform((0.5, 0.5))[0]
    assert not first.overlaps(second)


def test_what_can_not_be_drawn_is_said(tmp_path: Path) -> None:
    runs = _runs(tmp_path, nodes=_nodes(_PLACES))
    with pytest.raises(CannotDraw, match="no round 4; there are 0 to 0"):
        site_map(runs, round_number=4)
    with pytest.raises(CannotDraw, match="'ran'"):
        site_map(runs, run="ran")
    with pytest.raises(CannotDraw, match="run old has no places of nodes"):
        site_map(load(write_run(tmp_path / "old", without=["nodes"])))
