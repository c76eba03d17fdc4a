"""Failures of plug-ins: code of the user's own, a scheme or a scenario, that a run calls."""

from __future__ import annotations

import traceback
from pathlib import Path

#: What a plug-in may raise. `sys.exit` in it would otherwise end the process as if all were well.
RAISED = (Exception, SystemExit)


class PluginFailed(RuntimeError):
    """A plug-in raised, or handed back what it may not; the message names it, and says where."""


def described(error: BaseException) -> str:
    """An exception's type, message, and the file and line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = str(error)
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{what} ({Path(last.filename).name}, line {last.lineno})"
