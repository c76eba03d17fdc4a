"""Measured costs of models, kept on disk from run to run. Importing this needs no torch."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from collapipe_ns3.costs.parts import ModelCosts


def cached(digest: str, measure: Callable[[], ModelCosts]) -> ModelCosts:
    """The costs of the model with this digest, measured if they are not in the cache.

    `digest` (a file name) must differ for whatever changes the costs: the model, the longest
    sequences, the precision, and the versions of the packages and of the code. A file that is
    damaged counts as missing, and one that can't be written is left out.
    """
    file = _folder() / f"{digest}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        return ModelCosts.from_json(json.loads(file.read_bytes()))
    costs = measure()
    with contextlib.suppress(OSError):
        _write(file, json.dumps(costs.to_json()))
    return costs


def _folder() -> Path:
    # The XDG specification says that a relative path is to be ignored.
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = named if named.is_absolute() else Path.home() / ".cache"
    return base / "collapipe-ns3" / "costs"


def _write(file: Path, text: str) -> None:
    """Writes a file whole or not at all, whoever writes it at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
