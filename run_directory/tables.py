"""Reads the tables of a run that has been checked, as pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from run_directory.whole import NotARun, NotWhole, WholeRun, table_file


def read_table(run: WholeRun, name: str) -> pd.DataFrame:
    """A table's rows of all rounds; none where the version that wrote the run had no such table.

    Raises `NotARun` where there is no round yet, and `NotWhole` for a file that can't be read.
    """
    if not run.rounds:
        raise NotARun(f"{run.directory} holds no finished round")
    return _read(run, run.table(name))


def read_round(run: WholeRun, name: str, number: int) -> pd.DataFrame:
    """A table's rows of one round, none where the version that wrote it had no such table.

    Raises `NotWhole`.
    """
    file = run.directory / table_file(name, number)
    return _read(run, [file] if file in run.table(name) else [])


def repeatable(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without its wall-clock columns, those with `wall` in their names.

    The other columns are the same, bit for bit, in every run of the same study, seed and code.
    """
    return frame[[name for name in frame.columns if "wall" not in name]]


def _read(run: WholeRun, files: Sequence[Path]) -> pd.DataFrame:
    if not files:
        return pd.DataFrame()
    try:
        # Rounds of earlier versions may lack columns, whose values are then missing.
        schemas = map(pq.read_schema, files)
        schema = pa.unify_schemas(list(schemas), promote_options="permissive")
        table = pq.read_table([str(file) for file in files], schema=schema)
        frame: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        wrong = [name for file in files if (name := _unreadable(run, file))]
        what = f"can't be read as Parquet: {str(error).splitlines()[0]}"
        raise NotWhole(run.directory, [(name, what) for name in wrong or ["tables"]]) from None
    return frame


def _unreadable(run: WholeRun, file: Path) -> str:
    """The file's name where it can't be read, else an empty text."""
    try:
        pq.read_table(file)
    except (pa.ArrowException, OSError, ValueError):
        return str(file.relative_to(run.directory))
    return ""
