"""TITANIC's integer program against all there is to choose from."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scheming import observation

from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.plan import Recovery
from collapipe_ns3.prediction.memory import memory_problems, predict_memory
from collapipe_ns3.schemes.titanic import TITANIC, Offer, select

offers = st.lists(
    st.builds(
        Offer,
        st.floats(0.001, 1).map(lambda x: round(x, 3)),
        st.floats(0.001, 1).map(lambda x: round(x, 3)),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=4,
)


def cost(choice: tuple[int, ...], given_offers: list[Offer]) -> float:
    return sum(
        offer.fixed_s + count * offer.block_s
        for count, offer in zip(choice, given_offers, strict=True)
        if count
    )


@settings(max_examples=150)
@given(offers, st.integers(1, 6), st.integers(1, 3))
def test_no_other_selection_is_sooner_done(
    given_offers: list[Offer], blocks: int, least: int
) -> None:
    most = [min(offer.most_blocks, blocks) for offer in given_offers]
    assume(sum(most) >= blocks)
    least = min(least, sum(1 for n in most if n), blocks)
    possible = [
        choice
        for choice in product(*(range(n + 1) for n in most))
        if sum(choice) == blocks and sum(1 for n in choice if n) >= least
    ]
    chosen = tuple(select(given_offers, blocks, least))
    assert chosen in possible
    best = min(cost(choice, given_offers) for choice in possible)
    assert cost(chosen, given_offers) == pytest.approx(best, rel=1e-6)


def test_fast_devices_hold_more_and_slow_ones_are_left_out() -> None:
    changed = {
        "c0.d0": {"flops_per_s": 1e6},
        "c0.d1": {"flops_per_s": 1e9},
        "c0.d2": {"flops_per_s": 2e9},
    }
    (cluster,) = TITANIC().plan(0, observation([3], 6, changed=changed)).clusters
    (pipe,) = cluster.pipelines
    assert [(stage.device, stage.blocks) for stage in pipe.stages] == [("c0.d1", 1), ("c0.d2", 5)]
    assert pipe.micro_batches == 1


def test_a_device_behind_slow_links_is_left_out() -> None:
    """Alike in everything else, the two of which more was measured to get through."""
    nodes = ["c0.cu", "c0.d0", "c0.d1", "c0.d2"]
    links = tuple(
        MeasuredLink(a, b, 1e-7, 1e-20, 100.0, 1e4 if "c0.d1" in (a, b) else 1e8, 0.0, 0.0, 0.1)
        for a in nodes
        for b in nodes
        if a != b
    )
    (cluster,) = TITANIC().plan(0, observation([3], 6, links=links)).clusters
    assert {stage.device for stage in cluster.pipelines[0].stages} == {"c0.d0", "c0.d2"}


def test_memory_bounds_what_a_device_holds() -> None:
    """One device is a thousand times faster, and has all blocks that it can hold."""
    slow = {"flops_per_s": 1e6}
    held = []
    for memory in (2**30, 100_000, 40_000):
        fast = {"flops_per_s": 1e9, "memory_bytes": memory}
        changed = {"c0.d0": slow, "c0.d1": slow, "c0.d2": fast}
        (cluster,) = TITANIC(1).plan(0, observation([3], 6, changed=changed)).clusters
        held += [s.blocks for s in cluster.pipelines[0].stages if s.device == "c0.d2"]
    assert held == [6, 2, 1]


def test_memory_for_the_recovery_leaves_less_for_blocks() -> None:
    """A device that just holds all blocks holds fewer beside the copies of the recovery."""
    seen = observation([2], 6, changed={"c0.d0": {"flops_per_s": 1e6}})
    plan = TITANIC(1).plan(0, seen)
    batch = seen.model.longest_shape(seen.batch_size)
    (needed,) = predict_memory(
        seen.model, plan.clusters[0].pipelines[0], batch, seen.optimizer
    ).values()
    held = []
    for policy in ("abandon", "restart", "replicate"):
        just = replace(seen.profiles["c0.d1"], memory_bytes=needed + 1)
        profiles = {**seen.profiles, "c0.d1": just}
        recovery = Recovery(policy)  # type: ignore[arg-type]
        found = TITANIC(1).plan(0, replace(seen, profiles=profiles, recovery=recovery))
        checked = found.with_terms(recovery, None)
        assert not list(memory_problems(checked, replace(seen, profiles=profiles)))
        held.append(sum(s.blocks for s in found.clusters[0].pipelines[0].stages[-1:]))
    # SGD has no states: a restart needs nothing, and two copies are those of the parameters.
    block = needed / 6 + 2 * seen.model.blocks[0].parameter_bytes
    assert held == [6, 6, (needed + 1) // block]
    assert held[-1] < 6
