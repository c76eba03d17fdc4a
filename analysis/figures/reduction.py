"""Reduces long tables to what a figure can show, the same for the same rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: With more points than this a figure in a vector format gets slow to open.
MOST_POINTS = 4000

#: The number of points by which a distribution of many different values is drawn.
_POINTS = 500


def thinned(rows: pd.DataFrame, most: int = MOST_POINTS) -> pd.DataFrame:
    """At most this many rows, evenly spaced over the table."""
    if len(rows) <= most:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, most).astype(int)]


def cumulative(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The empirical cumulative distribution: values, and the share of all values up to each.

    Values that are not finite are left out. Of many different values it gives those at equally
    spaced shares, the smallest and the largest included.
    """
    found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    shares = np.cumsum(counts) / max(counts.sum(), 1)
    if len(found) > _POINTS:
        places = np.searchsorted(shares, np.linspace(0, 1, _POINTS) - 1e-12)
        places = np.unique(np.append(places, len(found) - 1))
        found, shares = found[places], shares[places]
    return found, shares
