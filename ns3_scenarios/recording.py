"""What a file of movements holds, whatever its format: where its nodes are at what time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ns3_scenarios.mobility import Corner

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)

_LARGEST = 1e15  # of any number; nanoseconds of it are still exact enough to be compared


class BadTrace(ValueError):
    """A file of movements that can't be read or used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The corners of each node by the name that the file has for it, heights nan where not given.

    `lines` has the first line of each node. `numbered`: names are numbers from 0, of no particular
    node of a scenario.
    """

    corners: Mapping[str, tuple[Corner, ...]]
    lines: Mapping[str, int]
    numbered: bool


def number_in(text: str, line: int) -> float:
    """The finite number that a text is; raises `BadTrace`."""
    text = text.strip()
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise BadTrace(f"line {line}: expected a finite number, not {text[:60]!r}")
    if abs(number) > _LARGEST:
        raise BadTrace(f"line {line}: expected at most {_LARGEST:g}, not {text[:60]}")
    return number
