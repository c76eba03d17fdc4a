"""Keeps standard output for results, and reports errors of writing to it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path


class StdoutFailed(RuntimeError):
    """Standard output can't be written; the message is the operating system's."""


class ResultStream(io.TextIOWrapper):
    """Writes text to a file descriptor; raises `StdoutFailed` where that fails, as on a full disk.

    A closed pipe is not reported as a failure: `BrokenPipeError` is raised as usual.
    """

    def write(self, text: str) -> int:
        with _stdout_errors():
            return super().write(text)

    def flush(self) -> None:
        with _stdout_errors():
            super().flush()


@contextlib.contextmanager
def _stdout_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise StdoutFailed(error.strerror or str(error)) from None


def keep_for_results() -> None:
    """Reserves this process's standard output for Python's `sys.stdout`.

    Anything else that is written to file descriptor 1, as by C++, goes to standard error from now
    on.
    """
    # Where the parent process closed it, no file that is opened later may get its number.
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # stays open until the process ends
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # as above
    kept = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), 1)
    raw = io.FileIO(kept, "w")
    sys.stdout = ResultStream(
        io.BufferedWriter(raw),
        encoding=sys.stdout.encoding,
        errors="replace",  # a terminal may lack arrows
        line_buffering=raw.isatty(),
    )
    sys.__stdout__ = sys.stdout  # type: ignore[misc]  # rich and others read the terminal's width from it


def discard() -> None:
    """Drops buffered output that can't be written, so that the process can end without an error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
