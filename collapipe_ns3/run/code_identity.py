"""The identity of a run's code: digests of all source files that can change results, and versions.

A run's manifest keeps it, so that results of one code are not mistaken for those of another. It
covers this project's sources, except those that only start or display runs; the whole package, or
the folder, of every plug-in that the study uses; and the versions of the packages that compute. No
source is imported for it, and it takes about ten milliseconds.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from collapipe_ns3 import schemes
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.learning import registry
from collapipe_ns3.learning.models import MODELS
from collapipe_ns3.topology import own_scenario

PROJECT = "collapipe-ns3"

#: The packages of this project whose files are part of the code; `analysis` only reads runs.
PROJECT_PACKAGES = ("bridge", "collapipe_ns3", "ns3_scenarios", "run_directory")

#: Files of these packages that change no result: they start, read or display runs, and no file that
#: makes a run imports them. A new file is part of the code unless it is listed here.
NO_PART_OF_A_RUN = (
    "collapipe_ns3/__main__.py",
    "collapipe_ns3/campaign/*",
    "collapipe_ns3/cli/*",
    "collapipe_ns3/contract/*",
    "collapipe_ns3/run/preview.py",
    "collapipe_ns3/run/replay.py",
    "run_directory/columns.py",  # descriptions for documents
    "collapipe_ns3/studies/*",  # a run keeps its resolved study
    "*/py.typed",
)

#: The installed packages that compute the numbers of a run.
PACKAGES = ("ns3", "torch", "numpy", "scipy", "num2words", "sacrebleu", "tokenizers")

_DOCUMENTS = {".md", ".rst", ".txt"}
_MODULES = {".py", ".so", ".h", ".hh", ".hpp", ".c", ".cc", ".cpp", ".cxx"}
_INSTALLED = {"site-packages", "dist-packages"}
_RUN_FILES = {"manifest.json", "study.yaml"}
_MOST_FILES = 10_000

#: Digests by the file's path within its package or folder. A digest is None where the file changed
#: while the process was running; the mapping is None where there are too many files to read.
Digests = Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True)
class CodeIdentity:
    """The code of a run: digests of the files of each part, and versions of packages.

    The parts are `collapipe-ns3`, and each plug-in by its kind and name.
    """

    parts: Mapping[str, Digests]
    versions: Mapping[str, str | None]

    def to_json(self) -> dict[str, Any]:
        return {"parts": self.parts, "versions": self.versions}

    @classmethod
    def from_json(cls, data: Any) -> Self | None:
        """Parses the output of `to_json`; None for anything else."""
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
    return of_plug_ins(plug_ins(config), libraries(config))


def libraries(config: StudyConfig) -> tuple[str, ...]:
    """The optional packages that the study's model needs."""
    library = MODELS[config.model.name].library
    return (*([library] if library else []), *(["peft"] if config.model.lora is not None else []))


def of_plug_ins(modules: Mapping[str, str], libraries: Sequence[str] = ()) -> CodeIdentity:
    """The code with these plug-ins, which map the name of each to the module that contains it.

    `libraries` are packages that compute numbers of the run in addition to `PACKAGES`.
    """
    parts = {PROJECT: _project(), **{name: _plug_in(each) for name, each in modules.items()}}
    return CodeIdentity(parts, _versions(libraries))


def plug_ins(config: StudyConfig) -> dict[str, str]:
    """The plug-ins that the study uses from outside this project, with the module of each.

    Raises `UnknownScheme` and `UnknownTask`.
    """
    used = {}
    named = ((schemes.SCHEMES, config.scheme.name), (registry.TASKS, config.task.name))
    for group, name in named:
        target = group.target(name)
        module = target.partition(":")[0]
        if module.partition(".")[0] not in PROJECT_PACKAGES:
            used[f"{group.kind} {name} ({target})"] = module
    if config.scenario is not None:
        function = config.scenario.function
        used[f"scenario {function}"] = function.partition(":")[0]
    return used


def changes(was: CodeIdentity | None, now: CodeIdentity) -> tuple[str, ...]:
    """The differences, as text, between the code that made a run and another; empty if equal."""
    if was is None:
        return ("its code is not recorded",)
    found = []
    for part in dict.fromkeys((*was.parts, *now.parts)):
        if part not in was.parts:
            found.append(f"{part} was not used")
        elif part not in now.parts:
            found.append(f"{part} is not used any more")
        elif files := _changed_files(was.parts[part], now.parts[part]):
            found.append(f"{part}: {files}")
    for package in dict.fromkeys((*was.versions, *now.versions)):
        before, after = was.versions.get(package), now.versions.get(package)
        if before != after:
            found.append(f"{package} {before or 'none'} → {after or 'none'}")
    return tuple(found)


def _changed_files(was: Digests, now: Digests, most: int = 3) -> str:
    if was is None or now is None:
        return f"its files can't be compared: not found, or more than {_MOST_FILES}"
    changed = []
    for name in sorted({*was, *now}):
        if name not in was:
            changed.append(f"{name} is new")
        elif name not in now:
            changed.append(f"{name} is gone")
        elif was[name] is None or now[name] is None:
            changed.append(f"{name} changed while it was in use")
        elif was[name] != now[name]:
            changed.append(f"{name} changed")
    more = [f"{len(changed) - most} more files"] if len(changed) > most else []
    return ", ".join([*changed[:most], *more])


def _versions(libraries: Sequence[str]) -> dict[str, str | None]:
    """Versions of Python, `PACKAGES` and these libraries.

    Python's has no patch level: results depend on the minor version at most, as sums of floats do
    from 3.11 to 3.12.
    """
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: _version(name) for name in (*PACKAGES, *libraries)}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class _Tree:
    """The code files under `root`, or that file alone; their names are paths relative to `base`."""

    root: Path
    base: Path
    is_code: Callable[[str], bool]

    def files(self) -> Iterator[tuple[str, Path]]:
        """The name and path of every code file; raises `_TooMany`."""
        if self.root.is_file():
            yield self.root.name, self.root
        seen = 0
        for folder, inner, names in os.walk(self.root):
            if Path(folder) != self.root and _RUN_FILES.issubset(names):
                inner.clear()  # a run directory, which may contain very many files
                continue
            inner[:] = [each for each in sorted(inner) if _is_source(each)]
            seen += len(names)
            if seen > _MOST_FILES:
                raise _TooMany
            for each in sorted(names):
                name = str(Path(folder, each).relative_to(self.base))
                if _is_source(each) and self.is_code(name):
                    yield name, Path(folder, each)


class _TooMany(Exception):
    """More files than can be read in a short time."""


def _is_source(name: str) -> bool:
    """Whether a file or folder is neither hidden, nor a backup or cache of an editor or Python."""
    return not (name.startswith(".") or name == "__pycache__" or name.endswith(("~", ".pyc")))


def _project() -> Digests:
    folders = [_package_folder(name) for name in PROJECT_PACKAGES]
    return _digests(tuple(_Tree(folder, folder.parent, _makes_runs) for folder in folders))


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _plug_in(module: str) -> Digests:
    """Digests of the package that contains a module; without a package, of the code in its folder.

    For a module that is installed without a package, only its own file counts.
    """
    names = module.split(".")
    with own_scenario.working_directory_first():
        for count in range(1, len(names) + 1):
            try:
                spec = importlib.util.find_spec(".".join(names[:count]))
            except (ImportError, ValueError):
                return None
            if spec is None or spec.origin is None:
                continue  # a namespace package, which several distributions may share
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
    """Digests of all files of these trees; None for files that changed since they were loaded."""
    try:
        first, now = _first_read(trees), _read(trees)
    except (_TooMany, OSError):
        return None
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    digests: dict[str, str | None] = {}
    for name in sorted({*first, *now}):
        was, present = first.get(name), now.get(name)
        # A module that is not loaded yet will be loaded as it is now.
        may_be_in_use = was is not None and (was[1].suffix != ".py" or str(was[1]) in loaded)
        if was != present and may_be_in_use:
            digests[name] = None
        elif present is not None:
            digests[name] = present[0]
    return digests


def _read(trees: tuple[_Tree, ...]) -> dict[str, tuple[str, Path]]:
    """The digest and path of each file, by its name."""
    return {
        name: (hashlib.sha256(path.read_bytes()).hexdigest()[:16], path)
        for tree in trees
        for name, path in tree.files()
    }


#: The files as this process read them first, which is as it has loaded them.
_first_read = functools.cache(_read)
