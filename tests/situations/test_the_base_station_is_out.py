"""The base station's radio is off: its transfers wait, and its edge server computes on."""

from __future__ import annotations

import lab
import torch

from bridge.fixed import Link
from collapipe_ns3.faults import Faults

SLOW = Link(rate_bps=80_000_000)  # a byte in 100 ns


def test_its_edge_server_computes_on_and_what_it_sends_waits() -> None:
    made, whole_state, state = lab.one_cluster((4,), 2), lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    busy_ns = {"bs": 50_000}
    whole = lab.run_one(made, whole_state, default=SLOW, busy_ns=busy_ns)
    work = next(c for c in whole.computations if (c.node, c.action) == ("bs", "B"))
    middle_ns = (work.start_ns + work.end_ns) // 2
    off = lab.away((middle_ns, middle_ns + 1_000_000))
    outcome = lab.run_one(made, state, default=SLOW, busy_ns=busy_ns, faults=Faults(up={"bs": off}))
    assert [each.fate for each in outcome.pipelines] == ["averaged"]
    assert all(c.outcome == "done" for c in outcome.computations)
    same = next(c for c in outcome.computations if (c.node, c.action) == ("bs", "B"))
    assert (same.start_ns, same.end_ns) == (work.start_ns, work.end_ns)
    # The gradient of this micro-batch leaves when the radio is on again.
    gradient = [d for d in outcome.deliveries if d.src == "bs" and d.kind == "gradient"]
    assert gradient[-1].start_ns >= middle_ns + 1_000_000
    assert not any(
        d.start_ns < middle_ns + 1_000_000 and d.end_ns > middle_ns
        for d in outcome.deliveries
        if "bs" in (d.src, d.dst)
    )
    for name, tensor in whole_state.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], tensor)
