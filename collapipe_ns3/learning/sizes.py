"""How many phrases the task has, and how many are held out; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

YEARS = range(1900, 2100)
MOST_ORDINALS = 1000
_DAYS = 31 * 12


def phrases_of(kind: str, limit: int) -> int:
    """How many phrases of a kind there are; `limit` bounds cardinals and ordinals."""
    ordinals = min(limit, MOST_ORDINALS) - 1
    return {"cardinal": limit, "ordinal": ordinals, "year": len(YEARS), "date": _DAYS}[kind]


def held_out(phrases: int, wanted: int, kinds: int) -> int:
    """How many of a kind's phrases are held out for a test of `wanted` phrases of all kinds.

    Every kind has the same part of the test, and at most half of its phrases there.
    """
    return min(wanted // kinds, phrases // 2)


def test_sequences(kinds: Sequence[str], limit: int, phrases: int, test_size: int) -> int:
    """How many sequences of so many phrases the test set comes out with, at most `test_size`."""
    wanted = test_size * phrases
    held = (held_out(phrases_of(kind, limit), wanted, len(kinds)) for kind in kinds)
    return sum(held) // phrases
