"""Multicasts among the rows of transfers: one transmission, with a row for each receiver."""

from __future__ import annotations

import pandas as pd

#: The columns by which the rows of a multicast are told from all others.
KEY = ("run", "round", "group")


def group_of(transfers: pd.DataFrame) -> pd.Series:
    """The number of each row's multicast within its round, 0 where it went to one node alone.

    Earlier versions had no multicasts, and no such column.
    """
    if "group" not in transfers:
        return pd.Series(0, transfers.index)
    return transfers["group"].fillna(0).astype("int64")


def once(transfers: pd.DataFrame) -> pd.DataFrame:
    """The transfers with one row for each multicast, the first that it has.

    Its size and its place are those of all its rows. Airtime and energy are not: they are divided
    among the rows, and a sum of them needs all.
    """
    return transfers[~(_keys(transfers).duplicated() & (group_of(transfers) > 0))]


def whole_airtime_s(transfers: pd.DataFrame) -> pd.Series:
    """The time for which each row's transmission was on the air, for all of its receivers."""
    keys, airtime_s = _keys(transfers), transfers["airtime_s"]
    sums = airtime_s.groupby([keys[key] for key in keys], observed=True).transform("sum")
    return airtime_s.where(group_of(transfers) == 0, sums)


def _keys(transfers: pd.DataFrame) -> pd.DataFrame:
    return transfers.assign(group=group_of(transfers))[[key for key in KEY if key in transfers]]
