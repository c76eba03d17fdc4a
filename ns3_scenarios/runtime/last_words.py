"""What the process reports if ns-3 or a crash ends it, which Python can't prevent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from ns3_scenarios.runtime.own_code import native


@dataclass(frozen=True, slots=True)
class Report:
    """Where the report is written: on stderr, between `heading` and `hint`, each a line or more.

    It is also written to the file `descriptor`, unless that is -1, as the inside of a JSON string
    between `before` and `after`.
    """

    heading: str = ""
    hint: str = ""
    descriptor: int = -1
    before: str = ""
    after: str = ""


#: The report of the command or cell that is being run; ns-3 is loaded only later.
_REPORT: ContextVar[Report | None] = ContextVar("report", default=None)


@contextmanager
def reporting(**changes: Any) -> Iterator[None]:
    """Within this context, the report has these fields changed."""
    token = _REPORT.set(replace(_REPORT.get() or Report(), **changes))
    try:
        yield
    finally:
        _REPORT.reset(token)


@contextmanager
def last_words(doing: str) -> Iterator[None]:
    """If ns-3 or a crash ends the process in this context, reports it and exits with code 1.

    The report has what was being done, the simulated time, and ns-3's own message. A process has
    one simulation, and so one such context, at a time.
    """
    report = _REPORT.get() or Report()
    words = native().LastWords()
    words.doing = doing
    words.heading, words.hint = report.heading, report.hint
    words.descriptor, words.before, words.after = report.descriptor, report.before, report.after
    native().SetLastWords(words)
    try:
        yield
    finally:
        native().ClearLastWords()
