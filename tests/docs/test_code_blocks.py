"""The code in the documents works: Python is executed, commands are parsed, data is read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from analysis.figures import FIGURES
from collapipe_ns3 import Study
from collapipe_ns3.cli.app import app
from collapipe_ns3.reading.study_file import bundled

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: Commands of documents that take longer than a minute, which no test runs; they were run by hand.
LONG = {
    "collapipe-ns3 compare quickstart --seeds 0-2 --rounds 4": "two minutes",
}


@dataclass(frozen=True)
class Block:
    """A block of code: the page and the line where it begins, its language and its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in re.finditer(r"^```([\w-]*)\n(.*?)^```", text, re.S | re.M):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(str(page.relative_to(ROOT)), line, found[1], found[2])


BLOCKS = [block for page in DOCUMENTS for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
SHELL = [block for block in BLOCKS if block.language in ("", "console", "sh", "bash")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short run under all names that the documents use."""
    folder = tmp_path_factory.mktemp("documents")
    study = Study.load("quickstart", rounds=1, training__local_steps=1)
    study = study.with_(set={"clusters[0].size": 200, "clusters[1].size": 200})
    study.run(out=folder / "RUN")
    for name in ("one", "other", "quickstart-collapipe-seed1"):
        (folder / "runs").mkdir(exist_ok=True)
        (folder / "runs" / name).symlink_to(folder / "RUN")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("document", sorted({block.page for block in PYTHON}))
def test_the_python_of_a_page_runs(
    document: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks of a page, one after the other, as a reader runs them."""
    monkeypatch.chdir(runs)
    names: dict[str, object] = {"__name__": "document"}
    for block in PYTHON:
        if block.page == document:
            exec(compile(block.text, str(block), "exec"), names)


#: Files, modules and plug-ins of a reader, which other tests make where they can be tested.
READERS_OWN = ("my_folder", "my_package", "wired:", "ways.", "largest")

#: A command of this project at the beginning of a line.
COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?collapipe-ns3 (.*)$", re.M)


def commands(block: Block) -> list[list[str]]:
    """The words of each command of this project in a block, without comments."""
    found = COMMAND.findall(block.text.replace("\\\n", " "))
    return [shlex.split(rest, comments=True) for rest in found]


COMMANDS = [
    pytest.param(words, id=f"{block}-{words[0]}") for block in SHELL for words in commands(block)
]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_of_a_document_is_one(words: list[str]) -> None:
    """The command and its options exist, and a study without a suffix is a bundled one."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    name, *rest = words
    command = group.commands[name]
    with Context(group) as parent:
        context = command.make_context(name, list(rest), parent=parent)
    study = context.params.get("study")
    if isinstance(study, str) and not study.endswith(".yaml") and not study.isupper():
        assert study in bundled()
    if name == "figure" and "--list" not in rest:
        assert rest[0] in FIGURES


def named_options(text: str) -> Iterator[tuple[str, str]]:
    """Each command and option in the text of a page, as in `collapipe-ns3 schemes --json`."""
    for command, rest in re.findall(r"`collapipe-ns3 ([a-z]\w*)([^`]*)`", text):
        yield command, ""
        for option in re.findall(r"--[\w-]+", rest):
            yield command, option


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_commands_and_options_in_a_sentence_exist(document: Path) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    options = {
        name: {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        for name, command in group.commands.items()
    }
    for command, option in named_options(document.read_text()):
        assert command in options
        assert not option or option in options[command]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=str)
def test_yaml_of_a_document_is_a_study_or_a_part_of_one(block: Block) -> None:
    """A part is completed by a cluster and a name; its files and modules need not exist."""
    if any(own in block.text for own in READERS_OWN):
        pytest.skip("names a file or a module of the reader's own")
    part = yaml.safe_load(block.text)
    devices = part.pop("devices", ["raspberry-pi-4", "phone-flagship"])
    cluster = {"cu": "jetson-nano", "devices": devices}
    whole = {"name": "part", "clusters": [cluster], **part}
    assert Study.from_yaml(yaml.safe_dump(whole)).config.rounds >= 1


def test_long_commands_are_those_of_a_document() -> None:
    written = {f"collapipe-ns3 {shlex.join(words)}" for block in SHELL for words in commands(block)}
    assert set(LONG) <= written
