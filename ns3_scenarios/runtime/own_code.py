"""The project's own C++, built once into the cache, or compiled by Cling without a compiler."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ns3_scenarios.runtime import cache
from ns3_scenarios.runtime.installation import facts, installation, modules
from ns3_scenarios.runtime.loader import DEFAULT_MODULES, SOURCES, interpreter, open_library

# Products and sums are rounded one by one, so that every compiler's code gives the same results.
FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-Wall", "-ffp-contract=off", "-pthread")


class NativeBuildError(RuntimeError):
    """The project's own C++ doesn't compile; the message holds the compiler's first errors."""


def native() -> Any:
    """The C++ namespace `collapipe` of `ns3_scenarios/native`, as a Python object.

    The sources are ns-3 module code: headers, which Cling parses at every start and which are
    therefore small, and .cc files. They are built by $CXX, c++, g++ or clang++ into the cache; if
    none of these is found, or the cache can't be written, Cling compiles the same files at each
    start. Raises `NativeBuildError`.
    """
    return load_code(SOURCES)


@functools.cache
def load_code(sources: Path) -> Any:
    """The namespace `collapipe` with the code of this folder; see `native`."""
    cppyy = interpreter()
    cppyy.add_include_path(str(sources))
    headers, units = (sorted(sources.glob(pattern)) for pattern in ("*.h", "*.cc"))
    library = _library(sources, [*headers, *units])
    if library is not None:
        open_library(library)
    cppyy.cppdef("namespace collapipe {}")
    _declare(cppyy, headers)
    if library is None:
        # All in one step, as types register themselves with ns-3 and use the rest of the code then.
        _declare(cppyy, units)
    return cppyy.gbl.collapipe


def compiler() -> str | None:
    """The C++ compiler to use: $CXX if it is set (empty: none), else the first one found."""
    named = os.environ.get("CXX")
    candidates = ("c++", "g++", "clang++") if named is None else tuple(shlex.split(named)[:1])
    return next((found for name in candidates if (found := shutil.which(name))), None)


def _library(sources: Path, files: Sequence[Path]) -> Path | None:
    if not files:
        return None
    chosen = compiler()
    if chosen is None:
        return None
    content = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    key = cache.digest({**facts(), "flags": FLAGS, "compiler": chosen, "content": content})
    units = [path for path in files if path.suffix == ".cc"]

    def build(workshop: Path) -> Path:
        target = workshop / "native.so"
        _compile(chosen, units, sources, target)
        return target

    try:
        return cache.built(f"native-{key}.so", build, "compiling native code, once (about 15 s)")
    except (cache.CacheUnavailable, NativeBuildError) as error:
        print(
            f"collapipe-ns3: no compiled native code ({error}); Cling compiles it at each start",
            file=sys.stderr,
        )
        return None


def _compile(chosen: str, units: Sequence[Path], include: Path, target: Path) -> None:
    place = installation()
    # As one unit, as Cling compiles it: ns-3's headers take longer to parse than the code itself.
    whole = target.with_suffix(".cc")
    whole.write_text(_includes(units))
    # Linked against the modules, so that a missing definition is an error here and not later.
    libraries = [f"-l:{modules()[name].name}" for name in DEFAULT_MODULES]
    command = [
        *(chosen, *FLAGS, f"-I{place.include}", f"-I{include}", str(whole)),
        *("-o", str(target), f"-L{place.libraries}", f"-Wl,-rpath,{place.libraries}"),
        *("-Wl,--no-undefined", "-Wl,--as-needed", *libraries),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NativeBuildError(f"{Path(chosen).name} failed: {_shortened(done.stderr)}")


def _includes(paths: Sequence[Path]) -> str:
    return "".join(f'#include "{path}"\n' for path in paths)


def _declare(cppyy: Any, paths: Sequence[Path]) -> None:
    try:
        cppyy.cppdef(f"#pragma STDC FP_CONTRACT OFF\n{_includes(paths)}")  # as in FLAGS
    except SyntaxError as error:
        raise NativeBuildError(f"Cling failed: {_shortened(str(error))}") from None


def _shortened(output: str, count: int = 5) -> str:
    """The first errors of a compiler's output, each on one line."""
    lines = [line.strip() for line in output.splitlines()]
    errors = [line for line in lines if "error:" in line or "undefined reference" in line]
    return "\n  ".join((errors or lines)[:count])
