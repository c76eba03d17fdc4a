"""Standard output: for results alone, and an error in words where it can't be written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path


class StdoutFailed(RuntimeError):
    """Standard output can't be written; the message is the system's."""


class ResultStream(io.TextIOWrapper):
    """Writes text to a file descriptor; raises `StdoutFailed` where the device takes no more.

    A pipe that nobody reads any longer is left to whoever prints: it is no fault.
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
    """Leaves this process's standard output to Python's `sys.stdout` alone.

    What is written to file descriptor 1 otherwise, as by C++, goes to standard error from now on.
    """
    # Closed by whoever started this process: no file that is opened later may take its number.
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # for the life of the process
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # as above
    kept = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), 1)
    raw = io.FileIO(kept, "w")
    sys.stdout = ResultStream(
        io.BufferedWriter(raw),
        encoding=sys.stdout.encoding,
        errors="replace",  # a terminal may know no arrows
        line_buffering=raw.isatty(),
    )
    sys.__stdout__ = sys.stdout  # type: ignore[misc]  # by it, others ask for the terminal's width


def discard() -> None:
    """Drops what standard output still holds and can't be written, before the process ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
