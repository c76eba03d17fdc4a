"""What the commands that read finished runs share: loading, output files and messages."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.terminal import err, only_results_on_stdout, print_json, problems_json

if TYPE_CHECKING:
    from analysis.load import Runs

RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN…", help="Directories of runs or campaigns.")
]


@contextlib.contextmanager
def refusals(what: str, as_json: bool) -> Iterator[None]:
    """Turns a `StudyError` or `NotWhole` of the body into messages and exit code 2.

    `what` begins the message: what can't be done. Whatever the body prints without `out` goes to
    stderr.
    """
    from collapipe_ns3.problems import StudyError, of_run_directory
    from run_directory.whole import NotWhole

    with only_results_on_stdout():
        try:
            yield
        except (StudyError, NotWhole) as error:
            # Without digests, damage is found only when a table is read.
            found = of_run_directory(error) if isinstance(error, NotWhole) else error.problems
            if as_json:
                print_json({"ok": False, "problems": problems_json(found)})
            lines = [problem for each in found for problem in str(each).split("\n  ")]
            indented = "".join(f"\n  {line}" for line in lines)
            print_text(err, Text.assemble((f"{what}:", "bold red"), indented))
            raise typer.Exit(2) from None


def load_runs(directories: Sequence[Path]) -> Runs:
    """The runs and campaigns in these directories.

    Raises `StudyError` where none can be loaded. Prints a warning on stderr for each that is left
    out, and for each that an earlier version wrote.
    """
    import analysis
    from collapipe_ns3.problems import StudyError, of_run_directory
    from run_directory.whole import NotARun, NotWhole

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            runs = analysis.load(*directories)
        except (NotARun, NotWhole) as error:
            raise StudyError("", of_run_directory(error)) from None
    for message in dict.fromkeys(str(each.message) for each in found):
        print_text(err, Text.assemble(("warning", "yellow"), f": {message}"))
    return runs


def expect_writable(option: str, path: Path) -> None:
    """Raises `StudyError` where no file can have this path, before any work is done for it."""
    from collapipe_ns3.problems import Problem, StudyError

    if path.is_dir():
        raise StudyError("", [Problem(option, f"{path} is a directory; expected a file")])
    if not path.parent.is_dir():
        what = "is no directory" if path.parent.exists() else "does not exist"
        raise StudyError("", [Problem(option, f"{path}: the directory {path.parent} {what}")])


def write(option: str, path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all; raises `StudyError`, which names the option."""
    from collapipe_ns3.problems import Problem, StudyError
    from run_directory.files import part_of, replace

    try:
        replace(path, content)
    except OSError as error:
        with contextlib.suppress(OSError):
            part_of(path).unlink(missing_ok=True)
        what = f"{path}: {error.strerror or error}"
        raise StudyError("", [Problem(option, what)]) from None
