"""The result of a run, read from its directory as pandas frames and plain data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapipe_ns3.problems import Problem
from collapipe_ns3.reading.warnings import scheme_warnings
from collapipe_ns3.study import Study
from run_directory.whole import STUDY, NotARun, WholeRun, examine

if TYPE_CHECKING:
    import pandas as pd


def load(run_dir: str | Path) -> Result:
    """The run in this directory, finished or not, with its whole rounds.

    Raises `NotARun` where there is no finished round, and `NotWhole` (both of
    `run_directory.whole`) with every file that is missing or damaged.
    """
    result = Result(Path(run_dir))
    if not result.plans:
        raise NotARun(f"{run_dir} holds no finished round")
    return result


@dataclass(frozen=True)
class Result:
    """A run, whose directory is read at the first access.

    The tables have the columns of `run_directory.schemas.SCHEMAS`. The first access raises
    `NotARun` or `NotWhole` where the directory holds no run, or not all of it.
    """

    directory: Path

    @property
    def rounds(self) -> pd.DataFrame:
        return self._table("rounds")

    @property
    def computes(self) -> pd.DataFrame:
        return self._table("computes")

    @property
    def transfers(self) -> pd.DataFrame:
        return self._table("transfers")

    @property
    def links(self) -> pd.DataFrame:
        return self._table("links")

    @property
    def pipelines(self) -> pd.DataFrame:
        return self._table("pipelines")

    @property
    def devices(self) -> pd.DataFrame:
        return self._table("devices")

    @property
    def encodings(self) -> pd.DataFrame:
        return self._table("encodings")

    @property
    def nodes(self) -> pd.DataFrame:
        return self._table("nodes")

    @property
    def handovers(self) -> pd.DataFrame:
        return self._table("handovers")

    @property
    def plans(self) -> list[dict[str, Any]]:
        """The plan of each round as plain data, with the scheme's explanation."""
        return self._run.plans

    @property
    def warnings(self) -> list[Problem]:
        """The scheme's warnings about the study, from the plan of the first round.

        Where faults have ended the run before its last round, another warning says so.
        """
        ended = self.manifest.get("ended")
        found = scheme_warnings(self.plans[0].get("explanation", {})) if self.plans else []
        return [*found, *([Problem("faults", str(ended["reason"]))] if ended else [])]

    @property
    def manifest(self) -> dict[str, Any]:
        """How the run was made: versions, seed, code, machine."""
        return dict(self._run.manifest)

    @property
    def study(self) -> Study:
        """The study as it was run, with the scheme and seed of this run."""
        return Study.from_yaml(self._run.study, str(self.directory / STUDY))

    def _table(self, name: str) -> pd.DataFrame:
        from run_directory.tables import read_table

        return read_table(self._run, name)

    @cached_property
    def _run(self) -> WholeRun:
        return examine(self.directory)
