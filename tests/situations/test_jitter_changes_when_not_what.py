"""Links of other speeds change when things happen and in which order messages come: no more."""

import lab
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.fixed import Link
from collapipe_ns3.plan import ClusterPlan, RoundPlan

PLAN = RoundPlan(
    0,
    "test",
    (
        ClusterPlan(0, (lab.pipeline(0, (1, 2, 1), 4, "1f1b"),)),
        ClusterPlan(1, (lab.pipeline(1, (3, 1), 3, "gpipe"),)),
    ),
)
NODES = lab.nodes(PLAN)


def trained(links: dict[tuple[str, str], Link]) -> tuple[dict[str, torch.Tensor], float, int]:
    state = lab.fresh(lab.adamw)
    outcome = lab.run_one(PLAN, state, links=links, local_steps=2, shares=(0.25, 0.75))
    return state.model.state_dict(), outcome.loss, outcome.duration_ns


@settings(max_examples=6)
@given(st.data())
def test_jitter_changes_when_and_not_what(data: st.DataObject) -> None:
    rates = st.integers(10**5, 10**10)
    links = {
        (src, dst): Link(data.draw(rates), latency_ns=data.draw(st.integers(0, 10**7)))
        for src in NODES
        for dst in NODES
        if src != dst
    }
    model, loss, duration_ns = trained({})
    other_model, other_loss, other_duration_ns = trained(links)
    assert other_duration_ns != duration_ns
    assert other_loss == loss
    assert all(torch.equal(model[name], other_model[name]) for name in model)
