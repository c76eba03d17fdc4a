"""What the documents say is so: their studies are studies, the files that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis import repeatable
from collapipe_ns3 import Study
from collapipe_ns3.run.records import SCHEMAS

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
    [said] = re.findall(
        r"two\s+columns of wall-clock time: (.*?)\.\n", ROOT.joinpath("README.md").read_text(), re.S
    )
    assert set(re.findall(r"`(\w+)` of `(\w+)`", said)) == differing


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_links_and_files_of_a_document_are_there(page: Path) -> None:
    text = page.read_text()
    linked = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    named = re.findall(r"`((?:tests|docs|benchmarks|collapipe_ns3|ns3_scenarios)/[\w/.-]+)`", text)
    missing = [link for link in linked if not (page.parent / link).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert missing == []
