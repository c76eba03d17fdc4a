"""A device leaves, and the local steps begin again: the model is that of the round without it."""

from __future__ import annotations

import dataclasses

import lab
import losses
import pytest

from bridge.formats import ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group
from collapipe_ns3.outcome import LostDevice, RoundOutcome
from collapipe_ns3.phases import Phase

#: What the device that leaves is doing: a computation or a transfer, and the local step.
PHASES = {
    "broadcast": ("model", -1),
    "forward": ("F", 0),
    "backward": ("B", 2),
    "step": ("step", 1),
    "activation": ("activation", 1),
    "gather": ("parameters", -1),
}


def undisturbed(state: lab.TrainingState | None = None, **how: object) -> RoundOutcome:
    (outcome,) = losses.run(
        [losses.plan("restart", **how)],  # type: ignore[arg-type]
        state or lab.fresh(losses.sgd),
    )
    return outcome


@pytest.mark.parametrize(("node", "chunk"), [("c0.d1", None), ("c0.d0", 700), ("c0.d2", 700)])
@pytest.mark.parametrize("phase", PHASES)
def test_with_sgd_the_model_is_that_of_the_round_without_the_fault(
    phase: str, node: str, chunk: int | None
) -> None:
    expected, state = lab.fresh(losses.sgd), lab.fresh(losses.sgd)
    how = {"clusters": 2, "arrangement": Arrangement(chunk_bytes=chunk)}
    whole = undisturbed(expected, **how)
    at_ns = losses.middle(whole, node, *PHASES[phase])
    (outcome,) = losses.run(
        [losses.plan("restart", **how)],  # type: ignore[arg-type]
        state,
        {node: (at_ns, None)},
    )
    assert losses.same(state, expected)
    fate, other = outcome.pipelines
    assert (fate.fate, fate.weight, fate.reason) == ("averaged", whole.pipelines[0].weight, "")
    assert fate.step_losses == whole.pipelines[0].step_losses
    # Stages add their norms, so that the sum over fewer stages is rounded otherwise.
    found, norms = ([g.prefix_squares for g in each.gradients] for each in (outcome, whole))
    assert found == [pytest.approx(each) for each in norms]
    assert dataclasses.replace(other, end_ns=0) == dataclasses.replace(whole.pipelines[1], end_ns=0)
    assert node not in losses.devices(fate)
    (lost,) = fate.lost
    assert (lost.device, lost.at_ns, lost.back_to_step, lost.states) == (node, at_ns, 0, "zeros")
    if chunk is None:  # else parameters are sent while other stages train
        step = PHASES[phase][1]
        assert lost.at_step == step
        assert fate.repeated_steps == {"broadcast": 0, "gather": losses.STEPS}.get(phase, step)
    assert outcome.phases_ns[Phase.BROADCAST] >= whole.phases_ns[Phase.BROADCAST]
    # Nothing is sent to it or from it once it has left.
    ends = [d.end_ns for d in outcome.deliveries if node in (d.src, d.dst)]
    assert max(ends) <= at_ns
    cut = [d for d in outcome.deliveries if d.outcome == "cut"]
    assert {d.end_ns for d in cut} <= {at_ns}


def test_with_adamw_it_is_the_fallback_from_the_states_at_the_start() -> None:
    """In the second round, when there are states: they are zero for the device's units alone."""
    first, second = (losses.plan("restart", number) for number in (0, 1))
    state, expected = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    before, whole = losses.run([first, second], lab.fresh(lab.adamw))
    at_ns = before.duration_ns + losses.middle(whole, "c0.d1", "B", 2)
    outcome = losses.run([first, second], state, {"c0.d1": (at_ns, None)})[1]
    (fate,) = outcome.pipelines
    losses.run([first], expected)
    for unit in expected.replica(0, 0).units.values():
        if unit.holder == "c0.d1":
            unit.reset_optimizer()
    losses.run([losses.moved(second, losses.devices(fate))], expected)
    assert losses.same(state, expected)
    assert losses.states(state) == losses.states(expected)
    other = lab.fresh(lab.adamw)
    losses.run([first, second], other)
    assert not losses.same(state, other), "the lost states made no difference"


def test_states_that_move_go_by_way_of_the_control_unit_before_the_steps_begin_again() -> None:
    """d0 is lost, so that all of d1's blocks but one go to d2, from the control unit's model."""
    first = losses.plan("restart", 0, cuts=(1, 2, 1))
    second = losses.plan("restart", 1, cuts=(1, 2, 1))
    state = lab.fresh(lab.adamw)
    before, whole = losses.run([first, second], lab.fresh(lab.adamw))
    at_ns = before.duration_ns + losses.middle(whole, "c0.d0", "F", 1)
    outcome = losses.run([first, second], state, {"c0.d0": (at_ns, None)})[1]
    (fate,) = outcome.pipelines
    assert losses.devices(fate) == {"c0.d1": 2, "c0.d2": 2}
    after_ns = fate.lost[0].at_ns
    sent = [
        (d.src, d.dst, str(d.kind), d.size_bytes)
        for d in outcome.deliveries
        if d.start_ns >= after_ns and d.kind in ("model", "parameters")
    ]
    block = lab.COSTS.blocks[0].parameter_bytes
    tensors = len(lab.COSTS.blocks[0].trained)
    moments = 2 * block + 4 * tensors
    up = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes
    assert sorted(sent) == sorted(
        [
            ("c0.cu", "c0.d1", "model", 2 * block),
            ("c0.cu", "c0.d2", "model", 2 * block),
            ("c0.d1", "c0.cu", "parameters", moments),  # of block 2, which is d2's now
            ("c0.cu", "c0.d2", "parameters", moments),
            ("c0.d1", "c0.cu", "parameters", 2 * block),
            ("c0.d2", "c0.cu", "parameters", 2 * block),
            ("c0.cu", "bs", "parameters", up),
        ]
    )


def test_devices_keep_the_states_of_the_start_and_the_control_unit_the_model() -> None:
    plans = [losses.plan("restart", 0), losses.plan("restart", 1)]
    bare = [losses.plan("abandon", 0), losses.plan("abandon", 1)]
    outcomes = (losses.run(each, lab.fresh(lab.adamw))[1] for each in (plans, bare))
    kept, needed = ({u.device: u.peak_memory_bytes for u in each.devices} for each in outcomes)
    moments = losses.moments
    model = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes
    assert {node: kept[node] - needed[node] for node in kept} == {
        "c0.d0": 2 * moments(lab.COSTS.blocks[0]),
        "c0.d1": moments(lab.COSTS.blocks[0]),
        "c0.d2": moments(lab.COSTS.blocks[0]),
        "c0.cu": moments(lab.COSTS.first) + model,
        "bs": moments(lab.COSTS.last),
    }


@pytest.mark.parametrize(
    "format",
    [ParameterFormat("fp16"), ParameterFormat("int8"), ParameterFormat("int8", difference=True)],
    ids=str,
)
def test_formats_change_nothing_about_it(format: ParameterFormat) -> None:
    """In the second round, when differences can be taken; the next round runs too."""
    form = Arrangement((Group((0,), format),), (), {0: format})
    plans = [losses.plan("restart", number, arrangement=form) for number in range(3)]
    state, expected = lab.fresh(losses.sgd), lab.fresh(losses.sgd)
    before, whole = losses.run(plans[:2], expected)
    at_ns = before.duration_ns + losses.middle(whole, "c0.d1", "B", 2)
    found = losses.run(plans[:2], state, {"c0.d1": (at_ns, None)})[1]
    assert losses.same(state, expected)
    assert [e.distortion for e in found.encodings] == [e.distortion for e in whole.encodings]
    again = losses.moved(plans[2], losses.devices(found.pipelines[0])).arranged_by(form)
    assert not [each for each in state.kept.references.all if each.nodes]
    losses.run([again], state)


def test_int8_on_the_air_is_rounded_as_without_the_fault() -> None:
    """Roundings are drawn by the step, however often it is computed."""
    state, expected = lab.fresh(losses.sgd), lab.fresh(losses.sgd)
    # With one segment fewer there would be one rounding fewer; a spare device takes it.
    plan, how = losses.plan("restart", cuts=(2, 2)), {"wire": "int8", "spare": ["c0.d3"]}
    (whole,) = losses.run([plan], expected, **how)  # type: ignore[arg-type]
    at_ns = losses.middle(whole, "c0.d1", "B", 2)
    losses.run([plan], state, {"c0.d1": (at_ns, None)}, **how)  # type: ignore[arg-type]
    assert losses.same(state, expected)


def test_a_spare_device_takes_the_place_if_that_is_faster() -> None:
    plan, state = losses.plan("restart", cuts=(2, 2)), lab.fresh(losses.sgd)
    (outcome,) = losses.run([plan], state)
    away = {"c0.d1": (losses.middle(outcome, "c0.d1", "F", 1), None)}
    (found,) = losses.run([plan], lab.fresh(losses.sgd), away, spare=["c0.d3"])
    assert losses.devices(found.pipelines[0]) == {"c0.d0": 2, "c0.d3": 2}
    (alone,) = losses.run([plan], lab.fresh(losses.sgd), away)
    assert losses.devices(alone.pipelines[0]) == {"c0.d0": 4}


def test_without_room_it_is_abandoned_and_the_reason_says_so() -> None:
    at_ns = losses.middle(undisturbed(), "c0.d1", "F", 1)
    (found,) = losses.run(
        [losses.plan("restart", clusters=2)],
        lab.fresh(losses.sgd),
        {"c0.d1": (at_ns, None)},
        most_blocks=1,
    )
    fate, other = found.pipelines
    assert (fate.fate, other.fate, other.weight) == ("failed", "averaged", 1.0)
    assert fate.reason.endswith("; c0.d0, c0.d2 lack the memory for its segments")
    assert fate.lost == (LostDevice("c0.d1", at_ns, 1),)
