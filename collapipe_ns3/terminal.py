"""What all commands have in common: where they print, and how they fail."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Console

from bridge.loop import EndlessWait
from collapipe_ns3 import display
from collapipe_ns3.problems import StudyError
from ns3_scenarios.runtime import SimulationError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@contextlib.contextmanager
def failures(study: str, as_json: bool) -> Iterator[None]:
    """Turns what can go wrong into messages and exit codes."""
    try:
        yield
    except StudyError as error:
        if as_json:
            problems = [{"path": p.path, "message": p.message} for p in error.problems]
            print_json({"ok": False, "study": study, "problems": problems})
        pairs = [(p.path, p.message) for p in error.problems]
        err.print(display.problem_lines(error.study, pairs), soft_wrap=True)
        raise typer.Exit(2) from None
    except (SimulationError, EndlessWait) as error:
        if as_json:
            print_json({"ok": False, "study": study, "error": str(error)})
        err.print("[bold red]the simulation failed:[/]")
        err.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


def print_json(value: Any) -> None:
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """JSON has neither nan nor infinity: null stands for them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
