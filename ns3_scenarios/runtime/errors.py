"""The runtime's errors, whose messages name the nearest valid names or values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UnknownName(ValueError):
    """A name that ns-3 doesn't have; `nearest` has similar valid names, the most similar first."""

    def __init__(self, kind: str, name: str, nearest: Sequence[str], where: str = "") -> None:
        self.kind, self.name, self.nearest = kind, name, tuple(nearest)
        place = f" in {where}" if where else ""
        super().__init__(f"no {kind} {name!r}{place}{did_you_mean(self.nearest)}")


class BadValue(ValueError):
    """A value that an attribute can't have."""

    def __init__(
        self, name: str, value: object, expected: str, nearest: Sequence[str] = ()
    ) -> None:
        self.name, self.value, self.expected, self.nearest = name, value, expected, tuple(nearest)
        super().__init__(f"{name}: expected {expected}, not {value!r}{did_you_mean(self.nearest)}")


class SimulationError(RuntimeError):
    """An error that ns-3 itself reported."""


def nearest(name: str, valid: Iterable[str], count: int = 3) -> list[str]:
    """The valid names most similar to `name`, the most similar first, ignoring case."""
    by_folded = {option.casefold(): option for option in valid}
    close = difflib.get_close_matches(name.casefold(), by_folded, count, cutoff=0.5)
    return [by_folded[folded] for folded in close]


def did_you_mean(names: Sequence[str]) -> str:
    """The end of an error message that suggests these names; empty if there are none."""
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
