"""Paths that every library beneath can open."""

from __future__ import annotations

from pathlib import Path

#: What is said of a path that is not; Arrow and ns-3 take no other.
NOT_UTF8 = "expected a path in UTF-8"


def is_utf8(path: Path) -> bool:
    """Whether the path's bytes are UTF-8, as Linux does not ask of them."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
