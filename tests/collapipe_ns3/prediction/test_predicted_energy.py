"""Predicted energy of every node against what ns-3 measures, idle nodes included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import studies

from collapipe_ns3.study import Study
from collapipe_ns3.topology import layout
from collapipe_ns3.topology.media import media

WIFI = {"d2d": "wifi", "d2e": "lte"}
TCP = {tier: {"stack": "ofdma", "transport": "tcp"} for tier in ("d2d", "d2e")}


def measured(directory: Path) -> pd.DataFrame:
    lines = (directory / "plans.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    rows = [
        {"round": record["round"], **row}
        for record in records
        for row in record["explanation"]["measured"]
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("energy", ["socket", "radiated"])
@pytest.mark.parametrize("radio", [{}, TCP, WIFI], ids=["ofdma", "ofdma under tcp", "wifi and lte"])
def test_predicted_energies_are_near_those_measured(
    tmp_path: Path, radio: dict[str, Any], energy: str
) -> None:
    model = {**studies.TINY["model"], "encoder_blocks": 1}  # for one of the two devices
    study = Study.load(studies.write(tmp_path, model=model, radio=radio, energy=energy))
    result = study.run(scheme="collapipe", rounds=3, out=tmp_path / "run")
    rows = measured(tmp_path / "run")
    spent = result.devices.set_index(["round", "device"])
    parts = ["compute_energy_j", "tx_energy_j", "rx_energy_j", "idle_energy_j"]
    energies = rows[rows["name"] != "round"].set_index(["round", "name", "quantity"])
    assert {name for _, name, _ in energies.index} == set(spent.index.levels[1])
    for (number, node, quantity), row in energies.iterrows():
        joules = spent.loc[(number, node), parts if quantity == "energy_j" else [quantity]].sum()
        assert row["measured"] == pytest.approx(joules)
        assert row["what"] == f"{node} {quantity}"
    total = energies.xs("energy_j", level="quantity")
    error = (total["predicted"] / total["measured"] - 1).abs()
    assert error.median() < 0.1
    # Such small transfers over Wi-Fi are mostly preambles, which are unknown at first.
    assert error.loc[0].median() < (0.2 if radio is WIFI else 0.1)
    assert (spent["idle_energy_j"] > 0).all() == (energy == "socket")
    idle = spent[spent["blocks"] == 0].loc[2].index.intersection(["c0.d0", "c0.d1"])
    assert len(idle) == 1
    assert error.loc[(2, idle[0])] < 0.2


def test_media_name_the_nodes_that_overhear_them() -> None:
    """All nodes on a Wi-Fi channel; in other bands only the receiver."""
    two = [
        {**studies.TINY["clusters"][0], "position": [20, 10 + 30 * n], "channel": channel}
        for n, channel in enumerate((42, 58))
    ]
    for cluster in two:
        cluster["devices"] = ["raspberry-pi-4", "phone-midrange"]
    config = studies.config(radio=WIFI, clusters=two)
    found = {medium.name: medium for medium in media(layout.scenario(config, 1, 0))}
    assert found["Wi-Fi channel 42"].overhear == {"c0.cu", "c0.d0", "c0.d1"}
    assert found["Wi-Fi channel 58"].overhear == {"c1.cu", "c1.d0", "c1.d1"}
    assert not found["LTE uplink"].overhear
    assert not found["LTE downlink"].overhear
    together = [{**cluster, "channel": 42} for cluster in two]
    (channel, *_) = media(layout.scenario(studies.config(radio=WIFI, clusters=together), 1, 0))
    assert channel.overhear == {f"c{n}.{node}" for n in (0, 1) for node in ("cu", "d0", "d1")}
    ofdma = media(layout.scenario(studies.config(), 1, 0))
    assert not any(medium.overhear for medium in ofdma)
