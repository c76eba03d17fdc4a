"""Modules that are slow to import are imported only by the commands that need them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from collapipe_ns3 import Study
from collapipe_ns3.reading import study_file

#: What takes half a second or more of processor time to import.
HEAVY = {"torch", "pandas", "scipy", "matplotlib", "pyarrow", "cppyy", "ns", "num2words"}

CALLED = """
import json, sys
from typer.testing import CliRunner
from collapipe_ns3.cli.app import app

done = CliRunner().invoke(app, sys.argv[1:])
assert done.exit_code == 0, done.output
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_by(*arguments: str) -> set[str]:
    """The top-level modules that a process has loaded when the command ends."""
    command = [sys.executable, "-c", CALLED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["studies"],
        ["profiles"],
        ["run", "--help"],
        ["compare", "--help"],
    ],
    ids=" ".join,
)
def test_a_command_that_only_prints_facts_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments) & {*HEAVY, "numpy"} == set()


@pytest.mark.parametrize(
    "arguments", [["studies", "--json"], ["schema"], ["tasks"], ["tasks", "--json"]], ids=" ".join
)
def test_listing_settings_of_tasks_loads_no_more_than_their_data_needs(
    arguments: list[str],
) -> None:
    heavy = {*HEAVY, "transformers", "tokenizers", "peft", "sacrebleu", "sklearn"}
    assert loaded_by(*arguments) & heavy == set()


def test_help_does_not_even_load_what_reads_studies() -> None:
    assert loaded_by("--help") & {"pydantic", "yaml", "numpy"} == set()


def test_showing_a_study_needs_neither_torch_nor_ns3_nor_pandas() -> None:
    assert loaded_by("show", "quickstart") & (HEAVY - {"scipy"}) == set()


def test_planning_needs_no_torch() -> None:
    loaded = loaded_by("validate", "quickstart")
    assert "cppyy" in loaded
    assert loaded & {"torch", "pandas", "matplotlib", "pyarrow"} == set()


def test_the_catalogue_has_the_bundled_studies_as_they_are_loaded() -> None:
    """A mobility trace is read only when its study is loaded, and becomes the nodes' motions."""
    found = {
        name: study_file.with_task_defaults(config)
        for name, config in study_file.catalogue().items()
    }
    assert found.keys() == study_file.bundled().keys()
    for name, listed in found.items():
        loaded = Study.load(name).config
        if listed.mobility.trace is None:
            assert listed == loaded
        else:
            moved = {"mobility": listed.mobility, "clusters": listed.clusters}
            assert listed == loaded.model_copy(update=moved)
