"""Checks that a path is UTF-8, which Arrow and ns-3 need to open it."""

from __future__ import annotations

from pathlib import Path

#: The error message for a path that is not.
NOT_UTF8 = "expected a path in UTF-8"


def is_utf8(path: Path) -> bool:
    """Whether the path's bytes are UTF-8; Linux allows any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
