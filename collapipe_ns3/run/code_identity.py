"""Which code makes a run: a digest of every source file that can change results, and versions.

A run's manifest keeps the identity of its code, so that results of one code are not taken for those
of another. It covers this project's sources, but for what only starts runs or shows them; the whole
package, or the folder, of every plug-in that the study uses; and the packages that compute. No
source is imported for it, and it takes some ten milliseconds.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from collapipe_ns3 import schemes
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.topology import own_scenario

PROJECT = "collapipe-ns3"

#: The packages of this project whose files are part of the code; `analysis` only reads runs.
ROOMS = ("bridge", "collapipe_ns3", "ns3_scenarios", "run_directory")

#: Files of theirs that change no result: they start runs, read them or show them, and nothing that
#: a run is made by imports them. A new file is part of the code unless it is listed here.
NO_PART_OF_A_RUN = (
    "collapipe_ns3/__main__.py",
    "collapipe_ns3/campaign/*",
    "collapipe_ns3/cli/*",
    "collapipe_ns3/contract/*",
    "collapipe_ns3/run/preview.py",
    "collapipe_ns3/run/replay.py",
    "collapipe_ns3/studies/*",  # a run keeps its study as resolved
    "*/py.typed",
)

#: The installed packages that a run's numbers come from.
PACKAGES = ("ns3", "torch", "numpy", "scipy", "num2words", "sacrebleu")

_DOCUMENTS = {".md", ".rst", ".txt"}
_MODULES = {".py", ".so", ".h", ".hh", ".hpp", ".c", ".cc", ".cpp", ".cxx"}
_INSTALLED = {"site-packages", "dist-packages"}
_RUN_FILES = {"manifest.json", "study.yaml"}
_MOST_FILES = 10_000

#: Digests by the file's path within its package or folder. A digest is None where the file changed
#: while the process was running, and all are where there are too many files to look at.
Digests = Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True)
class CodeIdentity:
    """The code of a run: digests of each part's files, and the versions of what computes.

    Parts are `collapipe-ns3`, and every plug-in by its kind and name.
    """

    parts: Mapping[str, Digests]
    versions: Mapping[str, str | None]

    def to_json(self) -> dict[str, Any]:
        return {"parts": self.parts, "versions": self.versions}

    @classmethod
    def from_json(cls, data: Any) -> Self | None:
        """What `to_json` gave, None where it is something else."""
        try:
            parts = {
                str(part): None if digests is None else dict(digests)
                for part, digests in data["parts"].items()
            }
            return cls(parts, dict(data["versions"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def of_study(config: StudyConfig) -> CodeIdentity:
    """The code that would make a run of this study here and now."""
    return of_plug_ins(plug_ins(config))


def of_plug_ins(modules: Mapping[str, str]) -> CodeIdentity:
    """The same where plug-ins are given, from the name of each to the module that it is in."""
    parts = {PROJECT: _project(), **{name: _plug_in(each) for name, each in modules.items()}}
    return CodeIdentity(parts, _versions())


def plug_ins(config: StudyConfig) -> dict[str, str]:
    """What the study uses that is no part of this project, and the module that each is in.

    Raises `UnknownScheme`.
    """
    used = {}
    scheme = config.scheme.name
    target = schemes.target(scheme)
    module = target.partition(":")[0]
    if module.partition(".")[0] not in ROOMS:
        used[f"scheme {scheme} ({target})"] = module
    if config.scenario is not None:
        function = config.scenario.function
        used[f"scenario {function}"] = function.partition(":")[0]
    return used


def changes(was: CodeIdentity | None, now: CodeIdentity) -> tuple[str, ...]:
    """What differs between the code that made a run and another, in words; nothing if none does."""
    if was is None:
        return ("its code is not recorded",)
    found = []
    for part in dict.fromkeys((*was.parts, *now.parts)):
        if part not in was.parts:
            found.append(f"{part} was not used")
        elif part not in now.parts:
            found.append(f"{part} is not used any more")
        elif told := _changed_files(was.parts[part], now.parts[part]):
            found.append(f"{part}: {told}")
    for package in dict.fromkeys((*was.versions, *now.versions)):
        before, after = was.versions.get(package), now.versions.get(package)
        if before != after:
            found.append(f"{package} {before or 'none'} → {after or 'none'}")
    return tuple(found)


def _changed_files(was: Digests, now: Digests, most: int = 3) -> str:
    if was is None or now is None:
        return f"its files can't be compared: not found, or more than {_MOST_FILES}"
    told = []
    for name in sorted({*was, *now}):
        if name not in was:
            told.append(f"{name} is new")
        elif name not in now:
            told.append(f"{name} is gone")
        elif was[name] is None or now[name] is None:
            told.append(f"{name} changed while it was in use")
        elif was[name] != now[name]:
            told.append(f"{name} changed")
    more = [f"{len(told) - most} more files"] if len(told) > most else []
    return ", ".join([*told[:most], *more])


def _versions() -> dict[str, str | None]:
    """Python's without the patch level: sums of floats, for one, differ from 3.11 to 3.12."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class _Tree:
    """Files under `root`, or that file alone, that are code; their names are paths from `base`."""

    root: Path
    base: Path
    is_code: Callable[[str], bool]

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every file that is code, and its name; raises `_TooMany`."""
        if self.root.is_file():
            yield self.root.name, self.root
        seen = 0
        for folder, inner, names in os.walk(self.root):
            if Path(folder) != self.root and _RUN_FILES.issubset(names):
                inner.clear()  # a run directory, which may have very many files
                continue
            inner[:] = [each for each in sorted(inner) if _is_shown(each)]
            seen += len(names)
            if seen > _MOST_FILES:
                raise _TooMany
            for each in sorted(names):
                name = str(Path(folder, each).relative_to(self.base))
                if _is_shown(each) and self.is_code(name):
                    yield name, Path(folder, each)


class _TooMany(Exception):
    """More files than can be looked at in a short time."""


def _is_shown(name: str) -> bool:
    """Whether a file or folder is neither hidden, nor a copy that an editor or Python left."""
    return not (name.startswith(".") or name == "__pycache__" or name.endswith(("~", ".pyc")))


def _project() -> Digests:
    folders = [_package_folder(room) for room in ROOMS]
    return _digests(tuple(_Tree(folder, folder.parent, _makes_runs) for folder in folders))


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _plug_in(module: str) -> Digests:
    """The files of the package that a module is in; where it is in none, the code in its folder.

    Of a module that is installed without a package, its own file alone.
    """
    names = module.split(".")
    with own_scenario.working_directory_first():
        for count in range(1, len(names) + 1):
            try:
                spec = importlib.util.find_spec(".".join(names[:count]))
            except (ImportError, ValueError):
                return None
            if spec is None or spec.origin is None:
                continue  # a namespace, which several packages may share
            file = Path(spec.origin)
            if spec.submodule_search_locations is not None:
                return _digests((_Tree(file.parent, file.parent.parent, _is_no_document),))
            if file.parent.name in _INSTALLED:
                return _digests((_Tree(file, file.parent, _is_module),))
            return _digests((_Tree(file.parent, file.parent, _is_module),))
    return None


def _makes_runs(name: str) -> bool:
    listed = any(fnmatch(name, pattern) for pattern in NO_PART_OF_A_RUN)
    return not listed and _is_no_document(name)


def _is_no_document(name: str) -> bool:
    return Path(name).suffix not in _DOCUMENTS


def _is_module(name: str) -> bool:
    return Path(name).suffix in _MODULES


def _digests(trees: tuple[_Tree, ...]) -> Digests:
    """Digests of all files of these trees, None for those that changed since they were loaded."""
    try:
        first, now = _first_look(trees), _look(trees)
    except (_TooMany, OSError):
        return None
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    digests: dict[str, str | None] = {}
    for name in sorted({*first, *now}):
        was, present = first.get(name), now.get(name)
        # A module that isn't loaded yet will be as it is now.
        may_be_in_use = was is not None and (was[1].suffix != ".py" or str(was[1]) in loaded)
        if was != present and may_be_in_use:
            digests[name] = None
        elif present is not None:
            digests[name] = present[0]
    return digests


def _look(trees: tuple[_Tree, ...]) -> dict[str, tuple[str, Path]]:
    """Each file's digest and path by its name."""
    return {
        name: (hashlib.sha256(path.read_bytes()).hexdigest()[:16], path)
        for tree in trees
        for name, path in tree.files()
    }


#: What this process saw at first, which is what it has loaded.
_first_look = functools.cache(_look)
