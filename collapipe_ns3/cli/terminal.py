"""What all commands have in common: where they print, and how they fail."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from collapipe_ns3.cli import display
from collapipe_ns3.cli.tables import print_text

if TYPE_CHECKING:
    from collapipe_ns3.problems import Problem

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@contextlib.contextmanager
def failures(study: str, as_json: bool) -> Iterator[None]:
    """Turns what can go wrong into messages and exit codes.

    Within, what a plug-in prints goes to stderr.
    """
    # Only now: `--help` needs none of what raises them.
    from bridge.loop import EndlessWait
    from collapipe_ns3.plan import PlanError
    from collapipe_ns3.plugins import PluginFailed
    from collapipe_ns3.problems import StudyError
    from collapipe_ns3.schedule import ScheduleError
    from ns3_scenarios.runtime import NativeBuildError, NotInstalled, SimulationError

    try:
        with stdout_alone(), _last_words(study, as_json):
            yield
    except StudyError as error:
        if as_json:
            print_json({"ok": False, "study": study, "problems": listed(error.problems)})
        print_text(err, Text.from_markup(display.problem_lines(error)))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        if as_json:
            print_json({"ok": False, "study": study, "error": "interrupted"})
        raise
    except (
        # What is no fault of the study file.
        SimulationError,
        EndlessWait,
        NotInstalled,
        NativeBuildError,
        PlanError,
        ScheduleError,
        PluginFailed,
    ) as error:
        if as_json:
            print_json({"ok": False, "study": study, "error": str(error)})
        err.print(f"[bold red]study {escape(study)} failed:[/]", soft_wrap=True)
        print_text(err, str(error))
        raise typer.Exit(1) from None


@contextlib.contextmanager
def _last_words(study: str, as_json: bool) -> Iterator[None]:
    """The same messages where ns-3 ends the process amid a simulation."""
    from ns3_scenarios import runtime

    heading = f"study {study} failed:\n"
    before = json.dumps({"ok": False, "study": study, "error": ""})[:-2]
    try:
        descriptor = out.file.fileno() if as_json else -1
    except OSError:  # a stream that is no file
        descriptor = -1
    with runtime.reporting(heading=heading, descriptor=descriptor, before=before, after='"}\n'):
        yield


@contextlib.contextmanager
def stdout_alone() -> Iterator[None]:
    """Within, only `out` and `print_json` print on stdout: other prints go to stderr."""
    out.file, original = sys.stdout, sys.__stdout__
    try:
        sys.__stdout__ = sys.stderr  # type: ignore[misc,assignment]  # for typeshed a constant
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.__stdout__ = original  # type: ignore[misc]  # as above
        out.file = cast("IO[str]", None)  # whatever sys.stdout is by then


def warn(warnings: Iterable[Problem]) -> None:
    """Prints what is doubtful in a study on stderr."""
    for each in warnings:
        print_text(err, Text.assemble(("warning", "yellow"), f": {each}"))


def listed(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Problems or warnings as `--json` has them."""
    return [each.to_json() for each in problems]


def print_json(value: Any) -> None:
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False), file=out.file, flush=True)


def _plain(value: Any) -> Any:
    """JSON has neither nan nor infinity: null stands for them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
