"""The native code as a module of an ns-3 tree: everything in it is listed, and nothing else."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ns3_scenarios.runtime import DEFAULT_MODULES, compiler
from ns3_scenarios.runtime.installation import installation
from ns3_scenarios.runtime.own_code import SOURCES

CMAKE = (SOURCES / "CMakeLists.txt").read_text()


def listed(keyword: str) -> list[str]:
    """The words that follow a keyword of ns-3's build_lib, up to the next one."""
    found = re.search(rf"{keyword}\s+(.*?)\s+(?:[A-Z_]+\n|\))", CMAKE, re.DOTALL)
    assert found
    return found[1].split()


@pytest.mark.parametrize(
    ("keyword", "pattern"), [("SOURCE_FILES", "*.cc"), ("HEADER_FILES", "*.h")]
)
def test_every_file_is_listed(keyword: str, pattern: str) -> None:
    assert listed(keyword) == sorted(path.name for path in SOURCES.glob(pattern))


def test_it_links_what_the_wheel_is_loaded_with() -> None:
    libraries = [re.fullmatch(r"\$\{lib(.+)\}", word) for word in listed("LIBRARIES_TO_LINK")]
    assert {match[1] for match in libraries if match} == set(DEFAULT_MODULES)


def test_headers_name_each_other_without_a_path_and_ns3s_with_one() -> None:
    """As an ns-3 tree has them: its own beside the source, the others under ns3/."""
    own = {path.name for path in SOURCES.glob("*.h")}
    found = 0
    for path in [*SOURCES.glob("*.h"), *SOURCES.glob("*.cc")]:
        for name in re.findall(r'#include "(.+)"', path.read_text()):
            assert name in own or name.startswith("ns3/"), f"{path.name} includes {name}"
            found += 1
    assert found > len(own)


def test_no_two_files_use_one_name_for_what_only_they_know() -> None:
    """They are compiled as one: a constant in one unnamed namespace is in the other's too."""
    seen: dict[str, str] = {}
    for path in sorted(SOURCES.glob("*.cc")):
        for name in re.findall(
            r"^constexpr .*?\b([A-Z][A-Z0-9_]+)\b(?:\[| =)", path.read_text(), re.M
        ):
            assert seen.setdefault(name, path.name) == path.name, f"{name}: {path.name}"
    assert seen


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_every_file_compiles_by_itself() -> None:
    """The runtime compiles them as one, where a missing #include doesn't show."""
    command = [str(compiler()), "-std=c++20", "-fsyntax-only", f"-I{installation().include}"]

    def errors(path: Path) -> str:
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    with ThreadPoolExecutor(2) as pool:
        assert [told for told in pool.map(errors, sorted(SOURCES.glob("*.cc"))) if told] == []
