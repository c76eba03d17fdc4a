"""Damage that only reading a table can find is answered by every command that reads runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_runs import write_run
from typer.testing import CliRunner

from collapipe_ns3.cli.app import app


@pytest.fixture
def damaged(tmp_path: Path) -> str:
    """A run without digests, as the first version wrote it, with tables that can't be read."""
    run = write_run(
        tmp_path / "run", transfers=[{"bytes": 100, "airtime_s": 1.0, "bandwidth_hz": 1e6}]
    )
    (run / "digests.json").unlink()
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["format"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    for table in ("rounds", "transfers"):
        file = run / table / "00000.parquet"
        content = file.read_bytes()
        file.write_bytes(content[:4] + b"U" * 200 + content[204:])
    return str(run)


@pytest.mark.parametrize(
    "words",
    [
        ["figure", "goodput", "RUN", "-o", "OUT/f.svg"],
        ["trace", "RUN", "--round", "0", "-o", "OUT/t.json"],
        ["report", "RUN", "--out", "OUT"],
        ["tensorboard", "RUN", "--out", "OUT"],
    ],
    ids=lambda words: words[0],
)
def test_a_damaged_table_is_named(words: list[str], damaged: str, tmp_path: Path) -> None:
    arguments = [each.replace("OUT", str(tmp_path)).replace("RUN", damaged) for each in words]
    done = CliRunner().invoke(app, [*arguments, "--json"], env={"COLUMNS": "80"})
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.stderr
    printed = json.loads(done.stdout)
    assert printed["ok"] is False
    assert "00000.parquet" in str(printed["problems"])
    assert "can't be read as Parquet" in str(printed["problems"])
