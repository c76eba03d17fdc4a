"""The cache keeps the frames that were used last, within its limit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.frame_cache import FrameCache


def _frame(values: int) -> pd.DataFrame:
    return pd.DataFrame({"value": np.zeros(values)})


def _size(values: int) -> int:
    return int(_frame(values).memory_usage(deep=True).sum())


def test_of_too_many_frames_those_used_least_recently_are_dropped() -> None:
    cache = FrameCache(limit_bytes=3 * _size(100))
    for key in "abc":
        cache.put(key, _frame(100))
    assert cache.get("a") is not None
    cache.put("d", _frame(100))
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]
    for key in "efghij":  # what was dropped must not count for ever
        cache.put(key, _frame(100))
    assert [key for key in "acdefghij" if cache.get(key) is not None] == ["h", "i", "j"]


def test_a_frame_larger_than_the_limit_is_not_kept_and_drops_no_other() -> None:
    cache = FrameCache(limit_bytes=_size(100))
    cache.put("small", _frame(100))
    cache.put("large", _frame(101))
    assert cache.get("large") is None
    assert cache.get("small") is not None
