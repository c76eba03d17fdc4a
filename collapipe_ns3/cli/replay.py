"""The command `replay`: one round of a run again, alone, compared with its records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.terminal import failures, out, print_json, problems_json, warn


def replay(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    number: Annotated[int, typer.Option("--round", metavar="N", help="The round, from 0.")],
    pcap: Annotated[
        Path | None, typer.Option("--pcap", metavar="DIR", help="Write pcap files of every node.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run one round of a run again, alone, and compare it with the records."""
    with failures(str(run_dir), as_json):
        from collapipe_ns3.problems import Problem, StudyError
        from collapipe_ns3.run.replay import replay
        from ns3_scenarios.traces import TraceFiles

        try:
            again = replay(run_dir, number, TraceFiles(pcap, ["pcap"]) if pcap else None)
        except OSError as error:
            problem = Problem("--pcap", f"{pcap}: {error.strerror or error}")
            raise StudyError(str(run_dir), [problem]) from None
        facts = {
            "ok": not again.different,
            "round": number,
            "duration_s": again.outcome.duration_ns / 1e9,
            "transfers": len(again.outcome.deliveries),
            "different": list(again.different),
            "other_code": list(again.other_code),
            "warnings": problems_json(again.warnings),
        }
        warn(again.warnings)
        if as_json:
            print_json(facts)
        else:
            print_text(out, str(again.plan))
            result = ", ".join(again.different) + " differ" if again.different else "as recorded"
            out.print(
                f"{facts['duration_s']:.6f} s simulated, {facts['transfers']} transfers: {result}"
            )
            for changed in again.other_code:
                line = f"other code than the round was made by: {changed}"
                out.print(line, markup=False, soft_wrap=True)
        raise typer.Exit(1 if again.different else 0)
