"""Loads run directories and campaigns as one set of tidy pandas frames."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
import yaml

from run_directory.whole import STUDY, TABLES, NotARun, NotWhole, WholeRun, examine

__all__ = ["TABLES", "NotARun", "NotWhole", "Run", "Runs", "load"]

#: What selects rows: a pyarrow expression, or for each column the value or values to keep.
Where: TypeAlias = pc.Expression | Mapping[str, Any]

#: The file in which a campaign keeps its runs.
CAMPAIGN = "campaign.json"


@dataclass(frozen=True)
class Run:
    """One run: its checked directory, and its place in a campaign.

    `name` is unique among the runs loaded together. `point` has the settings of the campaign's grid
    at which it was made, by their keys in the study; it is empty outside campaigns.
    """

    name: str
    whole: WholeRun
    point: Mapping[str, str] = field(default_factory=dict)

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
    def plans(self) -> list[dict[str, Any]]:
        """The plan of each round as plain data, with the scheme's explanation."""
        return [dict(plan) for plan in self.whole.plans]

    @cached_property
    def study(self) -> dict[str, Any]:
        """The resolved study; raises `NotWhole` where it can't be parsed."""
        try:
            study = yaml.safe_load(self.whole.study)
        except (yaml.YAMLError, ValueError, RecursionError):
            study = None
        if not isinstance(study, dict):
            raise NotWhole(self.directory, [(STUDY, "can't be read as YAML")])
        return study


@dataclass(frozen=True)
class Runs:
    """One run or many as one set of tables; files are read when a table is first needed.

    Every table has the columns `run`, `scheme`, `seed` and `round`, and a column for each key of a
    campaign's grid. `runs` are the members, in the order in which they were given. `skipped` has a
    message for each directory that could not be loaded. Iterating gives each run as `Runs` of one.
    """

    runs: tuple[Run, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Runs]:
        return (Runs((run,)) for run in self.runs)

    def __getitem__(self, number: int) -> Runs:
        return Runs((self.runs[number],))

    @property
    def directory(self) -> Path:
        """The directory of the only run; raises `ValueError` where there are several."""
        return self._only.directory

    @property
    def study(self) -> dict[str, Any]:
        """The resolved study of the only run; raises `ValueError` where there are several."""
        return self._only.study

    @property
    def manifest(self) -> dict[str, Any]:
        """How the only run was made; raises `ValueError` where there are several."""
        return self._only.manifest

    @property
    def plans(self) -> list[dict[str, Any]]:
        """The plan of each round of the only run; raises `ValueError` where there are several."""
        return self._only.plans

    @property
    def _only(self) -> Run:
        if len(self.runs) == 1:
            return self.runs[0]
        names = ", ".join(run.name for run in self.runs)
        raise ValueError(f"expected one run, not {len(self.runs)}: choose one by runs[0]: {names}")

    def dataset(self, name: str) -> ds.Dataset:
        """A table as a pyarrow dataset, which reads its files when it is scanned.

        Raises `ValueError` for an unknown table.
        """
        if name not in TABLES:
            raise ValueError(f"no table {name!r}; there are {', '.join(TABLES)}")
        format_, local = ds.ParquetFileFormat(), fs.LocalFileSystem()
        fragments = [
            format_.make_fragment(str(file), local, partition_expression=_labels(run))
            for run in self.runs
            for file in run.whole.table(name)
        ]
        labels = [pa.field(key, pa.string()) for key in self._label_names]
        found = [fragment.physical_schema for fragment in fragments]
        schema = pa.unify_schemas([*found, pa.schema(labels)], promote_options="permissive")
        return ds.FileSystemDataset(fragments, schema.remove_metadata(), format_, local)

    def table(
        self, name: str, columns: Sequence[str] | None = None, where: Where | None = None
    ) -> pd.DataFrame:
        """A table as a frame, by default with all columns and rows.

        Reads only the given columns, and only what may have the rows that `where` selects.
        """
        chosen = None if columns is None else list(columns)
        read = self.dataset(name).to_table(columns=chosen, filter=_expression(where))
        frame: pd.DataFrame = read.unify_dictionaries().to_pandas()
        return frame

    @property
    def _label_names(self) -> list[str]:
        return list(dict.fromkeys(["run", *(key for run in self.runs for key in run.point)]))

    @cached_property
    def rounds(self) -> pd.DataFrame:
        return self.table("rounds")

    @cached_property
    def computes(self) -> pd.DataFrame:
        return self.table("computes")

    @cached_property
    def transfers(self) -> pd.DataFrame:
        return self.table("transfers")

    @cached_property
    def links(self) -> pd.DataFrame:
        return self.table("links")

    @cached_property
    def pipelines(self) -> pd.DataFrame:
        return self.table("pipelines")

    @cached_property
    def devices(self) -> pd.DataFrame:
        return self.table("devices")

    @cached_property
    def nodes(self) -> pd.DataFrame:
        return self.table("nodes")


def load(*directories: str | Path) -> Runs:
    """The finished rounds of these runs and campaigns, as one set of tables.

    A part of a round, as of a run under way or killed, is left out. Raises `NotARun` where there is
    no run or no finished round, and `NotWhole` with every file that is missing, damaged or
    unreadable. Of several directories those that can't be loaded are skipped with a warning, unless
    none can be loaded. Warns where an earlier version wrote a directory without digests, so that
    damage to a file's content may go unnoticed.
    """
    found = [each for directory in directories for each in _runs_in(Path(directory))]
    runs: list[Run] = []
    errors: list[NotARun | NotWhole] = []
    for name, directory, point in found:
        try:
            runs.append(_load(name, directory, point))
        except (NotARun, NotWhole) as error:
            errors.append(error)
    if not runs:
        raise errors[0]
    skipped = tuple(map(str, errors))
    for message in skipped:
        warnings.warn(message, stacklevel=2)
    return Runs(tuple(runs), skipped)


def _load(name: str, directory: Path, point: Mapping[str, str]) -> Run:
    whole = examine(directory)
    if not whole.rounds:
        raise NotARun(f"{directory} holds no finished round")
    if whole.digests is None:
        what = "was written by an earlier version, without digests: only the number of its files "
        warnings.warn(f"{directory} {what}could be checked, not their content", stacklevel=3)
    run = Run(name, whole, point)
    _ = run.study  # read at once, so that a damaged study is reported here
    return run


def _runs_in(directory: Path) -> Iterator[tuple[str, Path, Mapping[str, str]]]:
    """The name, directory and grid point of each run in a directory: one run, or a campaign's."""
    if not (directory / CAMPAIGN).exists():
        yield directory.name or str(directory), directory, {}
        return
    listed = json.loads((directory / CAMPAIGN).read_text())
    for name in listed["cells"]:
        yield name, directory / "cells" / name, listed.get("points", {}).get(name, {})


def _labels(run: Run) -> pc.Expression:
    expression = ds.field("run") == run.name
    for key, value in run.point.items():
        expression &= ds.field(key) == value
    return expression


def _expression(where: Where | None) -> pc.Expression | None:
    if where is None or isinstance(where, pc.Expression):
        return where
    expression: pc.Expression | None = None
    for key, value in where.items():
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        one = ds.field(key).isin(values)
        expression = one if expression is None else expression & one
    return expression
