"""Imports run downwards only: between the packages, and between the rooms of `collapipe_ns3`."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: What each package may never import (top-level module names).
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
    "collapipe_ns3": {"cppyy", "ns"},
    "analysis": {"torch", "cppyy", "ns", "bridge", "ns3_scenarios", "collapipe_ns3"},
}

#: The rooms of `collapipe_ns3`, from the bottom to the top: each may import those before it. A room
#: is a folder, or the modules that lie beside the folders and belong together.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("names", "nodes", "paths", "phases", "plugins", "quantity", "shadowing", "random_streams"),
    (
        "schedule",
        "plan",
        "exchange",
        "arrangement",
        "references",
        "faults",
        "node_state",
        "attendance",
        "fallback",
        "recovery_exchange",
        "problems",
        "keywords",
        "installed",
    ),
    ("learning",),
    ("costs",),
    ("observed", "outcome", "multicasts"),
    ("engine",),
    ("eventgraph",),
    ("prediction",),
    ("dssra",),
    ("schemes",),
    ("config",),
    ("topology",),
    ("reading",),
    ("run",),
    ("__init__", "study", "result"),
    ("contract",),
    ("campaign",),
    ("cli",),
    ("__main__",),
)

LEVELS = {name: level for level, room in enumerate(ROOMS) for name in room}

#: The rooms that have to do with ns-3; the others hold no knowledge of how a network is simulated.
SIMULATING = {"config", "topology", "reading", "run", "study", "contract", "campaign", "cli"}


def imports(path: Path) -> Iterator[str]:
    """The full names of all absolute imports in a file, those inside functions included.

    Of `from a import b` it is `a.b`, as `b` may be a module.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def sources(package: str) -> list[Path]:
    """The modules of a package; notebooks are users' programs, which may import everything."""
    found = sorted(p for p in (ROOT / package).rglob("*.py") if "notebooks" not in p.parts)
    assert found, f"no files in {package}"
    return found


def room_of(path: Path) -> str:
    """The room of a file of `collapipe_ns3`."""
    return path.relative_to(ROOT / "collapipe_ns3").with_suffix("").parts[0]


def rooms_used(path: Path) -> set[str]:
    """The rooms of `collapipe_ns3` that a file imports; its public names are the package's own."""
    parts = [name.split(".") for name in imports(path) if name.startswith("collapipe_ns3.")]
    return {part[1] if part[1] in LEVELS else "__init__" for part in parts}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in sources(package)
        if (found := packages(path) & FORBIDDEN[package])
    }
    assert not wrong


def test_every_room_has_its_level() -> None:
    assert {room_of(path) for path in sources("collapipe_ns3")} == set(LEVELS)


def test_a_room_imports_only_what_lies_below_it() -> None:
    wrong = {
        str(path.relative_to(ROOT)): sorted(above)
        for path in sources("collapipe_ns3")
        if (above := {used for used in rooms_used(path) if not may_import(room_of(path), used)})
    }
    assert not wrong


def may_import(room: str, used: str) -> bool:
    """Whether a room lies above another, or is in the same line of `ROOMS`."""
    return LEVELS[used] <= LEVELS[room]


def test_only_the_command_line_joins_analysis_with_the_rest() -> None:
    joining = {room_of(p) for p in sources("collapipe_ns3") if "analysis" in packages(p)}
    assert joining == {"cli"}


def test_what_plans_and_executes_never_sees_the_simulator() -> None:
    seeing = {room_of(p) for p in sources("collapipe_ns3") if "ns3_scenarios" in packages(p)}
    assert seeing <= SIMULATING


def test_no_test_starts_cling_before_the_runtime_does() -> None:
    """Imported at the head of a test, cppyy would start without ns-3's precompiled header."""
    assert [path.name for path in sources("tests") if packages(path) & {"cppyy", "ns"}] == []


#: The bundled schemes by name, with the modules and the classes that they are in.
SCHEMES: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "entry-points"
]["collapipe_ns3.schemes"]

#: Names of schemes that are ordinary words as well: tables have a column `pipeline`.
WORDS = {"pipeline", "local"}

#: The rooms that execute or predict a plan, whoever made it.
BLIND = ("engine", "eventgraph", "prediction", "costs", "learning")


def schemes_named(tree: ast.Module) -> Iterator[str]:
    """How a file asks which bundled scheme it has to do with, a line each."""
    modules = {target.partition(":")[0] for target in SCHEMES.values()}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            yield f"line {node.lineno} imports {node.module}"
        elif isinstance(node, ast.Constant) and node.value in SCHEMES.keys() - WORDS:
            yield f"line {node.lineno} names {node.value}"
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            yield from (f"line {node.lineno} asks for {name}" for name in constants(sides) & WORDS)
        elif isinstance(node, ast.MatchValue):
            yield from (f"line {node.lineno} asks for {n}" for n in constants([node.value]) & WORDS)


def constants(sides: list[ast.expr]) -> set[object]:
    """The constants among these expressions, those in lists, tuples and sets included."""
    inside = [
        each
        for side in sides
        for each in (side.elts if isinstance(side, ast.List | ast.Tuple | ast.Set) else [side])
    ]
    return {each.value for each in inside if isinstance(each, ast.Constant)}


def test_no_bundled_scheme_is_named_outside_the_schemes() -> None:
    """What depends on the scheme is said by its plan, so that a scheme of a user's own can too."""
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in sources("collapipe_ns3")
        if room_of(path) != "schemes"
        and (found := sorted(set(schemes_named(ast.parse(path.read_text())))))
    }
    assert not wrong


def test_what_executes_or_predicts_a_plan_does_not_read_whose_it_is() -> None:
    reading = [
        f"{path.relative_to(ROOT)}, line {node.lineno}"
        for path in [*sources("bridge"), *sources("collapipe_ns3")]
        if "bridge" in path.parts or room_of(path) in BLIND
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "scheme"
    ]
    assert not reading


@pytest.mark.parametrize(
    "code",
    [
        "if plan.scheme == 'vanilla_fl': pass",
        "if 'pipeline' == plan.scheme: pass",
        "kind = {'titanic': 1}[name]",
        "if name in ('local', 'other'): pass",
        "match name:\n    case 'local': pass",
        "from collapipe_ns3.schemes.oracle import Oracle",
    ],
)
def test_a_scheme_that_is_named_is_found(code: str) -> None:
    assert list(schemes_named(ast.parse(code)))
    assert not list(schemes_named(ast.parse("if row['pipeline'] == 3 or name == 'lte': pass")))
