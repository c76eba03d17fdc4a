"""Segments are copied to the control unit: after a loss, local steps go on from the last copy."""

from __future__ import annotations

import lab
import losses
import pytest

from bridge.fixed import Link
from bridge.formats import ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group
from collapipe_ns3.outcome import LostDevice, RoundOutcome

#: What the device that leaves in the second round does then, and from which step the pipeline goes
#: on if a copy is made after every step, and after every second one.
PHASES = {
    "forward": ("F", 2, 2, 2),
    "backward": ("B", 2, 2, 2),
    "step": ("step", 3, 3, 2),
    "gather": ("parameters", -1, 3, 2),
}


#: A byte in 10 ns, so that copies arrive soon after the step.
FAST = Link(rate_bps=800_000_000)


def copies(outcome: RoundOutcome) -> list[tuple[str, int, int, str]]:
    """The copies that were sent to the control unit: sender, local step, bytes, outcome."""
    return [
        (d.src, losses.step_of(d), d.size_bytes, d.outcome)
        for d in outcome.deliveries
        if d.kind == "parameters" and losses.step_of(d) >= 0
    ]


def begun(outcome: RoundOutcome) -> int:
    """When the last trained parameters left for the control unit, before the upload."""
    sent = [d for d in outcome.deliveries if d.kind == "parameters" and losses.step_of(d) < 0]
    return min(d.start_ns for d in sent if d.dst == "c0.cu")


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(("node", "chunk"), [("c0.d1", None), ("c0.d0", 700)])
@pytest.mark.parametrize("phase", PHASES)
def test_the_model_is_that_of_the_round_without_the_fault(
    phase: str, node: str, chunk: int | None, every: int
) -> None:
    """With AdamW, whose states are copied too, so that these are the same at the end."""
    form = Arrangement(chunk_bytes=chunk)
    plans = [
        losses.plan("replicate", number, arrangement=form, copy_every=every) for number in (0, 1)
    ]
    state, expected = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    before, whole = losses.run(plans, expected, default=FAST)
    what, step, *first = PHASES[phase]
    after_ns = begun(whole) if phase == "gather" else 0
    at_ns = before.duration_ns + losses.middle(whole, node, what, step, begun_ns=after_ns)
    outcome = losses.run(plans, state, {node: (at_ns, None)}, default=FAST)[1]
    assert losses.same(state, expected)
    (fate,), (lost,) = outcome.pipelines, outcome.pipelines[0].lost
    assert fate.step_losses == whole.pipelines[0].step_losses
    assert outcome.distortions == whole.distortions
    assert (lost.device, lost.states) == (node, "copy")
    assert lost.back_to_step == first[every - 1]
    assert node not in losses.devices(fate)
    now, then = losses.states(state), losses.states(expected)
    assert {unit: values for unit, (_, values) in now.items()} == {
        unit: values for unit, (_, values) in then.items()
    }
    holders = {node for node, _ in now.values()}
    assert holders == {"c0.cu", "bs", *losses.devices(fate)}
    # Steps before the copy are computed once, all others again.
    for number in range(losses.STEPS):
        done = [c for c in outcome.computations if c.action == "step" and c.work.step == number]
        ended = [c for c in done if c.outcome == "done" and c.node == "c0.cu"]
        repeated = lost.back_to_step <= number < lost.back_to_step + fate.repeated_steps
        assert len(ended) == (2 if repeated else 1)


def test_copies_are_parameters_and_states_of_every_segment_after_every_step_but_the_last() -> None:
    (outcome,) = losses.run([losses.plan("replicate")], lab.fresh(lab.adamw))
    block = lab.COSTS.blocks[0].parameter_bytes + losses.moments(lab.COSTS.blocks[0])
    expected = [
        (f"c0.d{n}", step, (2, 1, 1)[n] * block, "delivered")
        for step in range(losses.STEPS - 1)
        for n in range(3)
    ]
    assert sorted(copies(outcome)) == sorted(expected)
    (outcome,) = losses.run([losses.plan("replicate", copy_every=2)], lab.fresh(lab.adamw))
    assert {step for _, step, _, _ in copies(outcome)} == {1}


def test_steps_go_on_while_a_copy_is_sent() -> None:
    (outcome,) = losses.run([losses.plan("replicate")], lab.fresh(lab.adamw))
    sent = next(d for d in outcome.deliveries if d.kind == "parameters" and losses.step_of(d) == 0)
    at_once = [c for c in outcome.computations if c.work.step == 1 and c.start_ns < sent.end_ns]
    assert at_once


def test_memory_for_copies_is_charged_to_devices_and_to_the_control_unit() -> None:
    both = (losses.run([losses.plan(p)], lab.fresh(lab.adamw))[0] for p in ("replicate", "abandon"))  # type: ignore[arg-type]
    kept, bare = ({u.device: u.peak_memory_bytes for u in each.devices} for each in both)
    first, block, last = lab.COSTS.first, lab.COSTS.blocks[0], lab.COSTS.last

    def copy(part: lab.PartCosts) -> int:
        return part.parameter_bytes + losses.moments(part)

    model = lab.COSTS.parameter_bytes - last.parameter_bytes
    # At most two copies at a time: the last full one, and the one on its way.
    assert {node: kept[node] - bare[node] for node in kept} == {
        "c0.d0": 2 * 2 * copy(block),
        "c0.d1": 2 * copy(block),
        "c0.d2": 2 * copy(block),
        "c0.cu": 2 * copy(first) + model + 2 * 4 * copy(block),
        "bs": 2 * copy(last),
    }


def test_the_new_holders_get_what_they_lack_from_the_control_unit() -> None:
    plan, state = losses.plan("replicate"), lab.fresh(lab.adamw)
    (whole,) = losses.run([plan], lab.fresh(lab.adamw))
    at_ns = losses.middle(whole, "c0.d1", "B", 3)
    (outcome,) = losses.run([plan], state, {"c0.d1": (at_ns, None)})
    assert losses.devices(outcome.pipelines[0]) == {"c0.d0": 2, "c0.d2": 2}
    block = lab.COSTS.blocks[0].parameter_bytes + losses.moments(lab.COSTS.blocks[0])
    sent = [
        (d.src, d.dst, d.size_bytes)
        for d in outcome.deliveries
        if d.start_ns >= at_ns
        and d.src == "c0.cu"
        and d.kind in ("model", "parameters")
        and d.dst != "bs"
    ]
    assert sent == [("c0.cu", "c0.d2", block)]


def test_a_copy_does_not_count_before_all_of_it_has_arrived() -> None:
    """d1 leaves while its first copy is on its way, those of the others have arrived."""
    slow = {("c0.d1", "c0.cu"): Link(rate_bps=8_000_000)}
    plan, state, expected = (
        losses.plan("replicate"),
        lab.fresh(losses.sgd),
        lab.fresh(losses.sgd),
    )
    (whole,) = losses.run([plan], expected, links=slow)
    (own,) = [
        d
        for d in whole.deliveries
        if d.src == "c0.d1" and d.kind == "parameters" and losses.step_of(d) == 0
    ]
    others = [
        d.end_ns for d in whole.deliveries if d.kind == "parameters" and losses.step_of(d) == 0
    ]
    at_ns = own.end_ns - 1000
    assert sum(end < at_ns for end in others) == 2
    (outcome,) = losses.run([plan], state, {"c0.d1": (at_ns, None)}, links=slow)
    (lost,) = outcome.pipelines[0].lost
    assert (lost.back_to_step, lost.states) == (0, "zeros")
    assert losses.same(state, expected)


def test_copies_under_way_are_cut_when_the_last_step_has_ended() -> None:
    """They would delay what has been trained; a loss then goes back to the copy before."""
    slow = dict.fromkeys([("c0.d1", "c0.cu")], Link(rate_bps=500_000))
    (outcome,) = losses.run([losses.plan("replicate")], lab.fresh(losses.sgd), links=slow)
    found = {each for src, _, _, each in copies(outcome) if src == "c0.d1"}
    assert found == {"cut"}
    assert outcome.pipelines[0].fate == "averaged"


@pytest.mark.parametrize(
    "format",
    [ParameterFormat("int8"), ParameterFormat("int8", difference=True)],
    ids=str,
)
def test_formats_change_nothing_about_it(format: ParameterFormat) -> None:
    form = Arrangement((Group((0,), format),), (), {0: format})
    plans = [losses.plan("replicate", number, arrangement=form) for number in (0, 1)]
    state, expected = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    before, whole = losses.run(plans, expected)
    at_ns = before.duration_ns + losses.middle(whole, "c0.d1", "B", 2)
    outcome = losses.run(plans, state, {"c0.d1": (at_ns, None)})[1]
    assert losses.same(state, expected)
    assert outcome.pipelines[0].lost == (
        LostDevice("c0.d1", at_ns - before.duration_ns, 2, 2, "copy"),
    )
