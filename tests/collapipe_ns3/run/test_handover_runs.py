"""Runs with handover: what they record, and that cells last between rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import run_checks
import studies

from collapipe_ns3 import Study
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.result import Result
from collapipe_ns3.run.link_book import LinkBook
from collapipe_ns3.run.replay import replay
from ns3_scenarios.handover import Handover

APART_M, FIRST_M, SPEED_M_S = 400.0, 215.0, 190.0
WAY = [[0, FIRST_M, 12, 10], [1, FIRST_M + SPEED_M_S, 12, 10]]
HANDOVER = {"time_to_trigger": "80 ms", "interruption": "30 ms", "measured_every": "20 ms"}

#: A control unit that passes from one station to the other within some rounds.
PASSING: dict[str, Any] = {
    "clusters": [
        {
            "cu": "jetson-nano",
            "position": [FIRST_M, 12, 10],
            "motion": {
                "kind": "way",
                "corners": [[0, FIRST_M, 12, 10], [1, FIRST_M + SPEED_M_S, 12, 10]],
            },
            "devices": [
                "raspberry-pi-4",
                {"profile": "phone-midrange", "position": [217, 14]},
            ],
        },
        {
            "cu": "jetson-nano",
            "position": [380, 20],
            "station": "bs1",
            "devices": ["raspberry-pi-4"],
        },
    ],
    "server": {"position": [0, 0, 10]},
    "stations": [{"position": [APART_M, 0, 10]}],
    "radio": {
        "handover": {"time_to_trigger": "80 ms", "interruption": "30 ms", "measured_every": "20 ms"}
    },
    "training": {"batch_size": 8, "local_steps": 1, "exchange": {}},
}


def passing(scheme: str, **changes: Any) -> Result:
    return studies.finished(4, scheme, **{**PASSING, **changes})


@pytest.fixture(scope="module", params=["pipeline", "collapipe"])
def result(request: pytest.FixtureRequest) -> Result:
    return passing(request.param)


def expected_s() -> float:
    """4 dB of loss with exponent 3; measured every 20 ms, and four times more to trigger."""
    ratio = 10 ** (4 / 30)
    passes_s = (APART_M * ratio / (1 + ratio) - FIRST_M) / SPEED_M_S  # 12 m aside: 0.1 m
    return (passes_s // 0.02 + 1 + 4) * 0.02


def test_a_run_records_handovers_and_cells(result: Result) -> None:
    (change,) = result.handovers.to_dict("records")
    assert change["at_s"] == pytest.approx(expected_s(), abs=1e-3)  # whole TTIs of the episode
    assert change["interruption_s"] == 0.03
    assert [change[key] for key in ("node", "from_station", "to_station")] == ["c0.cu", "bs", "bs1"]
    at = change["round"]
    assert 0 < at < 3, result.rounds["start_s"].tolist()
    nodes = result.nodes.set_index("node")
    for node in ("c0.cu", "c0.d0", "c0.d1"):
        rows = nodes.loc[node].set_index("round")
        assert rows["station"].tolist() == ["bs" if n <= at else "bs1" for n in range(4)]
        assert rows["end_station"].tolist() == ["bs" if n < at else "bs1" for n in range(4)]
    assert set(nodes.loc["c1.cu", "station"]) == {"bs1"}
    (start,) = result.rounds.query(f"round == {at}")["start_s"]
    assert start <= change["at_s"] < start + result.rounds["duration_s"].iloc[at]
    assert set(result.transfers.query("kind != 'sounding'")["outcome"]) == {"delivered"}
    assert set(result.transfers["src"]) | set(result.transfers["dst"]) >= {"bs", "c0.cu"}
    assert "bs1" not in set(result.transfers["src"])  # the server, by whichever station


def test_a_resumed_run_has_the_same_tables(result: Result, tmp_path: Path) -> None:
    """It is resumed after the round with the handover."""
    at = int(result.handovers["round"].iloc[0])
    study = Study(studies.config(**{**PASSING, "rounds": 4}))
    scheme = result.rounds["scheme"].iloc[0]
    study.run(scheme=scheme, out=tmp_path / "run", rounds=at + 1)
    study.run(scheme=scheme, out=tmp_path / "run", rounds=4, resume=True)
    run_checks.same(result.directory, tmp_path / "run")


def test_every_round_replays_alone(result: Result) -> None:
    for number in range(4):
        assert replay(result.directory, number).different == ()


def test_links_of_another_cell_are_forgotten(result: Result) -> None:
    """No link of the old cell is shown after the change: what is shown was measured in the new."""
    at = int(result.handovers["round"].iloc[0])
    links = result.links.query("src in ('bs', 'c0.cu') and dst in ('bs', 'c0.cu')")
    before = links.query(f"round == {at}")["gain_db"]
    after = links.query(f"round == {at + 1}")["gain_db"]
    if result.rounds["scheme"].iloc[0] == "collapipe":
        assert len(before) == len(after) == 2
        assert after.min() > before.max() - 3  # it has come near, and no average with the old cell


def test_a_book_without_nodes_has_their_sidelinks() -> None:
    pairs = [("c0.cu", "bs"), ("bs", "c0.cu"), ("c0.cu", "c0.d0"), ("bs", "c1.cu")]
    book = LinkBook({pair: MeasuredLink.silent(*pair) for pair in pairs})
    assert set(book.without({"c0.cu"}).links) == {("c0.cu", "c0.d0"), ("bs", "c1.cu")}


def test_in_flight_transfers_are_lost_where_the_study_says_so() -> None:
    handover = {**HANDOVER, "in_flight": "lost"}
    result = passing("pipeline", radio={"handover": handover})
    assert len(result.handovers) == 1
    assert result.rounds["abandoned"].tolist() == [""] * 4
    lost = result.transfers.query("outcome == 'lost'")
    assert set(lost["end_s"].round(4)) <= {round(float(result.handovers["at_s"].iloc[0]), 4)}


def test_the_keys_are_those_of_the_scenario() -> None:
    given = {"offset_db": 2, "hysteresis_db": 0.5, "in_flight": "lost", "measured_every": "20 ms"}
    config = studies.config(**{**PASSING, "radio": {"handover": given}})
    assert config.radio.handover is not None
    assert config.radio.handover.handover() == Handover(2.0, 0.5, 0.16, 0.05, "lost", 0.02)
    assert studies.config(**{**PASSING, "radio": {"handover": {}}}).radio.handover is not None
    assert studies.config().radio.handover is None
