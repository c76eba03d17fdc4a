"""The number of phrases that the task has and holds out. Importing this needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

YEARS = range(1900, 2100)
MOST_ORDINALS = 1000
_DAYS = 31 * 12


def phrases_of(kind: str, limit: int) -> int:
    """The number of phrases of a kind; `limit` bounds cardinals and ordinals."""
    ordinals = min(limit, MOST_ORDINALS) - 1
    return {"cardinal": limit, "ordinal": ordinals, "year": len(YEARS), "date": _DAYS}[kind]


def held_out(phrases: int, wanted: int, kinds: int) -> int:
    """The number of a kind's phrases held out for a test of `wanted` phrases of all kinds.

    Every kind contributes equally, but at most half of its phrases.
    """
    return min(wanted // kinds, phrases // 2)


def test_sequences(kinds: Sequence[str], limit: int, phrases: int, test_size: int) -> int:
    """The size of the test set in sequences of `phrases` phrases each; at most `test_size`."""
    wanted = test_size * phrases
    held = (held_out(phrases_of(kind, limit), wanted, len(kinds)) for kind in kinds)
    return sum(held) // phrases
