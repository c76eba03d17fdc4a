"""The house keeps its shape: rooms import downwards only, and files stay readable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS = {"analysis", "collapipe_ns3", "bridge", "ns3_scenarios", "run_directory"}

#: What each room may never import (top-level module names).
FORBIDDEN = {
    "run_directory": {
        "torch",
        "cppyy",
        "ns",
        "bridge",
        "ns3_scenarios",
        "collapipe_ns3",
        "analysis",
    },
    "ns3_scenarios": {"torch", "bridge", "collapipe_ns3", "analysis", "run_directory"},
    "bridge": {"ns3_scenarios", "collapipe_ns3", "analysis", "run_directory", "cppyy", "ns"},
    "collapipe_ns3": {"cppyy", "ns", "analysis"},
    "analysis": {"torch", "cppyy", "ns", "bridge", "ns3_scenarios", "collapipe_ns3"},
}

#: The command line stands above all rooms and wires them: it alone hands runs to `analysis`.
TOP = {"collapipe_ns3/cli_compare_run.py", "collapipe_ns3/display_compare.py"}

#: Rooms of `collapipe_ns3` that hold no knowledge of how a network is simulated.
PURE = ("plan.py", "costs.py", "devices.py", "models", "tasks", "schemes", "engine")

LONGEST_FILE = 400


def imported_modules(path: Path) -> set[str]:
    """Top-level names of all absolute imports in a file, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def allowed(path: Path) -> set[str]:
    return {"analysis"} if str(path.relative_to(ROOT)) in TOP else set()


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"no files in {room}"
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in files
        if (found := imported_modules(path) & FORBIDDEN[room] - allowed(path))
    }
    assert not wrong


def test_engine_schemes_and_models_never_see_the_simulator() -> None:
    places = [ROOT / "collapipe_ns3" / place for place in PURE]
    files = [f for p in places for f in ([p] if p.suffix else sorted(p.rglob("*.py")))]
    wrong = [str(f.relative_to(ROOT)) for f in files if "ns3_scenarios" in imported_modules(f)]
    assert files
    assert not wrong


def test_no_file_is_too_long_to_hold_in_the_head() -> None:
    sources = [f for room in FORBIDDEN for f in (ROOT / room).rglob("*") if f.is_file()]
    code = [f for f in sources if f.suffix in {".py", ".h", ".cc"}]
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in code}
    assert lengths
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FILE}


def test_no_test_starts_cling_before_the_runtime_does() -> None:
    """Imported at the head of a test, cppyy would start without ns-3's precompiled header."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert files
    assert [f.name for f in files if imported_modules(f) & {"cppyy", "ns"}] == []


def test_no_scheme_is_named_in_the_engine() -> None:
    for path in sorted((ROOT / "collapipe_ns3" / "engine").rglob("*.py")):
        compared = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Compare) and "scheme" in ast.dump(node.left)
        ]
        assert not compared, f"{path.name} decides by scheme: the plan should say it"
