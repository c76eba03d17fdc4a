"""The roles of nodes in the tables of a run."""

from __future__ import annotations

import re
from enum import StrEnum


class Role(StrEnum):
    """The role of a node in a run."""

    BASE_STATION = "base station"
    CONTROL_UNIT = "control unit"
    DEVICE = "device"
    INTERFERER = "interferer"


#: `bs` and the further base stations `bs1`, `bs2`, …; `c0.cu`; `c0.d0`, `c0.d1`, …
_NAMES = {
    Role.BASE_STATION: re.compile(r"bs\d*"),
    Role.CONTROL_UNIT: re.compile(r"c\d+\.cu"),
    Role.DEVICE: re.compile(r"c\d+\.d\d+"),
}


def role(node: str) -> Role:
    """The role of a node by its name.

    Raises `ValueError` for other names, such as those of interferers, which users choose.
    """
    found = role_or_none(node)
    if found is None:
        raise ValueError(f"expected the name of a node such as bs, c0.cu or c0.d0, not {node!r}")
    return found


def role_or_none(node: str) -> Role | None:
    """As `role`, with None for other names."""
    return next((found for found, names in _NAMES.items() if names.fullmatch(node)), None)
