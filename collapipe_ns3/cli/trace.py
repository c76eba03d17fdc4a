"""The command `trace`: rounds of a run as a file for Perfetto and chrome://tracing."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.reading_runs import expect_writable, load_runs, refusals, write
from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.terminal import out, print_json

if TYPE_CHECKING:
    from analysis.load import Runs


#: A range that is longer ends here; no run has so many rounds.
_MOST = 1_000_000


def trace(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")],
    rounds: Annotated[
        str, typer.Option("--round", metavar="N", help="The rounds, as in 3, 0-4 or 1,5.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file; it is compressed if it ends in .gz."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Write rounds of a run as a trace, which Perfetto and chrome://tracing display."""
    with refusals(f"no trace of {run_dir}", as_json):
        from analysis.chrome_trace import chrome_trace

        numbers = _numbers(rounds)
        expect_writable("-o", output)
        run = _one_run(load_runs([run_dir]))
        _expect_rounds(run, numbers)
        content = chrome_trace(run, numbers)
        write("-o", output, _compressed(content) if output.suffix == ".gz" else content)
        if as_json:
            print_json({"ok": True, "file": str(output), "rounds": numbers})
        else:
            print_text(out, f"written: {output}\nopen it in https://ui.perfetto.dev")


def _numbers(text: str) -> list[int]:
    """Rounds written as `3`, as `0-4`, as `1,5`, or as a mixture; raises `StudyError`."""
    from collapipe_ns3.problems import Problem, StudyError

    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        if match is None:
            what = f"expected rounds as in 3, 0-4 or 1,5, not {text!r}"
            raise StudyError("", [Problem("--round", what)])
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            what = f"expected the smaller number first, not {part.strip()!r}"
            raise StudyError("", [Problem("--round", what)])
        numbers.update(range(first, min(last, first + _MOST) + 1))
    return sorted(numbers)


def _one_run(runs: Runs) -> Runs:
    from collapipe_ns3.problems import Problem, StudyError

    if len(runs) > 1:
        first = runs.runs[0].directory
        what = f"expected one run, not the {len(runs)} of a campaign; name one, such as {first}"
        raise StudyError("", [Problem("", what)])
    return runs


def _expect_rounds(run: Runs, numbers: Sequence[int]) -> None:
    """Raises `StudyError` where the run lacks one of these rounds."""
    from collapipe_ns3.problems import Problem, StudyError

    last = run.runs[0].rounds - 1
    if numbers[-1] > last:
        lacking = next(number for number in numbers if number > last)
        has = f"its rounds are 0 to {last}" if last else "it has only round 0"
        what = f"the run has no round {lacking}; {has}, so the nearest is {last}"
        raise StudyError("", [Problem("--round", what)])


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # without the time, so that the bytes repeat
