"""Where the ns-3 and cppyy wheels are installed, and what a build against them depends on."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

# cppyy's own default, with which the precompiled header must be built too.
_CPPYY_ARGUMENTS = " -O2 -march=native"
_STANDARD_HEADERS = Path("/usr/include/c++")


class NotInstalled(RuntimeError):
    """Something that ns-3 needs is missing: a wheel, or the C++ standard library's headers."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The folders of the installed wheels."""

    include: Path  # holds ns3/*.h
    libraries: Path  # holds libns3.XX-*.so
    cling: Path  # the cppyy_backend package

    def library(self, module: str) -> Path:
        """The shared library of a module; raises `KeyError` for a module that isn't there."""
        return modules()[module]


@functools.cache
def installation() -> Installation:
    """The installed wheels; raises `NotInstalled`, which names the one that is missing."""
    ns3, cling = _folder("ns3"), _folder("cppyy_backend")
    for name in ("lib64", "lib"):
        if (ns3 / name).is_dir():
            return Installation(ns3 / "include", ns3 / name, cling)
    raise NotInstalled(f"no libraries under {ns3}; reinstall with `pip install ns3`")


@functools.cache
def modules() -> dict[str, Path]:
    """Every ns-3 module that is installed, by name (`wifi`, `point-to-point` …)."""
    found = {}
    for path in installation().libraries.glob("libns3.*-*.so"):
        if match := re.fullmatch(r"libns3[.\d]*-(.+)\.so", path.name):
            found[match[1]] = path
    return dict(sorted(found.items()))


@functools.cache
def cling_arguments() -> str:
    """The arguments that Cling starts with; raises `NotInstalled` if it could not start.

    By default Cling runs `c++` to find the standard headers, which is slow, and prints errors if
    there is no such compiler.
    """
    arguments = os.environ.get("EXTRA_CLING_ARGS", _CPPYY_ARGUMENTS)
    if folders := standard_headers():
        return f"{arguments} -nostdinc++" + "".join(f" -cxx-isystem {path}" for path in folders)
    if shutil.which("c++"):
        return arguments
    raise NotInstalled(
        "neither a C++ compiler nor the C++ standard library's headers are on this machine, "
        "and ns-3's headers need those (Debian and Ubuntu: apt install libstdc++-12-dev; "
        "Fedora: dnf install libstdc++-devel glibc-devel)"
    )


def standard_headers(root: Path = _STANDARD_HEADERS) -> list[Path]:
    """The folders of the newest complete set of C++ standard headers under `root`, if any."""
    machine = platform.machine()
    versions = [
        ([int(part) for part in path.name.split(".")], path)
        for path in root.glob("*")
        if re.fullmatch(r"\d+(\.\d+)*", path.name) and (path / "vector").exists()
    ]
    for _, newest in sorted(versions, reverse=True):
        # Distributions have the part that depends on the processor within the rest or next to it.
        configured = [
            *newest.glob(f"{machine}*/bits/c++config.h"),
            *root.parent.glob(f"{machine}*/c++/{newest.name}/bits/c++config.h"),
        ]
        if configured:
            return [newest, configured[0].parents[1], newest / "backward"]
    return []


def facts() -> dict[str, object]:
    """Everything that a built artefact depends on, apart from its own source."""
    place = installation()
    packages = ("ns3", "cppyy", "cppyy-cling", "cppyy-backend", "CPyCppyy")
    return {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        # A precompiled header has absolute paths, and is invalid when the files there change.
        "include": (str(place.include), place.include.stat().st_mtime_ns),
        "cling": (str(place.cling), (place.cling / "include").stat().st_mtime_ns),
        "standard": sorted((p.name, p.stat().st_mtime_ns) for p in _STANDARD_HEADERS.glob("*")),
        "python": sysconfig.get_config_var("SOABI"),
        "arguments": cling_arguments(),
        "cpu": _cpu(),
    }


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalled(f"the Python package {package} is missing; `pip install ns3`")
    return Path(spec.submodule_search_locations[0])


def _cpu() -> list[str]:
    """Model and features: with -march=native one machine's code may not run on another."""
    wanted = ("model name", "flags", "Features")
    try:
        with Path("/proc/cpuinfo").open() as lines:
            first_core = []
            for line in lines:
                if not line.strip():
                    break
                if line.startswith(wanted):
                    first_core.append(line.strip())
            return first_core
    except OSError:
        return [platform.machine(), platform.processor()]
