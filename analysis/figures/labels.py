"""Places labels beside points so that they overlap as little as possible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

#: The sides of a point at which a label may be: right, left, above, below, and the corners.
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))

#: The distances (pt) between a point and its label that are tried, the nearest first.
_DISTANCES_PT = (5.0, 9.0, 14.0)

#: The sides (pt) of the squares that a label's own point and a point to avoid take.
_MARKER_PT = 9.0
_AVOIDED_PT = 3.0


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[float, float, str]],
    avoid: Sequence[tuple[float, float]] = (),
    size_pt: float = 6.0,
) -> None:
    """Writes each text beside its point (x, y, text), in the order given.

    Each takes the place at which it overlaps least with earlier labels, with the points, with those
    in `avoid` and with the outside of the axes; of equal places the first. The axes must have their
    final limits and position (`Figure.draw_without_rendering` positions them).
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    point_px = figure.dpi / 72
    to_px = axes.transData.transform
    own, others = [(x, y) for x, y, _ in labels], list(avoid)
    sizes = [_MARKER_PT] * len(own) + [_AVOIDED_PT] * len(others)
    taken = np.array(
        [
            _box(to_px(point), np.full(2, size * point_px))
            for point, size in zip([*own, *others], sizes, strict=True)
        ]
    ).reshape(-1, 4)
    inside = np.array([axes.get_window_extent().extents])
    for x, y, text in labels:
        written = axes.annotate(
            text,
            (x, y),
            (0, 0),
            textcoords="offset points",
            fontsize=size_pt,
            ha="center",
            va="center",
            annotation_clip=True,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )
        written.set_in_layout(False)
        extent = written.get_window_extent()
        size = np.array([extent.width, extent.height])
        centre = to_px((x, y))
        places = [
            (distance, np.array(side) * (distance * point_px + size / 2))
            for distance in _DISTANCES_PT
            for side in _SIDES
        ]
        costs = []
        for distance, shift in places:
            box = _box(centre + shift, size)
            outside = float(size.prod()) - _overlap(box, inside)
            # Of places without an overlap the nearest.
            costs.append(_overlap(box, taken) + 4 * outside + 0.01 * distance)
        _, shift = places[int(np.argmin(np.round(costs, 6)))]
        written.set_position((float(shift[0] / point_px), float(shift[1] / point_px)))
        taken = np.vstack([taken, _box(centre + shift, size)])


def _box(centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The left, lower, right and upper end of a box around a point, in pixels."""
    return np.concatenate([centre - size / 2, centre + size / 2])


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    """The area that a box has in common with others (N, 4), in total."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.maximum(sides, 0).prod(axis=1).sum())
