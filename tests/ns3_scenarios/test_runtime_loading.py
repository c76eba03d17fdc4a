"""Loading ns-3, each time in a process of its own."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ns3_scenarios import runtime
from ns3_scenarios.runtime import installation, own_code
from ns3_scenarios.runtime.installation import facts, modules, standard_headers

SIMULATE = """
from ns3_scenarios import runtime

runtime.reset(seed=1, run=1)
ns = runtime.load()
runtime.set_default("ns3::TcpSocket::SegmentSize", 1400)
ns.Simulator.Stop(ns.Seconds(1.5))
ns.Simulator.Run()
print(ns.Simulator.Now().GetNanoSeconds())
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module", autouse=True)
def _warm_cache() -> None:
    runtime.native()


def test_loading_says_nothing() -> None:
    done = run(SIMULATE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1500000000\n", "")


def test_a_child_process_inherits_none_of_it() -> None:
    program = """
import os
before = dict(os.environ)
from ns3_scenarios import runtime
runtime.load()
print(dict(os.environ) == before)
"""
    assert run(program, CLING_STANDARD_PCH="").stdout == "True\n"
    environment = {name: value for name, value in os.environ.items() if "CLING" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


@pytest.mark.slow
def test_without_a_cache_one_line_each_says_so_and_all_works(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(SIMULATE, COLLAPIPE_NS3_CACHE=str(tmp_path / "file" / "cache"))
    assert (done.returncode, done.stdout) == (0, "1500000000\n"), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert "no precompiled header" in lines[0]
    assert "native code" in lines[1]


@pytest.mark.slow
def test_beside_a_cppyy_that_runs_already_it_loads_without_the_header() -> None:
    done = run("import cppyy\n" + SIMULATE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1500000000\n", "")


def test_the_compiler_is_the_one_that_is_named_or_the_first_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", "")
    assert own_code.compiler() is None
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert own_code.compiler() is None
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_code.compiler() is None
    (tmp_path / "clang++").touch(mode=0o755)
    assert own_code.compiler() == str(tmp_path / "clang++")


@pytest.mark.slow
def test_without_a_compiler_loading_says_nothing_either(tmp_path: Path) -> None:
    """By default Cling prints on stderr that it can't run `c++` to find the standard headers."""
    for name in ("sh", "ls", "sed", "ldd", "bash", "cat"):
        if found := shutil.which(name):
            (tmp_path / name).symlink_to(found)
    bare = {"PATH": str(tmp_path), "COLLAPIPE_NS3_CACHE": str(tmp_path / "cache")}
    assert run(SIMULATE, **bare).stderr.count("\n") == 2  # the header is built, and that is said
    done = run(SIMULATE, **bare)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1500000000\n", "")


def test_the_newest_standard_headers_are_found(tmp_path: Path) -> None:
    for version in ("9", "12", "13"):  # of 13 there is no more than a part
        (tmp_path / "c++" / version).mkdir(parents=True)
        (tmp_path / "c++" / version / "vector").touch()
    beside = tmp_path / f"{platform.machine()}-linux-gnu" / "c++" / "12"
    (beside / "bits").mkdir(parents=True)
    (beside / "bits" / "c++config.h").touch()
    newest = tmp_path / "c++" / "12"
    assert standard_headers(tmp_path / "c++") == [newest, beside, newest / "backward"]


def test_a_machine_with_neither_headers_nor_compiler_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert standard_headers(tmp_path) == []
    monkeypatch.setattr(installation, "standard_headers", list)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(runtime.NotInstalled, match="apt install"):
        installation.cling_arguments.__wrapped__()


BROKEN = """
from pathlib import Path
from ns3_scenarios.runtime import installation, own_code

try:
    own_code.load_code(Path({place!r}))
except own_code.NativeBuildError as error:
    print(error)
"""


def test_code_that_does_not_compile_is_told_in_a_few_lines(tmp_path: Path) -> None:
    (tmp_path / "wrong.h").write_text("namespace collapipe { int Twice(int x); }\n")
    (tmp_path / "wrong.cc").write_text(
        '#include "wrong.h"\n#include "ns3/node.h"\nint collapipe::Twice(int x) { return y; }\n'
    )
    done = run(BROKEN.format(place=str(tmp_path)), CXX="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Cling failed: ")
    assert "undeclared identifier 'y'" in done.stdout
    assert len(done.stdout.splitlines()) <= 5


def test_unknown_modules_are_named_with_the_nearest() -> None:
    with pytest.raises(runtime.UnknownName, match="did you mean 'wifi'"):
        runtime.load(["core", "wify"])


def test_a_module_beyond_the_default_can_be_loaded_later() -> None:
    assert "csma" not in runtime.DEFAULT_MODULES
    ns = runtime.load(["csma-layout"])
    assert ns.CsmaStarHelper.__name__ == "CsmaStarHelper"


def test_the_key_holds_what_a_build_depends_on() -> None:
    known = facts()
    assert {"versions", "include", "cling", "standard", "python", "arguments", "cpu"} == set(known)
    assert set(runtime.DEFAULT_MODULES) <= set(modules())
