"""The command `figure`: its file, the figure's own options, and what it answers to mistakes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
import studies
from matplotlib.figure import Figure
from typer.testing import CliRunner, Result

from analysis.figures import registry
from analysis.figures.registry import FigureKind
from analysis.figures.style import CannotDraw, Width, new_figure, styled
from analysis.load import Runs
from collapipe_ns3 import Study
from collapipe_ns3.cli.app import app

CALLS: list[dict[str, Any]] = []


@styled
def bars(
    runs: Runs,
    *,
    width: Width = "page",
    round_number: int | None = None,
    window_s: tuple[float, float] | None = None,
    order: Literal["time", "name"] = "time",
    shown: Sequence[str] = (),
) -> Figure:
    options = {"width": width, "round_number": round_number, "window_s": window_s}
    CALLS.append({**options, "order": order, "shown": shown})
    figure = new_figure(width, 2.0)
    figure.subplots().bar(runs.rounds["round"], runs.rounds["duration_s"])
    return figure


@styled
def empty(runs: Runs, *, width: Width = "page") -> Figure:
    raise CannotDraw("these runs have no table `nodes`: an earlier version wrote them")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["figure", *arguments], env={"COLUMNS": "80"})


@pytest.fixture
def two_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry has two figures, of this file."""
    here = ModuleType("figures_of_a_test")
    here.bars, here.empty = bars, empty  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, here.__name__, here)
    kinds = [
        FigureKind("bars", "Bars", "Durations.", f"{here.__name__}:bars"),
        FigureKind("empty", "Nothing", "Never drawn.", f"{here.__name__}:empty"),
    ]
    monkeypatch.setattr(registry, "FIGURES", {kind.name: kind for kind in kinds})
    CALLS.clear()


def test_the_list_has_all_figures_there_are_with_what_their_options_take() -> None:
    figures = {
        each["name"]: each for each in json.loads(call("--list", "--json").stdout)["figures"]
    }
    assert list(figures) == list(registry.FIGURES)
    options = figures["timeline"]["options"]
    assert options["--round"].startswith("a whole number: the round")
    assert options["--window-s"].startswith("a number and a number, with a comma between them: ")


def test_every_option_of_every_figure_has_its_meaning() -> None:
    options = {key for kind in registry.FIGURES.values() for key in kind.options} - {"width"}
    assert options == set(registry.OPTIONS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("figure")
    Study.load(studies.write(folder)).run(out=folder / "run")
    return str(folder / "run")


@pytest.mark.usefixtures("two_figures")
def test_the_file_has_the_format_of_its_suffix_and_the_width_asked_for(
    run: str, tmp_path: Path
) -> None:
    for suffix, begins in [("pdf", b"%PDF"), ("SVG", b"<?xml"), ("png", b"\x89PNG")]:
        file = tmp_path / f"figure.{suffix}"
        done = call("bars", run, "-o", str(file), "--width", "column")
        assert done.exit_code == 0, done.stderr
        assert file.read_bytes().startswith(begins)
        assert done.stdout == f"Bars: {file}\n"
    assert [each["width"] for each in CALLS] == ["column"] * 3
    page = re.search(r'<svg [^>]*width="([\d.]+)pt"', (tmp_path / "figure.SVG").read_text())
    assert page is not None
    assert float(page[1]) == pytest.approx(3.5 * 72)


@pytest.mark.usefixtures("two_figures")
def test_the_figures_own_options_get_values_of_their_types(run: str, tmp_path: Path) -> None:
    own = ["--order=name", "--shown", "a,b", "--window-s", "-0.5,1"]
    done = call("--round", "1", "bars", *own, run, "-o", str(tmp_path / "figure.png"))
    assert done.exit_code == 0, done.stderr
    options = {"round_number": 1, "window_s": (-0.5, 1.0), "order": "name", "shown": ["a", "b"]}
    assert [{"width": "page", **options}] == CALLS


@pytest.mark.usefixtures("two_figures")
def test_the_same_command_writes_the_same_bytes(run: str, tmp_path: Path) -> None:
    for suffix in ("pdf", "svg", "png"):
        one, other = tmp_path / f"one.{suffix}", tmp_path / f"other.{suffix}"
        for file in (one, other):
            assert call("bars", run, "-o", str(file)).exit_code == 0
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.usefixtures("two_figures")
def test_json_says_what_was_drawn(run: str, tmp_path: Path) -> None:
    file = str(tmp_path / "figure.pdf")
    printed = json.loads(call("bars", run, "-o", file, "--json").stdout)
    assert printed == {"ok": True, "figure": "bars", "file": file, "runs": ["run"]}


@pytest.mark.usefixtures("two_figures")
def test_the_list_has_each_figure_with_its_options() -> None:
    listed = call("--list").stdout
    assert "bars: Bars" in listed
    assert "--round: a whole number: the round" in listed
    assert "--window-s: a number and a number, with a comma between them: " in listed
    assert "--order: time or name (time unless given)\n" in listed
    assert "--shown: a text, or several with commas between them\n" in listed
    figures = json.loads(call("--list", "--json").stdout)["figures"]
    assert {each["name"]: list(each["options"]) for each in figures} == {
        "bars": ["--round", "--window-s", "--order", "--shown"],
        "empty": [],
    }


@pytest.mark.usefixtures("two_figures")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bras", "RUN", "-o", "f.pdf"], "did you mean bars?"),
        (["-o", "f.pdf"], "expected the name of a figure: bars, empty"),
        (["bars", "-o", "f.pdf"], "expected directories of runs"),
        (["bars", "RUN"], "as in -o figure.pdf"),
        (["bars", "RUN", "-o", "f.docx"], ".pdf, .png, .svg"),
        (["bars", "RUN", "-o", "f"], "expected a suffix"),
        (["bars", "RUN", "-o", "nowhere/f.pdf"], "the directory nowhere does not exist"),
        (["bars", "RUN", "-o", "f.pdf", "--width", "wide"], "expected column or page, not 'wide'"),
        (["bars", "RUN", "-o", "f.pdf", "--round", "last"], "expected a whole number, not 'last'"),
        (["bars", "RUN", "-o", "f.pdf", "--window-s", "1"], "expected a number and a number, with"),
        (["bars", "RUN", "-o", "f.pdf", "--ronud", "1"], "did you mean --round?"),
        (["empty", "RUN", "-o", "f.pdf", "--metric", "f1"], "no such option; it has --width"),
        (["empty", "RUN", "-o", "f.pdf", "--round", "1"], "no such option; bars has it"),
        (["bars", "RUN", "-o", "f.pdf", "--round"], "expected a value after --round"),
        (["bars", "RUN", "-o", "f.pdf", "-q"], "no such option: -q"),
        (["bars", "RUN", "-o", "f.pdf", "--dpi", "1"], "--dpi"),
        (["bars", "nothing", "-o", "f.pdf"], "there is no such directory"),
        (["empty", "RUN", "-o", "f.pdf"], "no table `nodes`"),
    ],
)
def test_a_mistake_is_answered_and_no_file_is_written(
    run: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [run if each == "RUN" else each for each in arguments]
    done = call(*given)
    assert done.exit_code == 2, done.stdout
    assert says in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert json.loads(call(*given, "--json").stdout)["ok"] is False


@pytest.mark.usefixtures("two_figures")
def test_an_image_that_its_format_can_not_have_is_a_mistake(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*args: object) -> bytes:
        raise ValueError("encoding error 5: Image size exceeds WebP limit of 16383 pixels")

    monkeypatch.setattr("analysis.figures.image_file.image_bytes", too_large)
    done = call("bars", run, "-o", str(tmp_path / "f.webp"), "--dpi", "2400")
    assert done.exit_code == 2
    assert "try a smaller --dpi" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("two_figures")
def test_a_run_that_can_not_be_loaded_is_left_out_with_a_warning(run: str, tmp_path: Path) -> None:
    file = tmp_path / "figure.pdf"
    done = call("bars", run, str(tmp_path / "nothing"), "-o", str(file))
    assert done.exit_code == 0
    assert "warning: " in done.stderr
    assert "nothing" in done.stderr
    assert file.exists()
