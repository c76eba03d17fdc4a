"""The identity of code has every file that can change a result, and changes are named."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import studies
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.run import code_identity
from collapipe_ns3.run.code_identity import NO_PART_OF_A_RUN, PROJECT, CodeIdentity, changes
from collapipe_ns3.run.manifest import code_changes, resumed_manifest
from collapipe_ns3.topology import own_scenario

ROOT = Path(code_identity.__file__).parents[2]


def listed(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in NO_PART_OF_A_RUN)


def sources() -> set[str]:
    """The Python and C++ of the packages that make runs."""
    return {
        str(path.relative_to(ROOT))
        for package in code_identity.PROJECT_PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".h", ".cc"}
    }


def project() -> set[str]:
    digests = code_identity.of_plug_ins({}).parts[PROJECT]
    assert digests is not None
    return set(digests)


def test_every_source_is_part_of_the_code_unless_it_is_listed() -> None:
    assert {"collapipe_ns3/plan.py", "ns3_scenarios/native/episode.cc"} <= project()
    assert project() == {name for name in sources() if not listed(name)}
    assert not any(name.startswith("analysis/") for name in project())


def test_every_package_of_this_project_but_the_analysis_makes_runs() -> None:
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {each.rstrip("*") for each in shipped["packages"]["find"]["include"]}
    assert packages - {"analysis"} == set(code_identity.PROJECT_PACKAGES)


def test_a_new_module_is_part_of_the_code(tmp_path: Path) -> None:
    room = tmp_path / "collapipe_ns3"
    room.mkdir()
    for name in ("__init__.py", "__main__.py", "never_seen_before.py", "notes.md", ".hidden.py"):
        (room / name).touch()
    tree = code_identity._Tree(room, tmp_path, code_identity._makes_runs)
    assert [name for name, _ in tree.files()] == [
        "collapipe_ns3/__init__.py",
        "collapipe_ns3/never_seen_before.py",
    ]


def test_what_is_listed_is_there_and_makes_no_run() -> None:
    """No file of the code imports one that is not part of it, except the Python API."""
    entrance = {"collapipe_ns3/__init__.py", "collapipe_ns3/study.py"}
    files = {
        str(p.relative_to(ROOT))
        for package in code_identity.PROJECT_PACKAGES
        for p in ROOT.glob(f"{package}/**/*")
    }
    for pattern in NO_PART_OF_A_RUN:
        assert any(fnmatch(name, pattern) for name in files), f"{pattern} lists nothing"
    hidden = {name.removesuffix(".py").replace("/", ".") for name in sources() if listed(name)}
    for name in sorted(sources() - entrance):
        if name.endswith(".py") and not listed(name):
            assert not imported(ROOT / name) & hidden, f"{name} imports what may not change runs"


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, and of all names that might be modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_versions_are_those_that_are_installed() -> None:
    versions = code_identity.of_plug_ins({}).versions
    for package in ("ns3", "torch", "numpy", "scipy"):
        assert versions[package] == importlib.metadata.version(package)


def test_an_identity_is_plain_data_and_comes_back() -> None:
    identity = code_identity.of_plug_ins({})
    again = CodeIdentity.from_json(json.loads(json.dumps(identity.to_json())))
    assert again == identity
    assert changes(again, identity) == ()
    for wrong in (None, 3, {}, {"parts": 3, "versions": {}}, {"parts": {"a": 3}, "versions": {}}):
        assert CodeIdentity.from_json(wrong) is None


_NAMES = st.sampled_from(["a.py", "b.py", "b/c.cc"])
_FILES = st.dictionaries(_NAMES, st.sampled_from(["0", "1", None])) | st.none()
_IDENTITIES = st.builds(
    CodeIdentity,
    st.dictionaries(st.sampled_from([PROJECT, "scheme mine"]), _FILES),
    st.fixed_dictionaries({"torch": st.sampled_from(["1", "2", None])}),
)


@given(_IDENTITIES, _IDENTITIES)
def test_nothing_has_changed_exactly_where_all_is_known_and_equal(
    one: CodeIdentity, other: CodeIdentity
) -> None:
    digests = [part for each in (one, other) for part in each.parts.values()]
    known = all(part is not None and None not in part.values() for part in digests)
    assert (changes(one, other) == ()) == (known and one == other)


def test_changes_are_reported_in_words() -> None:
    was = CodeIdentity(
        {PROJECT: {"a.py": "0"}, "scheme mine (m:M)": {"m/plan.py": "0", "m/old.py": "0"}},
        {"torch": "2.12", "numpy": "2.0"},
    )
    now = CodeIdentity(
        {PROJECT: {"a.py": "0"}, "scheme mine (m:M)": {"m/plan.py": "1", "m/new.py": "0"}},
        {"torch": "2.13", "numpy": "2.0"},
    )
    assert changes(was, now) == (
        "scheme mine (m:M): m/new.py is new, m/old.py is gone, m/plan.py changed",
        "torch 2.12 → 2.13",
    )
    assert changes(None, now) == ("its code is not recorded",)
    many = dataclasses.replace(now, parts={PROJECT: {f"{n}.py": "0" for n in range(6)}})
    fewer = dataclasses.replace(now, parts={PROJECT: {}})
    assert changes(fewer, many) == (
        f"{PROJECT}: 0.py is new, 1.py is new, 2.py is new, 3 more files",
    )


def older(identity: CodeIdentity, torch: str) -> CodeIdentity:
    return dataclasses.replace(identity, versions={**identity.versions, "torch": torch})


def test_a_manifest_without_an_identity_is_of_unknown_code() -> None:
    present = code_identity.of_plug_ins({})
    for manifest in ({}, {"code": 3}, {"code": present.to_json(), "other_code": 3}):
        assert code_changes(manifest, [0], present) == ("its code is not recorded",)
    assert code_changes({"code": present.to_json()}, [0, 1], present) == ()
    assert code_changes({}, [], present) == ()


def test_a_manifest_says_which_code_made_which_rounds() -> None:
    present = code_identity.of_plug_ins({})
    first, second = older(present, "1.0"), older(present, "2.0")
    begun = {"seed": 1, "code": first.to_json()}
    assert resumed_manifest(begun, {}, 0, first) == begun  # nothing is left of what there was
    same = resumed_manifest({"seed": 1, "code": first.to_json()}, begun, 2, first)
    assert same == begun
    later = resumed_manifest({"seed": 1, "code": second.to_json()}, begun, 2, second)
    assert later["code"] == first.to_json()
    assert later["other_code"] == [{"from_round": 2, "code": second.to_json()}]
    now = present.versions["torch"]
    assert code_changes(later, [1], present) == (f"torch 1.0 → {now}",)
    assert code_changes(later, [2], present) == (f"torch 2.0 → {now}",)
    assert code_changes(later, range(3), present) == (f"torch 1.0 → {now}", f"torch 2.0 → {now}")
    # It was killed before it made a round, and goes on by the first code: that made all rounds.
    again = resumed_manifest({"seed": 1, "code": first.to_json()}, later, 2, first)
    assert again == begun
    unknown = resumed_manifest({"seed": 1, "code": second.to_json()}, {"seed": 1}, 1, second)
    assert (unknown["code"], unknown["other_code"][0]["from_round"]) == (None, 1)


def package(folder: Path, name: str) -> Path:
    made = folder / name
    (made / "inner").mkdir(parents=True)
    (made / "__init__.py").write_text("")
    (made / "plan.py").write_text("STEPS = 1\n")
    (made / "inner" / "table.csv").write_text("1\n")
    (made / "README.md").write_text("words")
    (made / "__pycache__").mkdir()
    (made / "__pycache__" / "plan.cpython-311.pyc").write_bytes(b"")
    return made


def digests_of(module: str) -> code_identity.Digests:
    return code_identity.of_plug_ins({"plug-in": module}).parts["plug-in"]


def test_a_plug_in_is_all_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "of_a_package")
    monkeypatch.syspath_prepend(tmp_path)
    whole = {"of_a_package/__init__.py", "of_a_package/plan.py", "of_a_package/inner/table.csv"}
    assert set(digests_of("of_a_package.plan") or ()) == whole
    package(tmp_path / "shared_namespace", "of_a_namespace")
    inner = {f"of_a_namespace/{name.partition('/')[2]}" for name in whole}
    assert set(digests_of("shared_namespace.of_a_namespace.plan") or ()) == inner


def test_a_plug_in_without_a_package_is_the_code_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a user's own scenario in the working directory, with its C++ files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wired_alone.py").write_text("def build(spec): ...\n")
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "cable.cc").write_text("int x;\n")
    (tmp_path / "thesis.tex").touch()
    (tmp_path / "runs" / "one").mkdir(parents=True)
    for name in ("manifest.json", "study.yaml", "of_a_run.py"):
        (tmp_path / "runs" / "one" / name).touch()
    config = studies.config(scenario="wired_alone:build")
    used = code_identity.plug_ins(config)
    assert used == {"scenario wired_alone:build": "wired_alone"}
    found = code_identity.of_plug_ins(used).parts["scenario wired_alone:build"]
    assert set(found or ()) == {"wired_alone.py", "native/cable.cc"}


def test_of_an_installed_module_without_a_package_its_own_file_is_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "single_module.py").touch()
    (installed / "of_somebody_else.py").touch()
    monkeypatch.syspath_prepend(installed)
    assert set(digests_of("single_module") or ()) == {"single_module.py"}


def test_a_folder_with_too_many_files_never_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_identity, "_MOST_FILES", 3)
    monkeypatch.chdir(tmp_path)
    for name in ("in_a_crowd", "a", "b", "c"):
        (tmp_path / f"{name}.py").touch()
    identity = code_identity.of_plug_ins({"plug-in": "in_a_crowd"})
    changed = [each for each in changes(identity, identity) if each.startswith("plug-in")]
    assert changed == ["plug-in: its files can't be compared: not found, or more than 3"]


def test_a_file_that_changed_after_it_was_loaded_is_not_taken_for_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = package(tmp_path, "edited_in_use")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("edited_in_use.plan")
    before = digests_of("edited_in_use.plan") or {}
    (made / "plan.py").write_text("STEPS = 2\n")
    (made / "unused.py").write_text("")
    after = digests_of("edited_in_use.plan") or {}
    assert after["edited_in_use/plan.py"] is None
    assert after["edited_in_use/unused.py"] is not None
    assert after["edited_in_use/__init__.py"] == before["edited_in_use/__init__.py"]


def test_a_study_of_this_projects_own_schemes_uses_no_plug_in() -> None:
    assert code_identity.plug_ins(studies.config(scheme="pipeline")) == {}


def test_the_code_is_found_without_loading_it() -> None:
    """Neither torch nor ns-3, nor the plug-in itself."""
    assert "this" not in sys.modules
    program = (
        "import sys\n"
        "from collapipe_ns3.run import code_identity\n"
        "before = set(sys.modules)\n"
        "code_identity.of_plug_ins({'plug-in': 'this'})\n"
        "new = set(sys.modules) - before\n"
        "print(sorted(new & {'torch', 'ns', 'cppyy', 'this', 'scipy'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]"]


def test_the_working_directory_is_first_only_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    with own_scenario.working_directory_first():
        assert sys.path == [str(tmp_path), *before]
    assert sys.path == before
