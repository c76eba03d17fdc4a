"""One run among those that are loaded: its checked directory, and its place in a campaign."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from run_directory.whole import STUDY, NotWhole, WholeRun

#: The safe loader; that in C, where it is installed, takes a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Run:
    """One run.

    `name` is unique among the runs loaded together. `point` has the settings of the campaign's grid
    at which it was made, as text by their keys in the study; it is empty outside campaigns.
    """

    name: str
    whole: WholeRun = field(repr=False)
    point: Mapping[str, str] = field(default_factory=dict)
    _schemas: dict[str, list[pa.Schema]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def directory(self) -> Path:
        return self.whole.directory

    @property
    def manifest(self) -> dict[str, Any]:
        """How the run was made: versions, seed, scheme, task, code, machine."""
        return dict(self.whole.manifest)

    @property
    def scheme(self) -> str:
        return str(self.whole.manifest["scheme"])

    @property
    def seed(self) -> int:
        return int(self.whole.manifest["seed"])

    @property
    def rounds(self) -> int:
        """The number of finished rounds."""
        return self.whole.rounds

    @property
    def planned_rounds(self) -> int:
        """The number of rounds that the study asks for; those that are finished where it has none.

        It is larger than `rounds` in a run that is under way or was stopped.
        """
        planned = self.study.get("rounds")
        return planned if isinstance(planned, int) else self.rounds

    @property
    def is_finished(self) -> bool:
        """Whether it has all rounds that the study asks for."""
        return self.rounds >= self.planned_rounds

    @property
    def plans(self) -> list[dict[str, Any]]:
        """The plan of each round as plain data, with the scheme's explanation.

        They are read from the file each time.
        """
        return self.whole.plans

    @cached_property
    def study(self) -> dict[str, Any]:
        """The resolved study; raises `NotWhole` where it can't be parsed."""
        try:
            study = yaml.load(self.whole.study, _LOADER)
        except (yaml.YAMLError, ValueError, RecursionError):
            study = None
        if not isinstance(study, dict):
            raise NotWhole(self.directory, [(STUDY, "can't be read as YAML")])
        return study

    @property
    def labels(self) -> dict[str, str | int]:
        """The values that all rows of the run have: its name, scheme and seed, and its point."""
        return {**self.point, "run": self.name, "scheme": self.scheme, "seed": self.seed}

    def schemas(self, table: str) -> list[pa.Schema]:
        """The columns of a table's first and last file; raises `NotWhole` for an unreadable one.

        A run that another version continued has further columns from some round on.
        """
        if table not in self._schemas:
            files = self.whole.table(table)
            ends = dict.fromkeys([*files[:1], *files[-1:]])
            self._schemas[table] = [self._schema(file) for file in ends]
        return self._schemas[table]

    def check_files(self, tables: Iterable[str], read: Callable[[Path], Any]) -> None:
        """Reads the files of these tables; raises `NotWhole` with those that can't be read."""
        problems = []
        for file in (file for table in tables for file in self.whole.table(table)):
            try:
                read(file)
            except (pa.ArrowException, OSError, ValueError) as error:
                problems.append(self._problem(file, error))
        if problems:
            raise NotWhole(self.directory, problems)

    def _schema(self, file: Path) -> pa.Schema:
        try:
            return pq.read_schema(file).remove_metadata()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise NotWhole(self.directory, [self._problem(file, error)]) from None

    def _problem(self, file: Path, error: Exception) -> tuple[str, str]:
        name = str(file.relative_to(self.directory))
        return name, f"can't be read as Parquet: {_line(error)}"


def _line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0]
