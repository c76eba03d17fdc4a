"""Keeps the frames that were read last, so that what many figures need is read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

import pandas as pd

#: The largest size of all kept frames together: enough for a campaign of twenty short runs.
LIMIT_BYTES = 256 * 2**20


@dataclass
class FrameCache:
    """Frames by keys, of `limit_bytes` together; those that were used least recently are dropped.

    Whoever gets a frame must not change it, but may change a shallow copy.
    """

    limit_bytes: int = LIMIT_BYTES
    _frames: OrderedDict[Hashable, tuple[pd.DataFrame, int]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def get(self, key: Hashable) -> pd.DataFrame | None:
        """The frame of this key; None where there is none, or none any more."""
        if key not in self._frames:
            return None
        self._frames.move_to_end(key)
        return self._frames[key][0]

    def put(self, key: Hashable, frame: pd.DataFrame) -> None:
        """Keeps the frame of a new key, unless it is larger than the limit."""
        size = int(frame.memory_usage(deep=True).sum())
        if size > self.limit_bytes:
            return
        self._frames[key] = frame, size
        self._bytes += size
        while self._bytes > self.limit_bytes:
            _, (_, dropped) = self._frames.popitem(last=False)
            self._bytes -= dropped
