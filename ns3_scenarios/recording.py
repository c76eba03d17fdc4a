"""The contents of a file of movements, whatever its format: its nodes' positions over time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ns3_scenarios.mobility import Corner

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)

_LARGEST = 1e15  # of any number, so that times in nanoseconds can still be compared


class BadTrace(ValueError):
    """A file of movements that can't be read or used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The corners of each node by its name in the file; heights are nan where not given.

    `lines` has the number of each node's first line. With `numbered` the names are numbers from 0,
    which don't name nodes of a scenario.
    """

    corners: Mapping[str, tuple[Corner, ...]]
    lines: Mapping[str, int]
    numbered: bool


def number_in(text: str, line: int) -> float:
    """Parses a finite number; raises `BadTrace`."""
    text = text.strip()
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise BadTrace(f"line {line}: expected a finite number, not {text[:60]!r}")
    if abs(number) > _LARGEST:
        raise BadTrace(f"line {line}: expected at most {_LARGEST:g}, not {text[:60]}")
    return number
