"""A slow-down in the middle of a computation: it ends when ∫ dt/s(t) has reached its duration."""

from __future__ import annotations

import lab
import pytest
import torch

from collapipe_ns3.faults import Faults, Steps

BUSY_NS = 100_000


def run(slowness: Steps | None) -> tuple[lab.RoundOutcome, lab.TrainingState]:
    state = lab.fresh(lab.adamw)
    faults = Faults() if slowness is None else Faults(slowness={"c0.d0": slowness})
    made = lab.one_cluster((4,), 1)
    outcome = lab.run_one(
        made, state, default=lab.Instant(1), busy_ns={"c0.d0": BUSY_NS}, faults=faults
    )
    return outcome, state


@pytest.mark.parametrize(
    ("times_ns", "values", "longer_ns"),
    [
        # The device computes F from 1000 to 101000, after the control unit's microsecond.
        ((51_000, 71_000), (4.0, 1.0), 15_000),  # 20000 ns at a quarter of the speed do 5000
        ((51_000,), (2.0,), 50_000),  # the rest of F takes twice as long
        ((0, 1_000), (3.0, 1.0), 0),  # it is over before F begins
        ((51_000, 61_000, 91_000), (2.0, 10.0, 1.0), 32_000),  # 10000 do 5000, then 30000 do 3000
    ],
)
def test_its_computation_ends_by_the_integral(
    times_ns: tuple[int, ...], values: tuple[float, ...], longer_ns: int
) -> None:
    outcome, state = run(Steps(1.0, times_ns, values))
    done = next(c for c in outcome.computations if (c.node, c.action) == ("c0.d0", "F"))
    assert (done.start_ns, done.end_ns) == (1_000, 101_000 + longer_ns)
    _, other = run(None)
    for name, tensor in other.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], tensor)


def test_all_that_it_does_while_it_is_slow_takes_longer_by_the_factor() -> None:
    slow, fast = run(Steps(2.5))[0], run(None)[0]
    lasting = [[c.end_ns - c.start_ns for c in each.computations] for each in (slow, fast)]
    nodes = [c.node for c in slow.computations]
    assert lasting[0] == [
        2.5 * took if node == "c0.d0" else took
        for node, took in zip(nodes, lasting[1], strict=True)
    ]
    assert slow.duration_ns - fast.duration_ns == 3 * 1.5 * BUSY_NS  # F, B and the step
