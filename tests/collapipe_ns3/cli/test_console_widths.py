"""Output fits consoles of any width, and no number is cut or left out."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import studies
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from analysis import load
from analysis.compare import ComparedRun, Comparison, compare
from analysis.fronts import OBJECTIVES
from collapipe_ns3 import Study
from collapipe_ns3.cli import doctor_checks, run_view
from collapipe_ns3.cli.compare_view import print_comparison, print_fronts
from collapipe_ns3.cli.listings_view import print_profiles, print_schemes, print_studies
from collapipe_ns3.cli.plan_view import print_preview
from collapipe_ns3.cli.study_view import nodes_table
from collapipe_ns3.cli.tables import new_table, print_table, print_text
from collapipe_ns3.costs import devices
from collapipe_ns3.reading import study_file
from collapipe_ns3.run.preview import Preview
from collapipe_ns3.schemes.installed import installed_schemes

WIDTHS = [100, 80, 60, 40]


class Shown:
    """A console that keeps what is printed on it."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.file = io.StringIO()
        self.console = Console(
            file=self.file, width=width, force_terminal=True, color_system=None, highlight=False
        )

    def text(self) -> str:
        """The printed text, after a check that every line fits."""
        text = self.file.getvalue()
        assert [line for line in text.splitlines() if cell_len(line) > self.width] == []
        assert "…" not in text
        return text


def words(text: str) -> list[str]:
    return sorted(set(re.split(r"[\s│]+", text)))


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory) -> Preview:
    return Study.load(studies.write(tmp_path_factory.mktemp("study")), scheme="collapipe").preview()


@pytest.mark.parametrize("width", WIDTHS)
def test_studies_profiles_and_schemes_fit(width: int) -> None:
    shown = Shown(width)
    print_studies(shown.console, study_file.catalogue())
    print_profiles(shown.console, devices.profiles().values())
    print_schemes(shown.console, installed_schemes())
    text = shown.text()
    for profile in devices.profiles().values():
        assert f"{profile.flops_per_s / 1e9:g}" in words(text)
    for scheme in installed_schemes():
        assert all(setting.name in words(text) for setting in scheme.settings)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_plan_fits_with_its_chart(preview: Preview, width: int) -> None:
    shown = Shown(width)
    print_preview(shown.console, preview)
    text = shown.text()
    for link in preview.links:
        assert f"{link.src} → {link.dst}" in text
    charts = [line for line in text.splitlines() if line.endswith("│")]
    assert charts
    assert len({len(line) for line in charts}) == 1
    wide = Shown(200)
    print_preview(wide.console, preview)
    assert [each for each in words(wide.text()) if each[:1].isdigit() and each not in text] == []


def test_a_plan_for_nodes_that_may_leave_says_what_is_expected(preview: Preview) -> None:
    likely = {
        "recovery": {"policy": "replicate", "copy_every": 2, "most_losses": 3},
        "expected_s": 1.25,
        "fault_free_s": 1.125,
        "progress": 0.875,
    }
    shown = Shown(100)
    changed = {**preview.explanation, "hazards": likely}
    print_preview(shown.console, replace(preview, explanation=changed))
    text = " ".join(shown.text().split())
    assert "is expected to take 1.250 s, and 1.125 s without losses; 87.5% of its" in text
    assert "segments are copied to the control unit after every 2 steps" in text


def test_where_a_chart_would_say_nothing_there_is_none(preview: Preview) -> None:
    shown = Shown(30)
    print_preview(shown.console, preview)
    assert "│" not in shown.text()
    assert "predicted timeline" in shown.text()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_rounds_of_a_run_fit(width: int) -> None:
    keys = ["duration_s", "broadcast_s", "pipeline_s", "gather_s", "upload_s", "loss", "metric",
            "device_energy_j", "energy_j", "peak_device_memory_bytes"]  # fmt: skip
    figures = {key: [123.25 + place, 1e9] for place, key in enumerate(keys)}
    shown = Shown(width)
    print_table(shown.console, run_view.rounds_table(pd.DataFrame({"round": [0, 99], **figures})))
    text = shown.text()
    assert all(text.count(f"{figures[key][0]:.2f}"[:6]) >= 1 for key in keys[:5])
    assert "1000000000.00" in words(text)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_study_s_nodes_and_the_doctor_s_results_fit(tmp_path: Path, width: int) -> None:
    shown = Shown(width)
    print_table(shown.console, nodes_table(Study.load(studies.write(tmp_path)).config))
    found = [
        doctor_checks.CheckResult("ns-3 cache", True, f"{'/a/long/path' * 9}: 31 files, 1204 MiB")
    ]
    print_table(shown.console, doctor_checks.results_table(found))
    text = shown.text()
    assert {"1204", "c0.d1", "phone-midrange"} <= set(words(text))


@given(
    st.lists(st.lists(st.text("0123456789.±- ", max_size=30), min_size=3, max_size=3), max_size=4),
    st.integers(1, 120),
)
def test_every_cell_of_any_table_is_there_at_any_width(rows: list[list[str]], width: int) -> None:
    shown = Shown(width)
    table = new_table("name", "figure", "what it is", texts=["what it is"])
    for row in rows:
        table.add_row(*row)
    print_table(shown.console, table)
    if width < 12:  # two columns and what is between them need as much
        return
    printed = Counter(shown.text())
    wanted = Counter("".join(cell for row in rows for cell in row))
    assert all(printed[each] >= count for each, count in wanted.items() if each != " ")


@pytest.mark.parametrize("terminal", [True, False])
def test_texts_are_wrapped_on_terminals_alone(terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=20, force_terminal=terminal, color_system=None)
    print_text(console, "a heading\n  some words that are longer than the console")
    lines = file.getvalue().splitlines()
    assert lines[0].rstrip() == "a heading"
    assert all(line.startswith("  ") for line in lines[1:])
    assert (len(lines) == 2) is not terminal
    assert (max(map(len, lines)) <= 20) is terminal


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    place = tmp_path_factory.mktemp("compared")
    study = Study.load(studies.write(place), rounds=1)
    cells = []
    for scheme in ("vanilla_fl", "pipeline", "titanic"):
        for seed in (0, 1):
            out = place / f"{scheme}-{seed}"
            study.run(scheme=scheme, seed=seed, out=out)
            cells.append(ComparedRun("", load(out)))
    return compare(cells)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_fits_with_every_figure(comparison: Comparison, width: int) -> None:
    shown = Shown(width)
    print_comparison(shown.console, comparison)
    text = shown.text()
    wide = Shown(300)
    print_comparison(wide.console, comparison)
    assert {each for each in words(wide.text()) if "─" not in each} <= set(words(text))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_front_fits_and_says_what_its_numbers_mean(width: int) -> None:
    rows = [
        ("titanic", "", 1.5, 0.05, 11 * 2**20, 0.0, 2.6, 0.1, False),
        ("collapipe", "scheme.settings.v = 10, scheme.settings.memory_budget_bytes = 12 MB",
         1.25, 0.02, 2**21, 0.0, 2.5, 0.1, True),
    ]  # fmt: skip
    taken = [column for name in OBJECTIVES for column in (name, f"{name}_ci95")]
    shown = Shown(width)
    print_fronts(shown.console, pd.DataFrame(rows, columns=["scheme", "point", *taken, "on_front"]))
    text = shown.text()
    assert {"1.250±0.020", "1.500±0.050", "11", "2", "2.60±0.10", "1*"} <= set(words(text))
    assert "1*: v = 10, memory_budget_bytes = 12 MB" in " ".join(text.split())
