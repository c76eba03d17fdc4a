"""Where the keys of a study are written: in its file, or in options on top of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from collapipe_ns3.problems import Problem
from collapipe_ns3.reading.overrides import Overrides
from collapipe_ns3.reading.yaml_text import Entry


@dataclass(frozen=True, slots=True)
class Origins:
    """The file and its document, and the overrides on top of it, the latest first."""

    file: str = ""
    document: Entry | None = None
    overrides: tuple[Overrides, ...] = ()

    def under(self, overrides: Overrides) -> Origins:
        """With further overrides on top."""
        return replace(self, overrides=(overrides, *self.overrides))

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """Each problem with the option, or the file and line, where its key is written."""
        return [self._located(problem) for problem in problems]

    def _located(self, problem: Problem) -> Problem:
        options = (overrides.option_of(problem.path) for overrides in self.overrides)
        if (option := next(filter(None, options), None)) is not None:
            return replace(problem, file=option, line=None)
        if self.document is None:
            return problem
        line = problem.line
        if line is None and problem.path:
            line = self.document.line_of(problem.path)
        return replace(problem, file=self.file, line=line)
