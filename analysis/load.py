"""Loads a run directory as pandas frames."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from run_directory.tables import read_table
from run_directory.whole import STUDY, TABLES, NotARun, NotWhole, WholeRun, examine

__all__ = ["TABLES", "NotARun", "NotWhole", "RunTables", "load"]


@dataclass(frozen=True)
class RunTables:
    """One run: its tables, with the columns of the record schema, its study and its manifest.

    Every table has the columns `scheme`, `seed` and `round`, so that those of several runs can be
    concatenated. `plans` holds the plan of each round as plain data.
    """

    directory: Path
    study: dict[str, Any]
    manifest: dict[str, Any]
    plans: list[dict[str, Any]]
    rounds: pd.DataFrame
    computes: pd.DataFrame
    transfers: pd.DataFrame
    links: pd.DataFrame
    pipelines: pd.DataFrame
    devices: pd.DataFrame


def load(run_dir: str | Path) -> RunTables:
    """The finished rounds of the run in this directory.

    A part of a round, as of a run under way or killed, is left out. Raises
    `NotARun` where there is no run or no finished round, and `NotWhole` with every file that is
    missing, damaged or unreadable. Warns where an earlier version wrote the directory without
    digests, so that damage to a file's content may go unnoticed.
    """
    run = examine(Path(run_dir))
    study = _study(run)
    tables = {name: read_table(run, name) for name in TABLES}
    if run.digests is None:
        what = "was written by an earlier version, without digests: only the number of its files "
        warnings.warn(f"{run_dir} {what}could be checked, not their content", stacklevel=2)
    return RunTables(
        directory=run.directory,
        study=study,
        manifest=dict(run.manifest),
        plans=[dict(plan) for plan in run.plans],
        **tables,
    )


def _study(run: WholeRun) -> dict[str, Any]:
    try:
        study = yaml.safe_load(run.study)
    except (yaml.YAMLError, ValueError, RecursionError):
        study = None
    if not isinstance(study, dict):
        raise NotWhole(run.directory, [(STUDY, "can't be read as YAML")])
    return study
