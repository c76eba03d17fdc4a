"""The command `doctor`: whether this machine can run studies."""

from __future__ import annotations

import typer

from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.tables import print_table
from collapipe_ns3.cli.terminal import out, print_json


def doctor(as_json: JsonOption = False) -> None:
    """Check whether this machine can run studies, including a second of simulation."""
    from collapipe_ns3.cli import doctor_checks

    results = list(doctor_checks.run_checks())
    ok = all(each.ok for each in results)
    if as_json:
        details = {each.name: {"ok": each.ok, "detail": each.detail} for each in results}
        print_json({"ok": ok, "findings": details})
    else:
        print_table(out, doctor_checks.results_table(results))
    raise typer.Exit(0 if ok else 1)
