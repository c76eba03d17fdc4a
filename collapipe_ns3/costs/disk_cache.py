"""Measurements kept on disk, so that each is made once. Importing this needs no torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def stored(
    kind: str, facts: Mapping[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The stored result of `measure` for these facts; measured and stored if there is none.

    `facts` is all that the result depends on, as plain data, versions of libraries included. The
    result is plain data too, and lies in the folder `kind` of the user's cache. A cache that can't
    be read or written is no error: the measurement is then made again the next time.
    """
    text = json.dumps(facts, sort_keys=True)
    found = _read(kind, text)
    if found is None:
        found = measure()
        with contextlib.suppress(OSError, RuntimeError):  # no home directory is a RuntimeError
            _write(_path(kind, text), {"facts": json.loads(text), "result": found})
    return found


def _read(kind: str, facts: str) -> dict[str, Any] | None:
    """The stored result for these facts; None if there is none, or the file is damaged."""
    try:
        content = json.loads(_path(kind, facts).read_text(encoding="utf-8"))
        result = content["result"]
        right = content["facts"] == json.loads(facts) and isinstance(result, dict)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return None
    return result if right else None


def _path(kind: str, facts: str) -> Path:
    return directory() / kind / f"{hashlib.sha256(facts.encode()).hexdigest()}.json"


def directory() -> Path:
    """The user's cache: `COLLAPIPE_NS3_CACHE`, else `collapipe-ns3` in the platform's own folder.

    It is the folder of `ns3_scenarios.runtime.cache`, which planning does not import.
    """
    if override := os.environ.get("COLLAPIPE_NS3_CACHE"):
        return Path(override).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "collapipe-ns3"
    # The XDG specification says that a relative path is to be ignored.
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "collapipe-ns3"


def _write(path: Path, content: dict[str, Any]) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
