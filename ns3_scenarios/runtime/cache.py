"""The user's cache of files that are built for ns-3 once.

The name of such a file (an artefact) has a digest of everything it depends on, so that no outdated
one is ever used. It is built under a temporary name, by one process at a time, and renamed when it
is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = "COLLAPIPE_NS3_CACHE"

UNUSED_S = 30 * 24 * 3600.0


class CacheUnavailable(RuntimeError):
    """The cache can't be written, or what belongs in it can't be built."""


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What the cache holds: its directory, and each artefact's name and size in bytes."""

    directory: Path
    artefacts: Mapping[str, int]


def directory() -> Path:
    """The cache directory: `COLLAPIPE_NS3_CACHE`, else the platform's own place for caches."""
    if override := os.environ.get(ENVIRONMENT):
        return Path(override).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        # The XDG specification says that a relative path is to be ignored.
        named = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = named if named.is_absolute() else Path.home() / ".cache"
    return base / "collapipe-ns3"


def digest(facts: Mapping[str, object]) -> str:
    """A short name for a set of facts: equal exactly when they are."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def built(name: str, build: Callable[[Path], Path], announce: str) -> Path:
    """The artefact `name`, built by `build` if it isn't in the cache.

    `build` gets an empty folder to work in and returns the finished file within it. `announce` is
    printed on stderr before, and the time taken after. Raises `CacheUnavailable` if the cache can't
    be written, and whatever `build` raises.
    """
    try:
        place = directory()
    except RuntimeError as error:  # no home directory
        raise CacheUnavailable(f"{error}") from error
    artefact = place / name
    if artefact.exists():
        with contextlib.suppress(OSError):  # the cache may be another user's, and read-only
            artefact.touch()
        return artefact
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _locked(place / f"{name}.lock"):
            if not artefact.exists():  # another process may have built it while this one waited
                _build(artefact, build, announce)
                _drop_unused(place)
    except OSError as error:
        raise CacheUnavailable(f"{place}: {error.strerror or error}") from error
    return artefact


def cache_info() -> CacheInfo:
    """What the cache holds now."""
    place = directory()
    found = {path.name: path.stat().st_size for path in _artefacts(place)}
    return CacheInfo(place, dict(sorted(found.items())))


def clear_cache() -> CacheInfo:
    """Empties the cache; returns what it held."""
    held = cache_info()
    for path in _artefacts(held.directory):
        path.unlink(missing_ok=True)
    return held


def _artefacts(place: Path) -> list[Path]:
    return [path for path in place.glob("*.*") if path.suffix in {".pch", ".so"}]


def _drop_unused(place: Path) -> None:
    """Removes artefacts of other versions: those that no process has used for a month."""
    for path in _artefacts(place):
        if time.time() - path.stat().st_mtime > UNUSED_S:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)


def _build(artefact: Path, build: Callable[[Path], Path], announce: str) -> None:
    print(f"collapipe-ns3: {announce} …", file=sys.stderr, flush=True)
    started = time.monotonic()
    prefix = f".building-{artefact.name}-"
    for left in artefact.parent.glob(f"{prefix}*"):  # by a process that was killed while building
        shutil.rmtree(left, ignore_errors=True)
    workshop = Path(tempfile.mkdtemp(prefix=prefix, dir=artefact.parent))
    try:
        build(workshop).replace(artefact)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    took = time.monotonic() - started
    print(f"collapipe-ns3: done in {took:.0f} s ({artefact})", file=sys.stderr, flush=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # released when the file is closed, or the process dies
        yield
