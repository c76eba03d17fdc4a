"""Writes run directories with given tables, by the writer and with the columns of real runs.

A test gives only the rows and columns that it is about:

    write_run(tmp_path / "run", scheme="pipeline", transfers=[{"src": "bs", "bytes": 100}])
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from run_directory.schemas import SCHEMAS
from run_directory.writing import RunDirectory

#: Rows of a table, with any of its columns.
Rows: TypeAlias = Sequence[Mapping[str, Any]] | pd.DataFrame

#: The value of each column that is not given; 0, or an empty text, where it isn't listed here.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "computes": {"node": "c0.d0", "action": "F", "end_s": 1.0},
    "transfers": {
        "kind": "activation",
        "src": "c0.d0",
        "dst": "c0.d1",
        "radio": "ofdma",
        "outcome": "delivered",
        "end_s": 1.0,
    },
    "links": {"src": "c0.d0", "dst": "c0.d1"},
    "pipelines": {"micro_batches": 1, "schedule": "gpipe", "fate": "averaged", "weight": 1.0},
    "nodes": {
        "node": "c0.d0",
        "role": "device",
        "memory_limit_bytes": math.nan,
        "energy_budget_j": math.nan,
    },
    "devices": {"device": "c0.d0", "blocks": 1, "energy_queue": math.nan},
}


def write_run(
    path: Path,
    *,
    scheme: str = "collapipe",
    seed: int = 1,
    rounds: Rows | int = 1,
    plans: Sequence[Mapping[str, Any]] = (),
    study: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    media: Sequence[Mapping[str, Any]] = (),
    without: Collection[str] = (),
    **tables: Rows,
) -> Path:
    """Writes a run directory, and returns its path.

    `rounds` is the number of rounds, each of one simulated second, or their rows. The other tables
    are given by their names; a row without `round` is of round 0, and one of a round that isn't
    there is an error. `plans` are keys of each round's plan, of which the default is a plan without
    clusters. `study` and `manifest` are further keys of these files, where None leaves a key out;
    `media` is the content of `media.json`. `without` names tables, or columns as in
    `transfers.cluster`, that are left out, as in directories of earlier versions.
    """
    given = {name: _records(name, rows) for name, rows in tables.items()}
    given["rounds"] = _rounds_of(rounds)
    count = len(given["rounds"])
    for name, rows in given.items():
        unknown = {row["round"] for row in rows} - set(range(count))
        assert not unknown, f"{name} has rows of the rounds {unknown}, of {count} rounds"
    # Files need not survive a loss of power, and syncing them would take most of the time.
    with mock.patch("os.fsync"), RunDirectory(path) as directory:
        head = {"name": "synthetic", "seed": seed, "rounds": count, "scheme": {"name": scheme}}
        of_task = {"name": "numbers", "metric": _METRIC}
        made_by = {"scheme": scheme, "seed": seed, "task": of_task}
        directory.describe(
            yaml.safe_dump(_updated(head, study or {}), sort_keys=False),
            _updated(made_by, manifest or {}),
            media=media,
        )
        for number in range(count):
            values = {"scheme": scheme, "seed": seed, "round": number}
            files = {
                name: _parquet(
                    _columns(name, given.get(name, []), without),
                    [{**values, **row} for row in given.get(name, []) if row["round"] == number],
                )
                for name in SCHEMAS
                if name not in without
            }
            line = {"round": number, "scheme": scheme, "clusters": [], "links": [], "sounded": []}
            line.update(plans[number] if number < len(plans) else {})
            directory.add(files, json.dumps(line), b"")
    return path


def write_campaign(
    path: Path, runs: Mapping[str, Mapping[str, str]] | Sequence[str], *, with_points: bool = True
) -> Path:
    """Writes `campaign.json` of these runs (under `cells`), by their points; returns its folder.

    Without `with_points` it is that of an earlier version.
    """
    points = dict(runs) if isinstance(runs, Mapping) else {name: {} for name in runs}
    content: dict[str, Any] = {"study": "synthetic", "cells": dict.fromkeys(points, "")}
    path.mkdir(parents=True, exist_ok=True)
    (path / "campaign.json").write_text(
        json.dumps({**content, **({"points": points} if with_points else {})})
    )
    return path


_METRIC = {"name": "exact_match", "unit": "", "higher_is_better": True}


def _updated(keys: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """The keys with further ones; None leaves a key out."""
    return {key: value for key, value in {**keys, **further}.items() if value is not None}


def _rounds_of(rounds: Rows | int) -> list[dict[str, Any]]:
    """The rows of the table `rounds`, numbered from 0, each of a second where it isn't given."""
    rows = _records("rounds", [{}] * rounds if isinstance(rounds, int) else rounds)
    made: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        start = row.get("start_s", made[-1]["end_s"] if made else 0.0)
        length = row.get("duration_s", row.get("end_s", start + 1.0) - start)
        times = {"start_s": start, "duration_s": length, "end_s": start + length}
        made.append({**times, **row, "round": number})
    return made


def _records(name: str, rows: Rows) -> list[dict[str, Any]]:
    """The rows as dictionaries, each with its round."""
    assert name in SCHEMAS, f"no table {name!r}; there are {', '.join(SCHEMAS)}"
    records = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    return [{"round": 0, **{str(key): value for key, value in row.items()}} for row in records]


def _columns(
    name: str, rows: Sequence[Mapping[str, Any]], without: Collection[str]
) -> dict[pa.Field, Any]:
    """The columns of a table, each with the value of rows that do not give it."""
    fields = {each: _default(name, each) for each in SCHEMAS[name]}
    extra = dict.fromkeys(key for row in rows for key in row if key not in SCHEMAS[name].names)
    for key in extra:  # the test metrics of the task are the only columns outside the schema
        assert (name, key[:5]) == ("rounds", "test_"), f"{name} has no column {key}"
        fields[pa.field(key, pa.float64())] = math.nan
    return {each: value for each, value in fields.items() if f"{name}.{each.name}" not in without}


def _default(name: str, column: pa.Field) -> Any:
    value: Any = 0 if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) else ""
    if pa.types.is_boolean(column.type):
        value = False
    return DEFAULTS.get(name, {}).get(column.name, value)


def _parquet(columns: Mapping[pa.Field, Any], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The table's file of one round."""
    filled = {
        column.name: pa.array([row.get(column.name, value) for row in rows], column.type)
        for column, value in columns.items()
    }
    file = io.BytesIO()
    pq.write_table(pa.table(filled), file)
    return file.getvalue()
