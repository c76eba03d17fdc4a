"""CollaPipe over ns-3: a study is planned, executed and recorded a round at a time."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from collapipe_ns3 import neighbours

if TYPE_CHECKING:
    from collapipe_ns3.problems import StudyError
    from collapipe_ns3.result import Result, load
    from collapipe_ns3.study import Study

neighbours.check()

__all__ = ["Result", "Study", "StudyError", "load"]

_MODULES = {"Result": "result", "Study": "study", "StudyError": "problems", "load": "result"}


def __getattr__(name: str) -> Any:
    """Loads what is asked for: the command line is to be there before pandas is."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
