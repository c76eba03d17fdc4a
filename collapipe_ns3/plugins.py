"""Failures of plug-ins: a user's own scheme or scenario that a run calls."""

from __future__ import annotations

import traceback
from pathlib import Path

#: The exceptions of a plug-in that are handled. Without `SystemExit`, a `sys.exit()` in it would
#: end the process as if the run had succeeded.
RAISED = (Exception, SystemExit)


class PluginFailed(RuntimeError):
    """A plug-in raised an exception or returned an invalid value; the message names it."""


def described(error: BaseException) -> str:
    """An exception's type and message, with the file and line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    message = str(error)
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{what} ({Path(last.filename).name}, line {last.lineno})"
