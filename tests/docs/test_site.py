"""The documentation site builds without a warning, and asks the network for nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from analysis.derived import DERIVED
from analysis.figures import FIGURES
from collapipe_ns3.reading.study_schema import study_schema
from run_directory.columns import COLUMNS, COMMON, ROWS, unit
from run_directory.schemas import SCHEMAS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent.parent

#: Attributes whose address a browser loads by itself; that of a link is loaded when it is clicked.
LOADED = {"src", "srcset", "poster", "data", "action"}


class Loads(HTMLParser):
    """Collects the addresses that a page loads, and those that its style sheets import."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name in LOADED or (tag == "link" and name == "href")):
                self.addresses.append(value)


def is_external(address: str) -> bool:
    return "://" in address or address.startswith("//")


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    assert {
        (str(page.relative_to(site)), address)
        for page in pages
        for address in Loads(page).addresses
        if is_external(address)
    } == set()
    styles = "".join(sheet.read_text() for sheet in site.rglob("*.css"))
    assert "@import" not in styles
    assert "url(http" not in styles.replace('"', "").replace("'", "")


def test_a_page_that_loads_from_elsewhere_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<a href="https://fine.example">x</a><img src="//other.example/a.png">'
        '<link rel="stylesheet" href="https://fonts.example/f.css"><script src="local.js"></script>'
    )
    external = [address for address in Loads(page).addresses if is_external(address)]
    assert external == ["//other.example/a.png", "https://fonts.example/f.css"]


def shown_on_a_phone(chromium: Browser, folder: Path) -> list[tuple[str, object]]:
    """What is wrong with the pages in a folder: requests, errors, missing images, excess width."""
    asked: list[str] = []
    wrong: list[tuple[str, object]] = []
    tab = chromium.new_page(viewport={"width": 380, "height": 800})
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: wrong.append((tab.url, str(error))))
    for document in sorted(folder.rglob("*.html")):
        tab.goto(document.as_uri())
        images = "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
        wrong += [(tab.url, image) for image in tab.evaluate(images)]
        width = tab.evaluate("document.documentElement.scrollWidth")
        wrong += [(tab.url, width)] if width > 380 else []
    tab.close()
    return wrong + [("", url) for url in asked if not url.startswith(("file:", "data:"))]


@pytest.mark.slow
def test_a_browser_shows_every_page_on_a_phone_without_a_request(
    site: Path, chromium: Browser
) -> None:
    assert shown_on_a_phone(chromium, site) == []


@pytest.mark.slow
def test_a_page_that_a_phone_does_not_show_would_be_found(
    tmp_path: Path, chromium: Browser
) -> None:
    (tmp_path / "page.html").write_text(
        '<meta name="viewport" content="width=device-width"><div style="width: 900px">wide</div>'
        '<img src="missing.png"><script>fetch("http://127.0.0.1:9/x"); throw Error("no")</script>'
    )
    wrong = {str(what) for _, what in shown_on_a_phone(chromium, tmp_path)}
    assert any(what.endswith("missing.png") for what in wrong)
    assert {"http://127.0.0.1:9/x", "no"} <= wrong
    assert any(what.isdigit() and int(what) >= 900 for what in wrong)


@pytest.mark.slow
def test_the_reference_has_every_command_key_figure_and_column(site: Path) -> None:
    from typer.main import get_command

    from collapipe_ns3.cli.app import app

    commands = (site / "reference" / "command-line.html").read_text()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f'id="collapipe-ns3-{name}"' in commands
        for parameter in command.params:
            for option in parameter.opts:
                assert parameter.param_type_name == "argument" or option in commands
    keys = (site / "reference" / "study-keys.html").read_text()
    for key, _ in described_keys(study_schema()):
        assert f">{key}<" in keys
    figures = (site / "reference" / "figures.html").read_text()
    for name in FIGURES:
        assert f'id="{name}"' in figures
    tables = (site / "reference" / "tables.html").read_text()
    for schema in (*SCHEMAS.values(), *DERIVED.values()):
        for column in schema.names:
            assert f">{column}<" in tables


def described_keys(schema: object) -> Iterator[tuple[str, str]]:
    """Each key of a study with its description, which is empty where there is none."""
    if isinstance(schema, list):
        for value in schema:
            yield from described_keys(value)
    if isinstance(schema, dict):
        for key, value in schema.get("properties", {}).items():
            if "const" not in value:  # the name of a task
                yield key, value.get("description", "")
        for value in schema.values():
            yield from described_keys(value)


def test_every_key_of_a_study_is_described() -> None:
    found = list(described_keys(study_schema()))
    assert len(found) > 150
    assert [key for key, text in found if not text or text.startswith("in ")] == []


def test_every_column_of_a_table_is_described() -> None:
    tables = {**SCHEMAS, **DERIVED}
    assert set(ROWS) == set(COLUMNS) == set(tables)
    described = {name: set(columns) | set(COMMON) for name, columns in COLUMNS.items()}
    assert described == {name: set(schema.names) | set(COMMON) for name, schema in tables.items()}


def test_every_notebook_has_a_page() -> None:
    notebooks = {path.stem for path in (ROOT / "analysis" / "notebooks").glob("[!_]*.py")}
    assert {path.stem for path in (ROOT / "docs" / "notebooks").glob("*.md")} == notebooks


def test_units_follow_from_the_names_of_columns() -> None:
    assert unit("interference_dbm_hz") == "dBm/Hz"
    assert unit("tx_power_dbm") == "dBm"
    assert unit("bandwidth_hz") == "Hz"
    assert unit("lost_bytes") == "byte"
    assert unit("duration_s") == "s"
    assert unit("loss") == ""


def test_the_citation_and_the_changelog_have_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {key: citation[key] for key in ("title", "version", "license")} == {
        "title": project["name"],
        "version": project["version"],
        "license": project["license"],
    }
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_hooks_before_a_commit_are_local() -> None:
    """They run what `make lint` runs, and fetch nothing."""
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    hooks = [hook["entry"] for hook in repository["hooks"]]
    assert hooks == [".venv/bin/ruff check --fix", ".venv/bin/ruff format", ".venv/bin/mypy"]
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


def test_the_picture_of_the_readme_is_small() -> None:
    assert (ROOT / "docs" / "timeline.png").stat().st_size < 200_000
