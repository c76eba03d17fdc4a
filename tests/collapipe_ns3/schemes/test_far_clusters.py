"""Studies with a cluster or a node that nobody hears: who sits out, and where nobody is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3.cli.app import app

PHONE, PI = {"profile": "phone-midrange"}, "raspberry-pi-4"


def run(folder: Path, *options: str, **changes: Any) -> Result:
    study = studies.write(folder, **changes)
    arguments = ["run", study, "--out", str(folder / "run"), "--rounds", "1", *options]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})


def sat_out(folder: Path) -> dict[str, str]:
    devices = pd.read_parquet(folder / "run" / "devices")
    absent = devices[devices["sits_out"] != ""]
    return dict(zip(absent["device"].astype(str), absent["sits_out"], strict=True))


def clusters(far_m: float) -> list[dict[str, Any]]:
    return [
        {"cu": "jetson-nano", "position": [x, 10], "devices": [PI, PHONE]} for x in (20.0, far_m)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "far_m", "scheme"),
    [
        ("log-distance", 10_000.0, "collapipe"),
        ("log-distance", 10_000.0, "oracle"),
        ("uma", 5_000.0, "collapipe"),
    ],
)
def test_a_cluster_that_is_too_far_away_sits_out(
    model: str, far_m: float, scheme: str, tmp_path: Path
) -> None:
    done = run(
        tmp_path,
        clusters=clusters(far_m),
        propagation={"d2d": "log-distance", "d2e": model},
        scheme=scheme,
    )
    assert done.exit_code == 0, done.output
    assert sat_out(tmp_path).keys() == {"c1.d0", "c1.d1"}
    assert "c1.d0 sat out: c1.cu → bs carries nothing: SINR is" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["pipeline", "titanic", "vanilla_fl"])
def test_a_baseline_finds_out_in_its_first_round(scheme: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--rounds", "2", clusters=clusters(10_000.0), scheme=scheme)
    assert done.exit_code == 0, done.output
    rounds = pd.read_parquet(tmp_path / "run" / "rounds")
    assert [why != "" for why in rounds["abandoned"]] == [True, False]
    assert sat_out(tmp_path).keys() == {"c1.d0", "c1.d1"}


@pytest.mark.slow
def test_a_device_that_sends_next_to_nothing_sits_out(tmp_path: Path) -> None:
    quiet = {"profile": "phone-midrange", "tx_power_dbm": -100}
    only = [{"cu": "jetson-nano", "position": [20, 10], "devices": [PI, quiet]}]
    done = run(tmp_path, clusters=only, scheme="collapipe")
    assert done.exit_code == 0, done.output
    assert sat_out(tmp_path).keys() == {"c0.d1"}


@pytest.mark.slow
def test_a_cluster_of_a_thousand_kilometres_is_an_error_that_says_why(tmp_path: Path) -> None:
    wide = [{"cu": "jetson-nano", "position": [20, 10], "devices": [PI, PHONE]}]
    done = run(tmp_path, clusters=wide, placement={"cluster_radius_m": 1e6}, scheme="collapipe")
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert "every cluster: sits out" in said
    assert "c0.d0 carries nothing" in said
