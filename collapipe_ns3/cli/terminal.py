"""The consoles that all commands print on, and the reporting of their errors."""

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

from collapipe_ns3.cli.tables import print_text

if TYPE_CHECKING:
    from collapipe_ns3.problems import Problem, StudyError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@contextlib.contextmanager
def failures(study: str, as_json: bool) -> Iterator[None]:
    """Turns errors of the body into messages and exit codes.

    Whatever plug-ins print within goes to stderr. `study` names the study in messages.
    """
    # Imported here, as `--help` needs none of these modules.
    from bridge.loop import EndlessWait
    from collapipe_ns3.plan import PlanError
    from collapipe_ns3.plugins import PluginFailed
    from collapipe_ns3.problems import StudyError
    from collapipe_ns3.schedule import ScheduleError
    from ns3_scenarios.runtime import NativeBuildError, NotInstalled, SimulationError

    try:
        with only_results_on_stdout(), _messages_at_ns3_exit(study, as_json):
            yield
    except StudyError as error:
        if as_json:
            print_json({"ok": False, "study": study, "problems": problems_json(error.problems)})
        print_text(err, Text.from_markup(_problem_lines(error)))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        if as_json:
            print_json({"ok": False, "study": study, "error": "interrupted"})
        raise
    except (
        # Errors that are not in the study file.
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
def _messages_at_ns3_exit(study: str, as_json: bool) -> Iterator[None]:
    """Prepares the same messages for the case that ns-3 ends the process within a simulation."""
    from ns3_scenarios import runtime

    heading = f"study {study} failed:\n"
    before = json.dumps({"ok": False, "study": study, "error": ""})[:-2]
    try:
        descriptor = out.file.fileno() if as_json else -1
    except OSError:  # a stream without a file descriptor
        descriptor = -1
    with runtime.reporting(heading=heading, descriptor=descriptor, before=before, after='"}\n'):
        yield


@contextlib.contextmanager
def only_results_on_stdout() -> Iterator[None]:
    """Within it, only `out` and `print_json` print on stdout; other prints go to stderr."""
    out.file, original = sys.stdout, sys.__stdout__
    try:
        sys.__stdout__ = sys.stderr  # type: ignore[misc,assignment]  # typeshed declares it as constant
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.__stdout__ = original  # type: ignore[misc]  # as above
        out.file = cast("IO[str]", None)  # from now on, whatever sys.stdout is at the time


def warn(warnings: Iterable[Problem]) -> None:
    """Prints the warnings about a study on stderr."""
    for each in warnings:
        print_text(err, Text.assemble(("warning", "yellow"), f": {each}"))


def problems_json(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Problems or warnings as `--json` prints them."""
    return [each.to_json() for each in problems]


def print_json(value: Any) -> None:
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False), file=out.file, flush=True)


def _plain(value: Any) -> Any:
    """The value with null for nan and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _problem_lines(error: StudyError) -> str:
    """The problems of a study with rich's markup; further lines of a message are indented."""
    lines = [f"[bold red]study {escape(error.study)} can't be run:[/]"]
    for problem in error.problems:
        where = f"[bold]{escape(problem.where)}[/]: " if problem.where else ""
        first, *others = escape(problem.message).split("\n")
        lines += [f"  {where}{first}", *(f"    {line}" for line in others)]
    return "\n".join(lines)
