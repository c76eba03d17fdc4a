"""Runs as one set of tables: pandas frames and pyarrow datasets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq

from analysis.derived import DERIVED, rows_of
from analysis.frame_cache import FrameCache
from analysis.run import Run
from analysis.selection import Where, known, listed, scan, values_of
from run_directory.schemas import SCHEMAS, WORD


@dataclass(frozen=True, repr=False)
class Runs:
    """One run or many as one set of tables; files are read when a table is needed.

    Every table has the columns `scheme`, `seed` and `run`, and a column for each key of a
    campaign's grid; nearly every one has `round`. `runs` are the members, in the order in which
    they were given. `skipped` has a message for each directory that could not be loaded. Iterating
    gives each run as `Runs` of one.

    Texts with few different values are categories. A column that the version which wrote a run did
    not have is missing (nan) in the rows of that run.
    """

    runs: tuple[Run, ...]
    skipped: tuple[str, ...] = ()
    _frames: FrameCache = field(default_factory=FrameCache, compare=False)

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Runs]:
        return (self._of([run]) for run in self.runs)

    def __getitem__(self, which: int | str) -> Runs:
        """One run, by its number or by its name; raises `IndexError` or `ValueError`."""
        if isinstance(which, str):
            known(which, self._names, "run")
            return self._of([run for run in self.runs if run.name == which])
        if not -len(self) <= which < len(self):
            raise IndexError(f"no run {which}: there are {len(self)}, which begin with 0")
        return self._of([self.runs[which]])

    def __repr__(self) -> str:
        return f"<{len(self)} {'run' if len(self) == 1 else 'runs'}: {listed(self._names)}>"

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
    def grid(self) -> dict[str, list[str]]:
        """The keys of the campaigns' grids with their values, in the order of the runs."""
        keys = dict.fromkeys(key for run in self.runs for key in run.point)
        return {
            key: list(dict.fromkeys(run.point[key] for run in self.runs if key in run.point))
            for key in keys
        }

    def select(self, **labels: object) -> Runs:
        """The runs with these labels: `run`, `scheme`, `seed`, or keys of a campaign's grid.

        Each has a value or a list of values: `runs.select(scheme="local", seed=[0, 1])`; keys with
        points are given as `**{"radio.d2e.bandwidth_hz": "5e6"}`. Raises `ValueError` for an
        unknown label, and where no run has these values.
        """
        for key, value in labels.items():
            known(key, self._labels, "label", "these runs")
            there = list(dict.fromkeys(run.labels.get(key) for run in self.runs))
            if not any(each in there for each in values_of(value)):
                shown = listed(str(each) for each in there if each is not None)
                raise ValueError(f"no run has {key} {value!r}; there are {shown}")
        kept = {key: values_of(value) for key, value in labels.items()}
        found = _matching(self.runs, kept, kept)
        if not found:
            given = ", ".join(f"{key} {value!r}" for key, value in labels.items())
            raise ValueError(f"no run has all of {given}")
        return self._of(found)

    def dataset(self, name: str) -> ds.Dataset:
        """A table as a pyarrow dataset, which reads its files when it is scanned.

        A scan opens only the files of the runs and rounds that its filter asks for. Raises
        `ValueError` for an unknown table.
        """
        self._check(name)
        return self._dataset(name, self.runs, None)

    def table(
        self, name: str, columns: Sequence[str] | None = None, where: Where | None = None
    ) -> pd.DataFrame:
        """A table as a frame of its own, by default with all columns and rows.

        Reads only these columns, and opens only the files of runs and rounds that `where` asks for:
        either a value or a list of values for each column, as in `{"seed": [1, 2]}`, or a pyarrow
        expression. Raises `ValueError` for an unknown table or column, and `NotWhole` for a file
        that can't be read.

        Tables are `rounds`, `computes`, `transfers`, `links`, `pipelines`, `devices` and `nodes`,
        each with the columns that `run_directory.schemas` lists, and three that are made from other
        files: `plans` (a row for each stage of each pipeline), `predictions` (what a scheme
        predicted, beside what was then measured) and `media` (goodput over SINR, as planned with).
        """
        self._check(name)
        if isinstance(where, pc.Expression):
            return self._read(name, columns, where)
        kept = {column: values_of(value) for column, value in (where or {}).items()}
        names = [columns] if isinstance(columns, str) else columns
        key = (self._names, name, None if names is None else tuple(names), repr(kept))
        frame = self._frames.get(key)
        if frame is None:
            frame = self._read(name, names, kept)
            self._frames.put(key, frame)
        return frame.copy(deep=False)

    @property
    def rounds(self) -> pd.DataFrame:
        return self.table("rounds")

    @property
    def computes(self) -> pd.DataFrame:
        return self.table("computes")

    @property
    def transfers(self) -> pd.DataFrame:
        return self.table("transfers")

    @property
    def links(self) -> pd.DataFrame:
        return self.table("links")

    @property
    def pipelines(self) -> pd.DataFrame:
        return self.table("pipelines")

    @property
    def devices(self) -> pd.DataFrame:
        return self.table("devices")

    @property
    def encodings(self) -> pd.DataFrame:
        return self.table("encodings")

    @property
    def nodes(self) -> pd.DataFrame:
        return self.table("nodes")

    @property
    def handovers(self) -> pd.DataFrame:
        return self.table("handovers")

    @property
    def _only(self) -> Run:
        if len(self.runs) == 1:
            return self.runs[0]
        names = listed(self._names)
        raise ValueError(f"expected one run, not {len(self.runs)}: choose one by runs[0]: {names}")

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(run.name for run in self.runs)

    def _of(self, runs: Iterable[Run]) -> Runs:
        """Some of these runs, which share the frames that were read."""
        return Runs(tuple(runs), (), self._frames)

    def _check(self, name: str) -> None:
        known(name, [*SCHEMAS, *DERIVED], "table")

    def _read(self, name: str, columns: Sequence[str] | None, where: Where | None) -> pd.DataFrame:
        asked = where if isinstance(where, Mapping) else {}
        is_known = columns is not None and not isinstance(where, pc.Expression)
        used = {*(columns or ()), *asked} if is_known else None
        runs = _matching(self.runs, asked, self._labels)
        try:
            read = scan(self._dataset(name, runs, used), columns, where, name)
        except (pa.ArrowException, OSError):
            for run in runs:
                run.check_files([name], pq.read_table)
            raise
        return _to_frame(read)

    def _dataset(self, name: str, runs: Sequence[Run], used: Set[str] | None) -> ds.Dataset:
        """A table of some of the runs.

        It has the columns of all runs, or at least those that are used.
        """
        schema = self._schema(name, used)
        if name in DERIVED:
            rows = [{**run.labels, **row} for run in runs for row in rows_of(name, run.whole)]
            return ds.dataset(pa.Table.from_pylist(rows, schema))
        format_, local = ds.ParquetFileFormat(), fs.LocalFileSystem()
        of_table = set(SCHEMAS[name].names) - {"scheme", "seed"}
        labels = [key for key in self._labels if key not in of_table]
        fragments = [
            format_.make_fragment(
                str(file), local, partition_expression=_guarantee(run, file, labels)
            )
            for run in runs
            for file in run.whole.table(name)
        ]
        return ds.FileSystemDataset(fragments, schema, format_, local)

    def _schema(self, name: str, used: Set[str] | None) -> pa.Schema:
        """The columns of the present version, and further ones of any run if they may be used."""
        own = DERIVED[name] if name in DERIVED else SCHEMAS[name]
        labels = [(key, WORD) for key in self._labels if key not in own.names]
        present = pa.unify_schemas([own, pa.schema(labels)])
        if name in DERIVED or (used is not None and used <= set(present.names)):
            return present
        found = [own, *(each for run in self.runs for each in run.schemas(name)), present]
        try:
            return pa.unify_schemas(found, promote_options="permissive")
        except pa.ArrowException as error:
            what = f"{name} of these runs can't be read as one table: {error}"
            raise ValueError(what) from None

    @property
    def _labels(self) -> list[str]:
        """The columns whose values are the same in all rows of a run."""
        return ["scheme", "seed", "run", *self.grid]


def _to_frame(table: pa.Table) -> pd.DataFrame:
    """The table as a frame, in which the categories of all files are one set."""
    for number, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            chunks = [_without_null(chunk) for chunk in table.column(number).chunks]
            table = table.set_column(number, column, pa.chunked_array(chunks, column.type))
    unified = table.unify_dictionaries()
    del table
    frame: pd.DataFrame = unified.to_pandas(split_blocks=True, self_destruct=True)
    return frame


def _without_null(words: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same values, with no null in the dictionary: pyarrow can't unify those that have one.

    A scan gives such an array where a file has no values of a column.
    """
    return words.dictionary_decode().dictionary_encode() if words.dictionary.null_count else words


def _matching(runs: Sequence[Run], where: Mapping[str, Any], labels: Collection[str]) -> list[Run]:
    """The runs that have one of the values asked for of each label; other keys are ignored."""
    asked = {key: values for key, values in where.items() if key in labels}
    return [
        run for run in runs if all(run.labels.get(key) in values for key, values in asked.items())
    ]


def _guarantee(run: Run, file: Path, labels: Iterable[str]) -> pc.Expression:
    """What all rows of a file have: a scan that asks for other rows doesn't open the file."""
    guarantee = ds.field("round") == int(file.stem)
    for key in labels:
        value = run.labels.get(key)
        guarantee &= ds.field(key).is_null() if value is None else ds.field(key) == value
    return guarantee
