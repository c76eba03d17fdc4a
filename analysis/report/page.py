"""The report as one HTML page, which needs nothing but itself."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from analysis.differences import differences
from analysis.figures.style import COMPUTATIONS, TRANSFERS
from analysis.load import Runs
from analysis.report import chart, reproduce, settings, summary, tables
from analysis.report.drawings import drawings
from analysis.report.timelines import COLUMNS, PHASES, Rounds, timelines

#: What the kinds of bars are called in the legend, where they have an entry; others are "other".
_KIND_TEXTS: Mapping[str, str] = {
    "F": "forward",
    "B": "backward",
    "step": "optimizer step",
    "aggregate": "aggregation",
    "model": "model",
    "activation": "activations",
    "labels": "labels",
    "gradient": "gradients",
    "parameters": "parameters",
    "sounding": "sounding",
    "wait": "waiting",
    PHASES[0]: "phase of the round",
    PHASES[1]: "",
    "other": "other",
}

#: The colours of what only the interactive timeline shows, and those that need another on dark.
_COLOURS = {"wait": "#e4e4e4", PHASES[0]: "#8fa3b8", PHASES[1]: "#bccad8", "other": "#996633"}
_ON_DARK = {"wait": "#3d444d", "step": "#f2f2f2"}


@dataclass(frozen=True, slots=True)
class Page:
    """The page, the names of its runs, and a line for everything that it could not show."""

    html: str
    runs: Sequence[str]
    left_out: Sequence[str]


def page(runs: Runs, rounds: Rounds = "some") -> Page:
    """The report of these runs; `rounds` says which rounds have an interactive timeline."""
    compared = settings.compare_runs(runs)
    drawn = drawings(runs)
    missing = [*runs.skipped, *summary.unfinished(runs), *compared.notes]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True
    )
    template = environment.from_string(_file("page.html"))
    html = template.render(
        **_about(runs, compared),
        **_tables(runs, compared),
        **_interactive(runs, rounds),
        **_configuration(runs),
        drawings=drawn,
        problems=missing,
        css=Markup(_file("page.css")),
        js=Markup(_file("page.js")),
    )
    undrawn = [f"figure {each.name}: {each.message}" for each in drawn if each.message]
    return Page(html, [run.name for run in runs.runs], [*missing, *undrawn])


def _about(runs: Runs, compared: settings.Compared) -> dict[str, Any]:
    studies = {str(run.study.get("name", "run")): run.study for run in runs.runs}
    descriptions = [str(study.get("description") or "") for study in studies.values()]
    return {
        "title": f"Report on {', '.join(studies)}",
        "descriptions": list(dict.fromkeys(filter(None, descriptions))),
        "what_was_run": summary.what_was_run(runs),
        "facts": summary.facts(runs),
        "results": summary.results(runs, compared.comparison),
        "contents": [
            ("summary", "Summary"),
            ("tables", _tables_heading(compared)),
            ("timeline", "Rounds in time"),
            ("figures", "Figures"),
            ("figure-map", "Map"),
            ("configuration", "Configuration and seeds"),
            ("environment", "Environment"),
            ("reproduce", "How to make these runs again"),
        ],
    }


def _tables_heading(compared: settings.Compared) -> str:
    return "Rounds" if compared.comparison is None else "Comparison"


def _tables(runs: Runs, compared: settings.Compared) -> dict[str, Any]:
    heading, comparison = _tables_heading(compared), compared.comparison
    if comparison is None:
        return {
            "tables_heading": heading,
            "tables": [tables.rounds(run, number) for number, run in enumerate(runs)],
            "folded": [],
        }
    shown = [tables.means(comparison), tables.percentages(comparison)]
    return {
        "tables_heading": heading,
        "tables": [table for table in shown if table is not None],
        "folded": [tables.single_runs(comparison)],
    }


def _interactive(runs: Runs, rounds: Rounds) -> dict[str, Any]:
    colours = {kind: colour for kind, (colour, _) in COMPUTATIONS.items()} | TRANSFERS | _COLOURS
    kinds = list(_KIND_TEXTS)
    content = {
        "kinds": [
            {"text": text, "light": colours[kind], "dark": _ON_DARK.get(kind, colours[kind])}
            for kind, text in _KIND_TEXTS.items()
        ],
        "columns": list(COLUMNS.items()),
        "timelines": [each.to_json() for each in timelines(runs, rounds, kinds)],
    }
    return {
        "chart": _json(chart.empty_chart([colours[kind] for kind in kinds])),
        "timelines": _json(json.dumps(content, separators=(",", ":"), ensure_ascii=False)),
        "scripts": [_script(text) for text in chart.scripts()],
    }


def _configuration(runs: Runs) -> dict[str, Any]:
    members, differing = runs.runs, differences(runs.runs)
    study = members[0].whole.study
    rows = [(r.name, r.scheme, r.seed, r.rounds, r.manifest.get("started", "")) for r in members]
    by_key = [
        (key, value, _names(runs, values, value))
        for key, values in differing.items()
        if key not in ("seed", "scheme.name")  # which the table of runs has
        for value in dict.fromkeys(values)
    ]
    made = reproduce.reproduction(runs)
    return {
        "first_run": members[0].name,
        "study": study,
        "study_files": [(name, _address(text)) for name, text in made.studies.items()],
        "runs_table": tables.texts(
            "seeds", "Runs", ["run", "scheme", "seed", "rounds", "started"], rows
        ),
        "differences": tables.texts(
            "settings", "Settings that differ between runs", ["key", "value", "runs"], by_key
        )
        if by_key
        else None,
        "environment": tables.texts(
            "versions",
            "Versions and machine",
            ["what", "value", "runs"],
            reproduce.environment(runs),
        ),
        "commands": made.commands,
    }


def _address(text: str) -> str:
    """The address of a YAML file that is part of the page."""
    return f"data:application/yaml;base64,{base64.b64encode(text.encode()).decode()}"


def _names(runs: Runs, values: Sequence[str], value: str) -> str:
    """The names of the runs with this value; `values` has one for each run."""
    own = zip(runs.runs, values, strict=True)
    return reproduce.some_of([run.name for run, its in own if its == value])


def _json(text: str) -> Markup:
    """JSON within a script element, without a character that could end it."""
    return Markup(text.replace("<", "\\u003c"))


def _script(text: str) -> Markup:
    """JavaScript within a script element, without what would end it within a text."""
    return Markup(re.sub("<(?=/script|!--|script)", r"\\x3c", text, flags=re.IGNORECASE))


def _file(name: str) -> str:
    return files("analysis.report").joinpath(name).read_text(encoding="utf-8")
