"""Turns run directories into those that an earlier version of this project would have written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from run_directory.digests import sha256

#: The columns that format 4 added, by table.
ADDED_BY_4: Mapping[str, Collection[str]] = {
    "computes": ("pipeline", "step"),
    "rounds": ("overlap_s",),
    "transfers": ("cluster", "pipeline", "stage", "micro_batch", "step", "group"),
}

#: The tables that format 3 did not have.
LATER_TABLES = ("encodings", "nodes", "handovers")


def as_format_3(path: Path, added: Mapping[str, Collection[str]]) -> None:
    """Removes the tables that format 3 did not have, `media.json`, and these columns."""
    (path / "media.json").unlink()
    for table in LATER_TABLES:
        shutil.rmtree(path / table)
    data = json.loads((path / "digests.json").read_text())
    del data["sha256"], data["media"]
    data["format"] = 3
    for number, each in enumerate(data["rounds"]):
        for table in LATER_TABLES:
            del each["tables"][table]
        for table, columns in added.items():
            file = path / table / f"{number:05}.parquet"
            pq.write_table(pq.read_table(file).drop_columns(list(columns)), file)
            each["tables"][table] = sha256(file.read_bytes())
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": 3}))
    data["manifest"] = sha256((path / "manifest.json").read_bytes())
    own = sha256(json.dumps(data, sort_keys=True).encode())
    (path / "digests.json").write_text(json.dumps({**data, "sha256": own}))
