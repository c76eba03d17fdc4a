"""Runs whose nodes warm and have batteries: what is recorded, resumed and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import run_checks
import studies

from collapipe_ns3 import Study
from collapipe_ns3.result import Result
from collapipe_ns3.run.replay import replay

#: A battery that lasts for a round or two and is charged slowly, and a device that soon throttles.
FAULTS: dict[str, Any] = {
    "nodes": [
        {
            "nodes": ["c0.d0"],
            "battery": {"capacity_j": 3, "return_at": 0.5},
            "charging": [{"power_w": 2.5, "from_s": 0.3}],
        },
        {
            "nodes": ["c0.d1"],
            "thermal": {"k_per_w": 20, "tau_s": 1, "limit_c": 26, "resume_c": 25.5, "factor": 3},
        },
        {"nodes": ["c0.cu"], "battery": {"capacity_j": 1000, "charge_j": 900}},
    ]
}
ROUNDS = 11


def study() -> Study:
    training = {"batch_size": 8, "local_steps": 3}
    return Study(studies.config(faults=FAULTS, training=training))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("heat") / "run"
    return study().run(rounds=ROUNDS, out=out)


def of(result: Result, node: str) -> pd.DataFrame:
    devices = result.devices
    return devices[devices["device"] == node].set_index("round")


def test_a_battery_loses_what_the_table_of_devices_says_that_its_node_took(run: Result) -> None:
    rows = of(run, "c0.cu")
    energies = ["compute_energy_j", "tx_energy_j", "rx_energy_j", "idle_energy_j"]
    used_j = rows[energies].sum(axis=1)
    assert (used_j > 0).all()
    assert rows["charge_j"].to_list() == pytest.approx((900 - used_j.cumsum()).to_list(), abs=1e-9)
    assert not rows["empty"].any()
    assert rows["temperature_c"].isna().all()


def test_a_device_with_an_empty_battery_is_lost_and_takes_part_again_once_charged(
    run: Result,
) -> None:
    rows, pipelines = of(run, "c0.d0"), run.pipelines
    assert rows["empty"].any()
    assert (rows["charge_j"] >= 0).all()
    lost = pipelines[pipelines["reason"].str.startswith("c0.d0 was away")]
    assert len(lost)
    assert (rows["away_s"] > 0).any()
    # It sits out the round that begins while it is empty, and is used again after that.
    ended_empty = [n for n, empty in rows["empty"].items() if empty and n + 1 in rows.index]
    assert [rows["sits_out"][n + 1] for n in ended_empty] == ["c0.d0 is away"] * len(ended_empty)
    used = {
        n
        for n, names in zip(pipelines["round"], pipelines["devices"], strict=True)
        if "c0.d0" in names
    }
    assert max(used) > min(lost["round"])
    assert not used & {n + 1 for n in ended_empty}


def test_a_hot_device_takes_three_times_as_long(run: Result) -> None:
    computes = run.computes
    own = computes[(computes["node"] == "c0.d1") & (computes["outcome"] == "done")].copy()
    own["took_s"] = own["end_s"] - own["start_s"]
    ratios = own.groupby(["action", "flops"])["took_s"].agg(["min", "max"])
    slowed = ratios[ratios["max"] > 1.5 * ratios["min"]]
    assert len(slowed)
    assert (slowed["max"] / slowed["min"]).to_list() == pytest.approx([3.0] * len(slowed), rel=1e-6)
    assert of(run, "c0.d1")["throttled"].any()


def test_states_are_kept_over_a_stop_and_for_a_replay(run: Result, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for rounds in (1, 6, 8, ROUNDS):
        study().run(rounds=rounds, out=out, resume=rounds > 1)
    run_checks.same(run.directory, out)
    for number in (0, 5, 6, 7, ROUNDS - 1):
        assert replay(run.directory, number).different == ()


def test_a_run_ends_when_all_batteries_are_empty_for_good(tmp_path: Path) -> None:
    faults = {"nodes": [{"battery": {"capacity_j": 1.5}}]}
    found = Study(studies.config(faults=faults)).run(rounds=30, out=tmp_path / "run")
    assert 1 <= len(found.rounds) < 30
    assert "c0.d0 is away" in found.manifest["ended"]["reason"]
    last = found.devices[found.devices["round"] == len(found.rounds) - 1]
    assert last.loc[last["device"].isin(["c0.d0", "c0.d1"]), "empty"].all()
