"""CollaPipe over ns-3: plans, executes and records a study round by round."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from collapipe_ns3 import shadowing

if TYPE_CHECKING:
    from collapipe_ns3.problems import StudyError
    from collapipe_ns3.result import Result, load
    from collapipe_ns3.study import Study

shadowing.check()

__all__ = ["Result", "Study", "StudyError", "load"]

_MODULES = {"Result": "result", "Study": "study", "StudyError": "problems", "load": "result"}


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use, so that the command line need not load pandas."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
