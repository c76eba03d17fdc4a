"""Rounds whose parameters travel by multicast: their records, and radios that can't send them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import studies

from bridge.network import group_name
from collapipe_ns3 import Study
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.plan import LinkPlan, PlanError, RoundPlan
from collapipe_ns3.result import Result
from collapipe_ns3.run.planning import Planning, validate_for

CLUSTER = {"cu": "jetson-nano", "devices": ["raspberry-pi-4", "phone-midrange"]}
CONTROLS = ("c0.cu", "c1.cu")
DIRECT = {"stack": "ofdma", "transport": "direct"}


def config(d2e: dict[str, Any], **changes: Any) -> StudyConfig:
    clusters = [{**CLUSTER, "position": place} for place in ([20, 10], [60, 40])]
    radio = {"d2e": d2e, "d2d": DIRECT}
    return studies.config(clusters=clusters, radio=radio, scheme="pipeline", **changes)


def run(folder: Path, multicast: bool) -> Result:
    exchange = {"multicast": multicast, "chunk_bytes": None}
    training = {**studies.TINY["training"], "exchange": exchange}
    model = {**studies.TINY["model"], "feed_forward": 8192}  # 1.1 MB: links adapt to their SINR
    return Study(config(DIRECT, training=training, model=model)).run(rounds=1, out=folder)


def test_a_round_records_which_rows_are_one_transmission(tmp_path: Path) -> None:
    one, each = run(tmp_path / "one", multicast=True), run(tmp_path / "each", multicast=False)
    assert set(each.transfers["group"]) == {0}
    down = one.transfers.query("src == 'bs' and kind == 'model'")
    assert sorted(down["dst"]) == ["c0.cu", "c1.cu"]
    assert len(set(down["group"]) - {0}) == 1
    assert set(one.transfers.query("kind not in ('model', 'parameters')")["group"]) == {0}
    alone = each.transfers.query("src == 'bs' and kind == 'model'")
    assert sorted(down["bytes"]) == sorted(alone["bytes"])
    # Sent once: half of the resource blocks, and half of the energy.
    for of in ("airtime_s * bandwidth_hz", "energy_j"):
        assert down.eval(of).sum() == pytest.approx(alone.eval(of).sum() / 2, rel=0.1)
    # What arrives is the same, and so is what is learned from it.
    assert one.rounds["loss"].tolist() == each.rounds["loss"].tolist()
    assert one.rounds["metric"].tolist() == each.rounds["metric"].tolist()


def with_multicast(planning: Planning, **changes: Any) -> RoundPlan:
    """The scheme's plan, with one transmission of the base station to both control units."""
    plan = planning.scheme.plan(0, planning.observation())
    exchange = arranged(plan.placements(), Arrangement(groups=(Group((0, 1)),)))
    return RoundPlan(plan.round, plan.scheme, plan.clusters, exchange=exchange, **changes)


@pytest.mark.parametrize(
    ("d2e", "says"),
    [
        (DIRECT, ""),
        ({"stack": "ofdma", "transport": "tcp"}, "ofdma can't send to 2 receivers at once"),
        ({"stack": "lte"}, "lte can't send to 2 receivers at once"),
    ],
)
def test_a_plan_is_refused_what_the_radio_cannot_send(d2e: dict[str, Any], says: str) -> None:
    planning = Planning(config(d2e))
    plan = with_multicast(planning)
    if not says:
        validate_for(planning.observation(), plan)
        return
    with pytest.raises(PlanError) as caught:
        validate_for(planning.observation(), plan)
    assert says in str(caught.value)
    assert "OFDMA with transport: direct can" in str(caught.value)


def test_a_grant_to_the_group_is_what_it_is_sent_with(tmp_path: Path) -> None:
    planning = Planning(config(DIRECT))
    grant = LinkPlan("bs", group_name(CONTROLS), 0.5, 4e6)
    plan = with_multicast(planning, links=(grant,))
    validate_for(planning.observation(), plan)
    assert RoundPlan.from_json(plan.to_json()) == plan
    assert "bs → c0.cu+c1.cu: 27.0 dBm 4.00 MHz" in str(plan)
