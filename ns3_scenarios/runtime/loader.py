"""Loads ns-3: libraries first, then the headers, from a cached precompiled header."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ns3_scenarios.runtime import cache
from ns3_scenarios.runtime.errors import UnknownName, nearest
from ns3_scenarios.runtime.installation import cling_arguments, facts, installation, modules

# The modules that Wi-Fi and LTE/EPC networks use directly. Those that these depend on (stats,
# antenna, traffic-control …) are loaded with them: libraries by the dynamic linker, headers by
# #include.
DEFAULT_MODULES = (
    "core",
    "network",
    "internet",
    "mobility",
    "propagation",
    "spectrum",
    "wifi",
    "point-to-point",
    "applications",
    "lte",
)


#: The project's own C++, see `ns3_scenarios.runtime.own_code`.
SOURCES = Path(__file__).parent.parent / "native"


def load(module_names: Iterable[str] = DEFAULT_MODULES) -> Any:
    """The C++ namespace `ns3` as a Python object, with at least these modules loaded.

    It can be called again, for the same modules or for more. Raises `UnknownName` for a module that
    isn't installed. The first call on a machine builds the precompiled header (about 15 s,
    announced on stderr); if that fails, one line says why and the headers are parsed (about 5 s).
    """
    wanted = tuple(module_names)
    if unknown := [name for name in wanted if name not in modules()]:
        raise UnknownName("ns-3 module", unknown[0], nearest(unknown[0], modules()))
    cppyy = interpreter()
    for name in wanted:
        _load_module(name)
    return cppyy.gbl.ns3


@functools.cache
def interpreter() -> Any:
    """The cppyy package, started with ns-3's default modules loaded."""
    # Cling resolves a header's inline initialisers while parsing, so libraries are loaded first:
    # before cppyy, as what is loaded after it slows down every search for a symbol.
    for name in DEFAULT_MODULES:
        open_library(modules()[name])
    already_running = "cppyy" in sys.modules
    header = None if already_running else _precompiled_header()
    with _environment(_cling_settings(header)):
        # Imported only now: doing so starts Cling, which reads the environment.
        cppyy: Any = importlib.import_module("cppyy")
        libcppyy: Any = importlib.import_module("libcppyy")
    libcppyy.AddSmartPtrType("Ptr")
    cppyy.add_include_path(str(installation().include))
    if header is None:
        for name in DEFAULT_MODULES:
            cppyy.include(f"ns3/{name}-module.h")
    return cppyy


def modules_asked_for() -> int:
    """How many different modules `load` has loaded so far."""
    return _load_module.cache_info().currsize


def open_library(path: Path) -> None:
    """Opens a shared library and its dependencies, with global symbols; raises `OSError`."""
    # Not ctypes.CDLL: that binds every symbol at once, and some of ns-3's optional ones (GTK's)
    # are nowhere to be found.
    libc = ctypes.CDLL(None)
    libc.dlopen.restype = ctypes.c_void_p
    libc.dlerror.restype = ctypes.c_char_p
    if not libc.dlopen(os.fsencode(path), os.RTLD_LAZY | os.RTLD_GLOBAL):
        raise OSError(libc.dlerror().decode())


@functools.cache
def _load_module(name: str) -> None:
    if name not in DEFAULT_MODULES:
        open_library(modules()[name])
        interpreter().include(f"ns3/{name}-module.h")


def _cling_settings(header: Path | None) -> dict[str, str]:
    settings = {"EXTRA_CLING_ARGS": cling_arguments()}
    if header is not None:
        # The digest in the header's name replaces cppyy's own check of whether it is outdated.
        settings |= {"CLING_STANDARD_PCH": str(header), "CLING_REBUILD_PCH": "0"}
    return settings


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables temporarily, so that no child process inherits them."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _precompiled_header() -> Path | None:
    own = {path.name: path.read_text() for path in _own_headers()}
    content = {"modules": DEFAULT_MODULES, "own": own, "place": SOURCES}
    name = f"ns3-{cache.digest({**facts(), **content})}.pch"
    announce = "preparing ns-3's precompiled header, once (about 15 s)"
    try:
        return cache.built(name, _build_precompiled_header, announce)
    except cache.CacheUnavailable as error:
        print(
            f"collapipe-ns3: no precompiled header ({error}); each start takes some seconds more",
            file=sys.stderr,
        )
        return None


def _own_headers() -> list[Path]:
    return sorted(SOURCES.glob("*.h"))


def _build_precompiled_header(workshop: Path) -> Path:
    """Runs rootcling as cppyy's own makepch.py does, on its headers, ns-3's and this project's.

    Parsing the last takes Cling as long as everything else at a start; when they are in the
    precompiled header, their include guards skip them.
    """
    place = installation()
    dictionary = place.cling / "etc" / "dictpch"
    umbrella = workshop / "all.h"
    includes = [f'#include "ns3/{name}-module.h"' for name in DEFAULT_MODULES]
    includes.append("#pragma STDC FP_CONTRACT OFF")  # as in `own_code`
    includes += [f'#include "{path}"' for path in _own_headers()]
    umbrella.write_text("\n".join([(dictionary / "allHeaders.h").read_text(), *includes, ""]))
    flags = (dictionary / "allCppflags.txt").read_text().split()
    command = [
        *("bin/rootcling", "-rootbuild", "-generate-pch", "-f", str(workshop / "allDict.cxx")),
        *("-noDictSelection", "-D__CLING__", "-DROOT_PCH"),
        *("-Iinclude", "-Ietc", "-Ietc/dictpch", "-Ietc/cling"),
        *(f"-I{place.cling / 'include'}", f"-I{place.include}", f"-I{SOURCES}"),
        *("-cxxflags", " ".join(flags), str(umbrella), "etc/dictpch/allLinkDefs.h"),
    ]
    libraries = [str(place.cling / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = os.environ | {
        "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
        "EXTRA_CLING_ARGS": cling_arguments(),
    }
    done = subprocess.run(
        command, cwd=place.cling, env=environment, capture_output=True, text=True, check=False
    )
    header = workshop / "allDict_rdict.pch"
    if done.returncode or not header.exists():
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise cache.CacheUnavailable(f"rootcling failed: {said[0]}")
    return header
