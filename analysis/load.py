"""Run directories as pandas frames."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

TABLES = ("rounds", "computes", "transfers", "links", "pipelines", "devices")


class NotARun(ValueError):
    """A path that is no run directory."""


@dataclass(frozen=True)
class RunTables:
    """One run: its tables, a row as the record schema has it, and what it was run with.

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
    """The run in this directory, whole rounds only; raises `NotARun`.

    A run that is under way or was killed may have written part of a round beside them.
    """
    path = Path(run_dir)
    try:
        study = yaml.safe_load((path / "study.yaml").read_text("utf-8"))
        manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    except OSError as error:
        raise NotARun(f"{path} is no run directory: {error.strerror or error}") from None
    if not (path / "rounds").is_dir():
        raise NotARun(f"{path} holds no finished round")
    tables = {name: pd.read_parquet(path / name) for name in TABLES}
    whole = tables["rounds"]["round"]
    lines = (path / "plans.jsonl").read_text("utf-8").splitlines()
    return RunTables(
        directory=path,
        study=study,
        manifest=manifest,
        plans=[json.loads(line) for line in lines[: len(whole)]],
        **{name: table[table["round"].isin(whole)] for name, table in tables.items()},
    )
