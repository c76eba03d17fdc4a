"""Where the ns-3 and cppyy wheels lie, and everything that a build against them depends on."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

# What cppyy itself sets where the user has not: the precompiled header must be built with it.
CLING_ARGUMENTS = os.environ.get("EXTRA_CLING_ARGS", " -O2 -march=native")


class NotInstalled(RuntimeError):
    """The ns3 or the cppyy wheel is missing."""


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
    """The wheels as they are installed; raises `NotInstalled` naming the one that is missing."""
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


def facts() -> dict[str, object]:
    """Everything a built artefact depends on beside its own source."""
    place = installation()
    packages = ("ns3", "cppyy", "cppyy-cling", "cppyy-backend", "CPyCppyy")
    return {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        # A precompiled header holds absolute paths, and is void when the files under it change.
        "include": (str(place.include), place.include.stat().st_mtime_ns),
        "cling": (str(place.cling), (place.cling / "include").stat().st_mtime_ns),
        "python": sysconfig.get_config_var("SOABI"),
        "arguments": CLING_ARGUMENTS,
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
