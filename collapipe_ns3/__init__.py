"""CollaPipe over ns-3: a study is planned, executed and recorded a round at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapipe_ns3 import neighbours

if TYPE_CHECKING:
    from collapipe_ns3.problems import StudyError
    from collapipe_ns3.study import Result, Study

neighbours.check()

__all__ = ["Result", "Study", "StudyError"]


def __getattr__(name: str) -> Any:
    """Loads what is asked for: the command line is to be there before pandas is."""
    if name in __all__:
        from collapipe_ns3 import problems, study

        return getattr(problems if name == "StudyError" else study, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
