"""The documents are true: studies can be read, named files exist, rooms are in their order."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from analysis import repeatable
from collapipe_ns3 import Study
from run_directory.schemas import SCHEMAS

ROOT = Path(__file__).parent.parent
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCUMENTS = [ROOT / "README.md", CONTRIBUTING, *sorted((ROOT / "docs").rglob("*.md"))]
STUDIES = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in DOCUMENTS
    for number, text in enumerate(re.findall(r"```yaml\n(name:.*?)```", page.read_text(), re.S))
]


@pytest.mark.parametrize("text", STUDIES)
def test_a_study_in_a_document_is_one(text: str) -> None:
    assert Study.from_yaml(text).config.rounds >= 1


def test_the_readme_names_the_columns_that_do_not_repeat() -> None:
    differing = {
        (column, table)
        for table, schema in SCHEMAS.items()
        for column in schema.names
        if column not in repeatable(schema.empty_table().to_pandas())
    }
    [listed] = re.findall(
        r"two\s+columns of wall-clock time: (.*?)\.\n", ROOT.joinpath("README.md").read_text(), re.S
    )
    assert set(re.findall(r"`(\w+)` of `(\w+)`", listed)) == differing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_and_files_of_a_document_are_there(document: Path) -> None:
    text = document.read_text()
    linked = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    folders = "analysis|benchmarks|bridge|collapipe_ns3|docs|ns3_scenarios|run_directory|tests"
    named = re.findall(rf"`((?:{folders})/[\w/.-]+)`", text)
    missing = [link for link in linked if not (document.parent / link).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_anchors_that_a_document_links_to_are_there(document: Path) -> None:
    linked = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text())
    missing = [
        f"{target}#{anchor}"
        for target, anchor in linked
        if anchor not in anchors(document.parent / target if target else document)
    ]
    assert missing == []


def test_contributing_lists_the_rooms_in_their_order() -> None:
    """From the top to the bottom, each line of names as in `test_rooms.ROOMS`."""
    rooms = runpy.run_path(str(ROOT / "tests" / "test_rooms.py"))["ROOMS"]
    [diagram] = re.findall(r"^collapipe_ns3/ .*?\n(.*?)\n\n", CONTRIBUTING.read_text(), re.S | re.M)
    listed = [re.split(r" {2,}", line.strip())[0] for line in diagram.splitlines()]
    assert [tuple(line.split(", ")) for line in reversed(listed)] == list(rooms)


def test_contributing_names_the_make_targets_there_are() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make (\w+)", CONTRIBUTING.read_text()))
    assert named <= targets
    assert named >= {"install", "lint", "format", "test", "bench"}
