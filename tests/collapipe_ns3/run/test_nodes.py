"""The table `nodes`: where every node is at both ends of each round, and what limits it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import studies

from collapipe_ns3 import Study
from collapipe_ns3.result import Result
from collapipe_ns3.run import runner
from collapipe_ns3.run.replay import replay
from collapipe_ns3.topology.node_facts import NodeFacts, node_facts

START, END = ["x_m", "y_m", "z_m"], ["end_x_m", "end_y_m", "end_z_m"]

#: 3 m/s to the east and 4 m/s to the north: 5 m/s.
AWAY = {"kind": "way", "corners": [[0, 20, 10], [100, 320, 410]]}

MOVING: dict[str, Any] = {
    "clusters": [
        {
            "cu": "jetson-nano",
            "position": [20, 10],
            "motion": AWAY,
            "devices": ["raspberry-pi-4", {"profile": "phone-midrange", "position": [22, 14]}],
        },
        {
            "cu": {"profile": "jetson-nano", "memory_bytes": 1e9},
            "position": [60, 5],
            "station": "bs1",
            "devices": [
                {
                    "profile": "raspberry-pi-4",
                    "motion": {"radius_m": 4, "speed_m_s": [1.0, 2.0]},
                }
            ],
        },
    ],
    "stations": [{"position": [70, 0]}],
    "interferers": [
        {
            "kind": "jammer",
            "name": "drone",
            "tx_power_dbm": -20,
            "position": [300, 0, 50],
            "motion": {"kind": "way", "corners": [[0, 300, 0, 50], [10, 300, 0, 150]]},
        },
        {
            "kind": "background",
            "tx_power_dbm": -20,
            "src": [400, 0],
            "dst": [410, 0],
            "rate_bps": 1e4,
        },
    ],
}


@pytest.fixture(scope="module")
def result() -> Result:
    return studies.finished(3, **MOVING)


@pytest.fixture
def rounds(result: Result) -> Iterator[pd.DataFrame]:
    return (rows.set_index("node") for _, rows in result.nodes.groupby("round"))


def test_every_node_has_a_row_in_each_round(result: Result) -> None:
    nodes = result.nodes
    known = ["node", "role", "cluster", "profile", "station"]
    expected = [
        ("bs", "base station", -1, "edge-server", ""),
        ("bs1", "base station", -1, "edge-server", ""),
        ("c0.cu", "control unit", 0, "jetson-nano", "bs"),
        ("c0.d0", "device", 0, "raspberry-pi-4", "bs"),
        ("c0.d1", "device", 0, "phone-midrange", "bs"),
        ("c1.cu", "control unit", 1, "jetson-nano", "bs1"),
        ("c1.d0", "device", 1, "raspberry-pi-4", "bs1"),
        ("drone", "interferer", -1, "", ""),
        ("background1.src", "interferer", -1, "", ""),
        ("background1.dst", "interferer", -1, "", ""),
    ]
    for _, rows in nodes.groupby("round"):
        assert [*rows[known].itertuples(index=False, name=None)] == expected
    assert nodes["round"].nunique() == 3


def test_a_limit_is_that_of_the_profile_or_the_studys_own(rounds: Iterator[pd.DataFrame]) -> None:
    limits = next(rounds)["memory_limit_bytes"]
    assert limits[["c0.cu", "c0.d1", "c1.cu", "bs"]].tolist() == [3 * 2**30, 2**31, 1e9, 15 * 2**30]
    assert limits[["bs1", "drone", "background1.src"]].isna().all()


def test_a_round_begins_where_the_last_one_ended(rounds: Iterator[pd.DataFrame]) -> None:
    before = next(rounds)
    assert before.loc["c0.d1", START].tolist() == [22, 14, 1.5]
    assert before.loc["bs", START].tolist() == [0, 0, 10]
    for after in rounds:
        assert after[START].to_numpy().tolist() == before[END].to_numpy().tolist()
        before = after


def test_who_moves_covers_speed_times_time(result: Result, rounds: Iterator[pd.DataFrame]) -> None:
    for rows, lasted_s in zip(rounds, result.rounds["duration_s"], strict=True):
        moved = pd.DataFrame(rows[END].to_numpy() - rows[START].to_numpy(), rows.index, list("xyz"))
        away = pytest.approx([3 * lasted_s, 4 * lasted_s, 0], abs=1e-6)
        for node in ("c0.cu", "c0.d0", "c0.d1"):  # the devices move with their control unit
            assert moved.loc[node].tolist() == away
        assert moved.loc["drone"].tolist() == pytest.approx([0, 0, 10 * lasted_s], abs=1e-6)
        walked = (moved.loc["c1.d0"] ** 2).sum() ** 0.5
        assert 0 < walked <= 2.0 * lasted_s
        for node in ("bs", "bs1", "c1.cu", "background1.src", "background1.dst"):
            assert moved.loc[node].tolist() == [0, 0, 0]


def test_a_replay_compares_the_nodes(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    assert replay(result.directory, 2).different == ()

    def without_interferers(config: Any) -> tuple[NodeFacts, ...]:
        return tuple(each for each in node_facts(config) if each.role != "interferer")

    monkeypatch.setattr(runner, "node_facts", without_interferers)
    assert replay(result.directory, 2).different == ("nodes",)


def test_budgets_are_those_of_the_scheme_and_explain_its_queues(tmp_path: Path) -> None:
    scheme = {
        "name": "collapipe",
        "settings": {"energy_budget_j": 1e-3, "energy_budgets_j": {"c0.cu": 2e-3}},
    }
    result = Study(studies.config(scheme=scheme)).run(rounds=2, out=tmp_path / "run")
    budgets = result.nodes[result.nodes["round"] == 1].set_index("node")["energy_budget_j"]
    assert budgets[["c0.cu", "c0.d0", "c0.d1"]].tolist() == [2e-3, 1e-3, 1e-3]
    assert pd.isna(budgets["bs"])
    queue = dict.fromkeys(budgets.index, 0.0)
    for _, rows in result.devices.groupby("round"):
        for row in rows[rows["device"] != "bs"].itertuples():
            joules = row.idle_energy_j + row.compute_energy_j + row.radio_energy_j
            used = joules / budgets[row.device]
            queue[row.device] = max(queue[row.device] + used - 1, 0)
            assert row.energy_queue == pytest.approx(queue[row.device])
    assert max(queue.values()) > 0
    assert replay(result.directory, 1).different == ()


def test_a_scheme_without_budgets_leaves_them_missing(result: Result) -> None:
    assert result.nodes["energy_budget_j"].isna().all()
