"""Nodes that are away when a round begins: plans without them, rounds that wait, runs that end."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import run_checks
import studies

from collapipe_ns3 import Study
from collapipe_ns3.campaign import CampaignRun, is_complete
from collapipe_ns3.contract.study import links, tiny
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import Absence, PlanError, RoundPlan
from collapipe_ns3.problems import StudyError
from collapipe_ns3.result import Result
from collapipe_ns3.run.planning import Planning
from collapipe_ns3.run.replay import replay
from collapipe_ns3.schemes.guard import GuardedScheme
from collapipe_ns3.schemes.pipeline import PipeLine

THREE = ("raspberry-pi-4", "phone-midrange", "jetson-nano")
SCHEMES = ("collapipe", "pipeline", "titanic", "vanilla_fl", "oracle")


def away(**spans: list[list[float | None]]) -> dict[str, Any]:
    """Faults with these nodes away, by name with `_` for the dot."""
    nodes = [{"nodes": [name.replace("_", ".")], "away_s": own} for name, own in spans.items()]
    return {"nodes": nodes}


def planning(faults: Any, clusters: Any = (THREE, THREE), **changes: Any) -> Planning:
    return Planning(tiny(clusters, faults=faults, **changes))


def used(plan: RoundPlan) -> set[str]:
    return {s.device for c in plan.clusters for pipe in c.pipelines for s in pipe.stages}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_leaves_absent_devices_out(scheme: str) -> None:
    """Their absence is in the plan, and the other devices do their work."""
    faults = away(c0_d1=[[0, 5]], c1_cu=[[0, None]])
    settings = {"most_plans": 10_000} if scheme == "oracle" else {}
    run = planning(faults, scheme={"name": scheme, "settings": settings})
    seen = run.observation()
    assert seen.absent == {"c0.d1": "c0.d1 is away", "c1.cu": "c1.cu is away"}
    plan = run.plan(links(run.config, 1e-7))
    assert used(plan) <= {"c0.d0", "c0.d2"}
    assert plan.clusters[0].pipelines
    assert not plan.clusters[1].pipelines
    gone = [Absence(1, f"c1.d{n}", "c1.cu is away") for n in range(3)]
    assert list(plan.absences) == [Absence(0, "c0.d1", "c0.d1 is away"), *gone]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_absent_nodes_are_not_sounded(scheme: str) -> None:
    run = planning(away(c0_d1=[[0, 5]], c1_cu=[[0, None]]), scheme=scheme)
    sounded = {node for pair in run.pairs_to_sound() for node in pair}
    assert not sounded & {"c0.d1", "c1.cu"}
    if scheme in ("collapipe", "oracle"):
        assert {"c0.d0", "c0.cu", "bs"} <= sounded
    run.now_ns = 5_000_000_000  # when c0.d1 is back
    again = {node for pair in run.pairs_to_sound() for node in pair}
    assert ("c0.d1" in again) == (scheme in ("collapipe", "oracle"))


class Ignoring(PipeLine):
    """A scheme that takes no notice of absent nodes."""

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        return super().plan(round, dataclasses.replace(observation, absent={}))


@pytest.mark.parametrize("node", ["c0.d1", "c0.cu"])
def test_a_plan_that_uses_an_absent_node_is_refused(node: str) -> None:
    run = planning(away(**{node.replace(".", "_"): [[0, 5]]}))
    run.scheme = GuardedScheme("ignoring", Ignoring())
    with pytest.raises(PlanError) as caught:
        run.plan(links(run.config, 1e-7))
    assert caught.value.problems == (("cluster 0", f"{node} can't be used: {node} is away"),)


def test_the_reference_without_a_network_needs_no_control_unit() -> None:
    run = planning(away(c0_cu=[[0, None]], c1_d0=[[0, None]]), scheme="local")
    assert used(run.plan(links(run.config, 1e-7))) == {"bs"}


@pytest.mark.parametrize("scheme", ["collapipe", "pipeline", "titanic", "oracle"])
def test_a_cluster_whose_other_devices_lack_memory_sits_out(scheme: str) -> None:
    """With all devices it has room, so that the study is a valid one."""
    small = {"profile": "raspberry-pi-4", "memory_bytes": 45_000}
    clusters = ((small, {**small, "memory_bytes": 10_000_000}), THREE)
    run = planning(away(c0_d1=[[0, 5]]), clusters, scheme=scheme)
    plan = run.plan(links(run.config, 1e-7))
    assert not plan.clusters[0].pipelines
    assert plan.clusters[1].pipelines
    assert {each.device for each in plan.absences} == {"c0.d0", "c0.d1"}
    lacking, gone = (each.reason for each in plan.absences)
    assert "MiB" in lacking or "memory" in lacking
    assert gone == "c0.d1 is away"


def test_recovery_and_deadline_of_the_study_are_terms_of_every_plan() -> None:
    given = {"recovery": {"policy": "replicate", "copy_every": 2}, "deadline": {"after_s": 3}}
    run = planning({}, training={"batch_size": 12, "local_steps": 1, **given})
    seen, plan = run.observation(), run.plan(links(run.config, 1e-7))
    assert str(plan.terms.recovery) == "segments are copied to the control unit after every 2 steps"
    assert plan.terms.deadline is not None
    assert plan.terms.deadline.after_s == 3.0
    assert (seen.recovery, seen.deadline) == (plan.terms.recovery, plan.terms.deadline)
    assert "recovery" not in planning({}).plan(links(run.config, 1e-7)).terms.to_json()


#: Both devices of the tiny study leave and return; the second time only one of them.
LEAVING = away(c0_d0=[[0, 3], [3.5, 8]], c0_d1=[[0, 2]])


def run(folder: Path, faults: Any, rounds: int = 3, **changes: Any) -> Result:
    study = Study(studies.config(faults=faults, **changes))
    return study.run(rounds=rounds, out=folder / "run")


@pytest.fixture(scope="module")
def waited(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(tmp_path_factory.mktemp("waited"), LEAVING)


def test_a_round_in_which_nobody_can_take_part_waits_until_a_device_returns(waited: Result) -> None:
    rounds, devices = waited.rounds, waited.devices
    assert list(rounds["round"]) == [0, 1, 2]
    first = rounds.iloc[0]
    assert first[["start_s", "end_s", "waited_s", "pipeline_s", "sounding_s"]].to_list() == [
        0.0, 2.0, 2.0, 2.0, 0.0,
    ]  # fmt: skip
    assert math.isnan(first["loss"])
    assert first[["abandoned", "failed_pipelines"]].to_list() == ["", 0]
    assert list(rounds["waited_s"][1:]) == [0.0, 0.0]
    assert rounds["loss"][1:].notna().all()
    assert rounds["start_s"][1] == 2.0
    assert set(waited.pipelines["round"]) == {1, 2}
    away_then = devices[devices["round"] == 0].set_index("device")["sits_out"]
    assert away_then["c0.d0"] == "c0.d0 is away"
    assert away_then["c0.d1"] == "c0.d1 is away"
    assert waited.pipelines["devices"].iloc[0] == "c0.d1"
    assert waited.plans[0]["clusters"] == [{"cluster": 0, "pipelines": []}]


def test_a_run_with_a_waiting_round_is_resumed_and_replayed(waited: Result, tmp_path: Path) -> None:
    out = tmp_path / "run"
    study = Study(studies.config(faults=LEAVING))
    for rounds in (1, 2, 3):
        study.run(rounds=rounds, out=out, resume=rounds > 1)
    again = Result(out)
    for table in ("rounds", "devices", "pipelines", "transfers", "computes"):
        assert len(getattr(again, table)) == len(getattr(waited, table))
    run_checks.same(waited.directory, out)
    for number in range(3):
        assert replay(waited.directory, number).different == ()


def test_a_run_that_nobody_can_continue_ends_as_usual(tmp_path: Path) -> None:
    """It has the rounds before, says why there are no more, and counts as complete."""
    faults = away(c0_cu=[[0.5, None]])
    found = run(tmp_path, faults, rounds=50)
    done = len(found.rounds)
    assert 1 <= done < 50
    ended = found.manifest["ended"]
    assert ended["rounds"] == done
    assert "c0.cu is away" in ended["reason"]
    assert [each.path for each in found.warnings] == ["faults"]
    study = (found.directory / "study.yaml").read_text()
    again = Study(studies.config(faults=faults)).run(rounds=50, out=found.directory, resume=True)
    assert len(again.rounds) == done
    assert again.manifest["ended"] == ended
    (found.directory / "checkpoint.pt").unlink()
    assert is_complete(found.directory, CampaignRun("pipeline", 1, (), study))


def test_a_study_in_which_nobody_ever_takes_part_is_refused(tmp_path: Path) -> None:
    faults = away(c0_d0=[[0, None]], c0_d1=[[0, None]])
    with pytest.raises(StudyError, match=r"no device ever returns: c0\.d0 is away; c0\.d1 is away"):
        Study(studies.config(faults=faults)).plan()


def test_commands_show_a_first_round_that_waits() -> None:
    preview = Study(studies.config(faults=LEAVING)).preview()
    assert not preview.plan.has_pipelines
    assert preview.timeline is None
    assert preview.to_json()["predicted"]["round_s"] is None
