"""CollaPipe over ns-3: a study is planned, executed and recorded a round at a time."""

from collapipe_ns3.problems import StudyError
from collapipe_ns3.study import Result, Study

__all__ = ["Result", "Study", "StudyError"]
