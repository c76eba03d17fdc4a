"""A device leaves in each phase of a round: its pipeline fails at that instant, others go on."""

from __future__ import annotations

import lab
import pytest
import torch

from bridge.fixed import Link
from bridge.network import Delivery
from collapipe_ns3.faults import Faults
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import ClusterPlan, RoundPlan

SLOW = Link(rate_bps=80_000_000)  # a byte in 100 ns
SHARES = (0.4, 0.6)
BUSY_NS = dict.fromkeys(("c0.d0", "c0.d1", "c0.cu", "bs"), 100_000)


def plan(number: int = 0, clusters: tuple[int, ...] = (0, 1)) -> RoundPlan:
    planned = (ClusterPlan(0, (lab.pipeline(0, (2, 2), 3, "gpipe"),)),)
    planned += (ClusterPlan(1, (lab.pipeline(1, (1, 3), 4, "1f1b"),)),)
    return RoundPlan(number, "test", tuple(planned[n] for n in clusters))


def run(plans: list[RoundPlan], faults: Faults, state: lab.TrainingState) -> list[RoundOutcome]:
    how = {"default": SLOW, "local_steps": 2, "shares": SHARES, "busy_ns": BUSY_NS}
    return lab.run_rounds(plans, state, faults=faults, **how)


def alone() -> lab.TrainingState:
    """What cluster 1 makes of the model alone."""
    state = lab.fresh(lab.adamw)
    run([plan(0, (1,))], Faults(), state)
    return state


def undisturbed() -> RoundOutcome:
    (outcome,) = run([plan()], Faults(), lab.fresh(lab.adamw))
    return outcome


def instants() -> dict[str, tuple[str, int, str]]:
    """In the middle of what each phase consists of: which device leaves, when, and what is said."""
    outcome = undisturbed()
    own = [c for c in outcome.computations if c.node == "c0.d1"]
    sent = [d for d in outcome.deliveries if "c0.d1" in (d.src, d.dst)]

    def computing(action: str, step: int) -> int:
        done = next(c for c in own if (c.action, c.work.step) == (action, step))
        return (done.start_ns + done.end_ns) // 2

    def under_way(kind: str) -> int:
        each = next(d for d in sent if d.kind == kind)
        return (each.start_ns + each.end_ns) // 2

    return {
        "broadcast": ("c0.d1", under_way("model"), "during the broadcast"),
        "forward": ("c0.d1", computing("F", 0), "in local step 0"),
        "backward": ("c0.d1", computing("B", 1), "in local step 1"),
        "step": ("c0.d1", computing("step", 0), "in local step 0"),
        "activation": ("c0.d1", under_way("activation"), "in local step 0"),
        "gather": ("c0.d1", under_way("parameters"), "while the trained parameters were gathered"),
    }


@pytest.mark.parametrize("phase", list(instants()))
def test_its_cluster_is_missing_from_the_average_and_the_next_round_runs(phase: str) -> None:
    node, at_ns, said = instants()[phase]
    faults = Faults(up={node: lab.away((at_ns, at_ns + 1_000_000))})
    state, oracle = lab.fresh(lab.adamw), alone()
    (first,) = run([plan()], faults, state)
    failed, averaged = first.pipelines
    assert failed.fate == "failed"
    assert failed.reason == f"{node} was away {at_ns / 1e9:.6f} s after the run began, {said}"
    assert (failed.end_ns, averaged.weight) == (at_ns, 1.0)
    (lost,) = failed.lost
    assert (lost.device, lost.at_ns) == (node, at_ns)
    for name, tensor in oracle.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], tensor)
    # Until then all is as without the fault, and what was under way in the cluster is cut.
    whole = undisturbed()
    done = [c for c in whole.computations if c.cluster == 0 and c.start_ns < at_ns]
    assert {
        (c.node, c.start_ns, min(c.end_ns, at_ns), "cut" if c.end_ns > at_ns else "done")
        for c in done
    } == {(c.node, c.start_ns, c.end_ns, c.outcome) for c in first.computations if c.cluster == 0}
    sent = [d for d in whole.deliveries if is_own(d) and d.start_ns < at_ns]
    assert {
        (d.src, d.dst, d.start_ns, min(d.end_ns, at_ns), "cut" if d.end_ns > at_ns else "delivered")
        for d in sent
    } == {(d.src, d.dst, d.start_ns, d.end_ns, d.outcome) for d in first.deliveries if is_own(d)}


def is_own(delivery: Delivery) -> bool:
    return any(node.startswith("c0") for node in (delivery.src, delivery.dst))


def test_a_device_is_not_missed_once_its_parameters_have_left_it() -> None:
    outcome = undisturbed()
    left = [d for d in outcome.deliveries if d.src == "c0.d1" and d.kind == "parameters"]
    at_ns = max(d.end_ns for d in left) + 1
    upload_ns = outcome.start_ns + outcome.duration_ns - outcome.phases_ns[Phase.AGGREGATE]
    assert at_ns < upload_ns
    state, same = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    (first,) = run([plan()], Faults(up={"c0.d1": lab.away((at_ns, None))}), state)
    run([plan()], Faults(), same)
    assert [each.fate for each in first.pipelines] == ["averaged", "averaged"]
    for name, tensor in same.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], tensor)
    # The optimizer states that it had are gone, those of the other devices are not.
    holders = {name: unit.holder for name, unit in state.replica(0, 0).units.items()}
    kept = {name: unit.holder for name, unit in same.replica(0, 0).units.items()}
    expected = {n: None if node == "c0.d1" else node for n, node in kept.items()}
    assert holders == expected
    assert "c0.d1" in kept.values()


def test_a_device_that_returns_within_the_round_has_lost_what_it_held() -> None:
    """Its blocks' optimizer states begin anew in the next round, those of others go on."""
    (before,) = run([plan()], Faults(), lab.fresh(lab.adamw))
    at_ns = before.duration_ns + instants()["backward"][1]
    faults = Faults(up={"c0.d1": lab.away((at_ns, at_ns + 1000))})
    state = lab.fresh(lab.adamw)
    outcomes = run([plan(0), plan(1), plan(2)], faults, state)
    fates = [[each.fate for each in outcome.pipelines] for outcome in outcomes]
    assert fates == [["averaged", "averaged"], ["failed", "averaged"], ["averaged", "averaged"]]
    steps = {
        unit.holder: {int(each["step"]) for each in unit.optimizer.state.values()}
        for unit in state.replica(0, 0).units.values()
    }
    # Two steps in each round; in the second one the fault comes in the second step.
    assert steps == {"c0.cu": {5}, "c0.d0": {5}, "c0.d1": {2}, "bs": {5}}


def test_the_torch_work_of_a_step_that_was_cut_has_no_effect() -> None:
    """The optimizer states of a surviving device are those before the step that was cut."""
    outcome = undisturbed()
    step = next(
        c for c in outcome.computations if (c.node, c.action, c.work.step) == ("c0.d0", "step", 1)
    )
    at_ns = (step.start_ns + step.end_ns) // 2
    state = lab.fresh(lab.adamw)
    (first,) = run([plan()], Faults(up={"c0.d1": lab.away((at_ns, None))}), state)
    cut = [c for c in first.computations if c.outcome == "cut"]
    assert ("c0.d0", "step", at_ns) in {(c.node, c.action, c.end_ns) for c in cut}
    for unit in state.replica(0, 0).units.values():
        if unit.holder == "c0.d0":
            assert {int(each["step"]) for each in unit.optimizer.state.values()} == {1}
