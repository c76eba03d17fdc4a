"""The command `report`: runs as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.reading_runs import RunsArgument, load_runs, refusals, write
from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.terminal import err, out, print_json

#: The page's file.
FILE = "report.html"

#: The packages of the extra.
_EXTRA = ("bokeh", "jinja2")


class Rounds(StrEnum):
    """Which rounds have an interactive timeline."""

    SOME = "some"
    ALL = "all"


def report(
    directories: RunsArgument,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help=f"Where {FILE} is written."),
    ] = None,
    rounds: Annotated[
        Rounds,
        typer.Option(help="Timelines of each run: first, slowest and last round, or all."),
    ] = Rounds.SOME,
    as_json: JsonOption = False,
) -> None:
    """Write runs as one HTML page, to look at and to send."""
    with refusals("no report can be written", as_json):
        _expect_extra()
        from analysis.report.page import page
        from collapipe_ns3.problems import Problem, StudyError
        from run_directory.files import make_folder

        path = (out_dir or _folder(directories)) / FILE
        _expect_folder(path.parent)
        runs = load_runs(directories)
        made = page(runs, rounds.value)
        content = made.html.encode()
        try:
            make_folder(path.parent)
        except OSError as error:
            what = f"{path.parent}: {error.strerror or error}"
            raise StudyError("", [Problem("--out", what)]) from None
        write("--out", path, content)
        for line in made.left_out:
            if line not in runs.skipped:  # of which loading has warned
                print_text(err, f"left out: {line}")
        if as_json:
            facts = {"ok": True, "path": str(path), "bytes": len(content), "runs": made.runs}
            print_json({**facts, "left_out": list(made.left_out)})
        else:
            print_text(out, f"{path} ({len(content) / 1e6:.1f} MB)")


def _expect_folder(folder: Path) -> None:
    """Raises `StudyError` where the page's folder is a file, before any work is done for it."""
    from collapipe_ns3.problems import Problem, StudyError

    if folder.exists() and not folder.is_dir():
        raise StudyError("", [Problem("--out", f"{folder} is no directory")])


def _expect_extra() -> None:
    from importlib.util import find_spec

    from collapipe_ns3.problems import Problem, StudyError

    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        what = f"needs {' and '.join(missing)}: pip install 'collapipe-ns3[report]'"
        raise StudyError("", [Problem("", what)])


def _folder(directories: Sequence[Path]) -> Path:
    """Where the page is written by default: beside what it is about, or here."""
    return directories[0] if len(directories) == 1 else Path()
