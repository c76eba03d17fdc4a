"""Where the keys of a study come from: lines of its file, or options that override them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from collapipe_ns3.problems import Problem
from collapipe_ns3.reading.overrides import Overrides
from collapipe_ns3.reading.yaml_text import Entry


@dataclass(frozen=True, slots=True)
class Origins:
    """The study file, its parsed document, and the overrides applied to it, the latest first."""

    file: str = ""
    document: Entry | None = None
    overrides: tuple[Overrides, ...] = ()

    def overridden(self, overrides: Overrides) -> Origins:
        """These origins after further overrides."""
        return replace(self, overrides=(overrides, *self.overrides))

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems, each with the option, or the file and line, that its key comes from."""
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
