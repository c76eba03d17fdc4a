"""Plug-ins: how they are found, and their failures. A user's own is one."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from collapipe_ns3.names import did_you_mean

#: The exceptions of a plug-in that are handled. Without `SystemExit`, a `sys.exit()` in it would
#: end the process as if the run had succeeded.
RAISED = (Exception, SystemExit)


class PluginFailed(RuntimeError):
    """A plug-in raised an exception or returned an invalid value; the message names it."""


@dataclass(frozen=True, slots=True)
class PluginGroup:
    """The plug-ins of an entry point group; `kind` names one in messages.

    `unknown` is the exception for a name that is not installed.
    """

    group: str
    kind: str
    unknown: type[ValueError]

    def names(self) -> list[str]:
        """The names of all that are installed, sorted."""
        return sorted({point.name for point in entry_points(group=self.group)})

    def target(self, name: str) -> str:
        """Where a plug-in is defined, as `module:Class`."""
        return self.entry_point(name).value

    def entry_point(self, name: str) -> EntryPoint:
        """The entry point of this name; raises `unknown` with the most similar name."""
        for point in entry_points(group=self.group):
            if point.name == name:
                return point
        raise self.unknown(f"no {self.kind} {name!r}; {did_you_mean(name, self.names())}")


def described(error: BaseException) -> str:
    """An exception's type and message, with the file and line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    message = str(error)
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{what} ({Path(last.filename).name}, line {last.lineno})"
