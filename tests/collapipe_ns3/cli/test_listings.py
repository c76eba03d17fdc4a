"""Schemes and tasks with their settings, models and device profiles are listed completely."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Annotated, Literal

import plugging
import pytest
import studies
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field
from typer.testing import CliRunner, Result

from collapipe_ns3 import Study
from collapipe_ns3 import installed as listing
from collapipe_ns3.cli.app import app
from collapipe_ns3.cli.listings_view import radio_powers
from collapipe_ns3.costs.devices import profiles
from collapipe_ns3.installed import type_text
from collapipe_ns3.keywords import model_of, plain_defaults
from collapipe_ns3.learning.installed import installed_tasks
from collapipe_ns3.learning.models import MODELS
from collapipe_ns3.learning.registry import TASKS
from collapipe_ns3.quantity import to_dbm
from collapipe_ns3.reading import study_file
from collapipe_ns3.schemes import SCHEMES
from collapipe_ns3.schemes.installed import installed_schemes

PAGE = (Path(__file__).parents[3] / "docs" / "schemes.md").read_text()


def call(*arguments: str) -> Result:
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.stderr
    return done


def rows() -> Iterator[str]:
    """The rows of the tables in docs/schemes.md, as the lists have them."""
    for scheme in installed_schemes():
        for each in scheme.settings:
            default = each.default if isinstance(each.default, str) else json.dumps(each.default)
            yield f"| `{each.name}` | {each.type} | {default} | {each.description} |"
    for each in profiles().values():
        yield (
            f"| `{each.name}` | {each.flops_per_s / 1e9:g} | {each.overhead_s * 1e3:g} "
            f"| {each.memory_bytes / 2**30:g} | {each.idle_power_w:g} | {each.active_power_w:g} "
            f"| {radio_powers(each)} | {to_dbm(each.max_tx_power_w):.0f} |"
        )


def test_the_page_has_every_scheme_setting_and_profile() -> None:
    assert [name for name in SCHEMES.names() if f"## `{name}`" not in PAGE] == []
    assert [row for row in rows() if row not in PAGE] == []


def test_every_setting_of_a_bundled_plug_in_is_described() -> None:
    plugins = [*installed_schemes(), *(task.plugin for task in installed_tasks())]
    lacking = [(plugin.name, each.name) for plugin in plugins for each in plugin.settings
               if not each.description or "anything" in each.type]  # fmt: skip
    assert lacking == []


def test_profiles_and_schemes_are_listed_with_figures_and_sources() -> None:
    shown = call("profiles").stdout
    assert all(name in shown for name in profiles())
    assert "NVIDIA T4" in shown
    data = json.loads(call("profiles", "--json").stdout)
    assert data["jetson-nano"]["flops_per_s"] == 71e9
    assert all(each["source"] for each in data.values())

    shown = call("schemes").stdout
    assert all(each.name in shown for scheme in installed_schemes() for each in scheme.settings)
    data = json.loads(call("schemes", "--json").stdout)
    assert list(data) == SCHEMES.names()
    assert data["pipeline"]["package"] == "collapipe-ns3"
    summary = "Pipeline parallelism like GPipe (Huang et al., NeurIPS 2019)."
    assert data["pipeline"]["description"] == summary
    [first, *_] = data["pipeline"]["settings"]
    assert (first["name"], first["type"], first["default"]) == ("micro_batches", "integer ≥ 1", 4)


def test_tasks_and_models_are_listed_with_settings_and_metric() -> None:
    shown = call("tasks").stdout
    assert all(each.name in shown for task in installed_tasks() for each in task.plugin.settings)
    assert all(name in shown for name in MODELS)
    assert "main metric: exact_match (higher is better)" in shown
    data = json.loads(call("tasks", "--json").stdout)
    assert list(data) == ["tasks", "models"]
    assert list(data["tasks"]) == TASKS.names()
    assert list(data["models"]) == list(MODELS)
    numbers = data["tasks"]["numbers"]
    assert (numbers["package"], numbers["models"]) == ("collapipe-ns3", ["transformer"])
    assert numbers["metric"] == {"name": "exact_match", "unit": "", "higher_is_better": True}
    assert numbers["settings"][0] == {
        "name": "limit",
        "type": "integer ≥ 10, ≤ 100000",
        "required": False,
        "default": 10_000,
        "description": "Cardinals are below this; ordinals are below this and below 1000.",
    }


def test_a_task_that_cannot_be_loaded_is_listed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = EntryPoint("broken", "no_such_module:Task", "collapipe_ns3.learning")
    monkeypatch.setattr(listing, "entry_points", lambda group: EntryPoints([broken]))
    [found] = installed_tasks()
    assert "no_such_module" in found.plugin.error
    assert "no_such_module" in call("tasks").stdout


def test_the_schema_has_the_settings_of_a_task_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = """
    def __init__(self, setup, kind: Kind, level: int = 3) -> None:
        super().__init__(setup)
"""
    head = "from enum import Enum\nKind = Enum('Kind', {'A': 'a', 'B': 'b'})"
    plugging.install_task(tmp_path, code, head)
    assert accepted({"name": "mine", "kind": "a", "level": 1})
    assert not accepted({"name": "mine", "kind": "c"})
    assert not accepted({"name": "mine", "kind": "a", "limit": 100})
    assert not accepted({"name": "mine"})
    assert not accepted({"name": "other"})
    assert accepted({"limit": 100})
    assert not accepted({"limit": 1})


def test_the_schema_has_the_names_of_settings_whose_types_have_no_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = """
    def __init__(self, setup, kind: Kind, level: int = 3) -> None:
        super().__init__(setup)
"""
    head = """
from typing import Annotated
from pydantic import InstanceOf
Kind = Annotated[Numbers, InstanceOf()]
"""
    plugging.install_task(tmp_path, code, head)
    assert accepted({"name": "mine", "kind": 1, "level": "anything"})
    assert not accepted({"name": "mine", "kinds": 1})


def accepted(task: dict[str, object]) -> bool:
    """Whether the printed schema accepts this section `task`."""
    schema = json.loads(call("schema").stdout)
    Draft202012Validator.check_schema(schema)
    section = {"$ref": "#/$defs/Task", "$defs": schema["$defs"]}
    return bool(Draft202012Validator(section).is_valid(task))


def test_a_scheme_that_cannot_be_loaded_is_listed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = EntryPoint("broken", "no_such_module:Scheme", "collapipe_ns3.schemes")
    monkeypatch.setattr(listing, "entry_points", lambda group: EntryPoints([broken]))
    [found] = installed_schemes()
    assert (found.name, found.settings) == ("broken", ())
    assert "no_such_module" in found.error
    assert "no_such_module" in call("schemes").stdout


@pytest.mark.parametrize("scheme", SCHEMES.names())
def test_show_prints_all_settings_and_its_output_is_the_same_study(
    scheme: str, tmp_path: Path
) -> None:
    study = studies.write(tmp_path, scheme={"name": scheme})
    shown = call("show", study)
    (tmp_path / "again.yaml").write_text(shown.stdout)
    again = Study.load(tmp_path / "again.yaml")
    [listed] = [each for each in installed_schemes() if each.name == scheme]
    expected = {each.name: each.default for each in listed.settings}
    assert again.config.scheme.settings == expected
    assert again.config == study_file.resolved(Study.load(study).config)
    assert call("show", str(tmp_path / "again.yaml")).stdout == shown.stdout
    assert again.plan() == Study.load(study).plan()


def test_defaults_that_no_study_file_can_say_are_left_out() -> None:
    def scheme(
        needed: int,
        plain: Annotated[int, Field(ge=1)] = 3,
        some: tuple[int, ...] = (1, 2),
        word: Literal["a", "b"] = "b",
    ) -> None: ...

    assert plain_defaults(model_of(scheme, "test")) == {"plain": 3, "word": "b"}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number > 0, ≤ 1"),
        ({"enum": ["gpipe", "1f1b"]}, "gpipe or 1f1b"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        (
            {"type": "object", "additionalProperties": {"type": "boolean"}},
            "mapping to true or false",
        ),
        ({"type": "array", "items": {"type": "string"}}, "list of text"),
        ({}, "anything"),
    ],
)
def test_types_are_put_into_words(schema: dict[str, object], text: str) -> None:
    assert type_text(schema) == text


@given(st.recursive(st.sampled_from([{}, {"type": "number"}]), lambda inner: st.builds(
    lambda one: {"type": "array", "items": one}, inner)))  # fmt: skip
def test_any_nested_schema_has_words(schema: dict[str, object]) -> None:
    assert type_text(schema)
