"""A training step on fixed rates takes exactly what the theory says (theory, §4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import lab
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.fixed import Link
from bridge.payload import size_bytes

CUTS = {1: (4,), 2: (1, 3), 3: (2, 1, 1), 4: (1, 1, 1, 1)}
SEQUENCES, TOKENS = 12, 6


def line_ns(services_ns: Sequence[int], micro_batches: int) -> int:
    """When the last micro-batch has passed a line of resources: Σx + (M-1)·max x."""
    return sum(services_ns) + (micro_batches - 1) * max(services_ns)


@settings(max_examples=20)
@given(
    st.integers(1, 4),
    st.sampled_from([1, 2, 3, 4, 6, 12]),
    st.lists(st.integers(0, 1_000_000), min_size=6, max_size=6),
    st.lists(st.integers(10**6, 10**11), min_size=12, max_size=12),
)
def test_gpipe_is_a_forward_line_and_then_a_backward_line(
    devices: int, micro_batches: int, busy_ns: list[int], rates_bps: list[int]
) -> None:
    stages = ["c0.cu", *(f"c0.d{k}" for k in range(devices)), "bs"]
    routes = [[pair] for pair in pairwise(stages[:-1])]
    routes.append([(stages[-2], "c0.cu"), ("c0.cu", "bs")])
    pairs = [pair for route in routes for pair in route]
    pairs += [(dst, src) for src, dst in pairs]
    links = {pair: Link(rate) for pair, rate in zip(pairs, rates_bps, strict=False)}

    gradient_bytes = SEQUENCES // micro_batches * TOKENS * lab.SPEC.width * 4
    activation_bytes = gradient_bytes + SEQUENCES // micro_batches * TOKENS  # with padding mask
    labels_bytes = size_bytes([next(lab.batches(0, 0)).labels[0]]) // micro_batches
    busy = dict(zip(stages, busy_ns, strict=False))
    # The labels leave first. An embedding that takes as long keeps them out of the line's way.
    busy["c0.cu"] += micro_batches * links["c0.cu", "bs"].airtime_ns(labels_bytes)

    forward, backward = [], []
    for stage, route in zip(stages, [*routes, []], strict=True):
        forward.append(busy[stage])
        forward += [links[pair].airtime_ns(activation_bytes) for pair in route]
    ends_ns = []
    for stage, route in zip(stages[::-1], [*routes[::-1], []], strict=True):
        backward.append(busy[stage])
        # Where a stage's last backward ends, its optimizer step begins.
        step_ns = busy[stage]
        ends_ns.append(line_ns(backward, micro_batches) + step_ns)
        backward += [links[dst, src].airtime_ns(gradient_bytes) for src, dst in route[::-1]]

    outcome = lab.run_one(lab.one_cluster(CUTS[devices], micro_batches), links=links, busy_ns=busy)
    assert outcome.phases_ns["pipeline"] == line_ns(forward, micro_batches) + max(ends_ns)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("devices", CUTS)
@pytest.mark.parametrize("micro_batches", [1, 3, 12])
def test_equal_stages_and_free_links_leave_the_bubble_of_the_textbook(
    schedule: str, devices: int, micro_batches: int
) -> None:
    """T = (M + N - 1)·(F + B) for N stages: a share (N-1)/(M+N-1) of it idle, either schedule."""
    stages, each_ns = devices + 2, 1000
    plan = lab.one_cluster(CUTS[devices], micro_batches, schedule)
    outcome = lab.run_one(plan, default=lab.Instant(rate_bps=1))
    step_ns = each_ns
    expected_ns = (micro_batches + stages - 1) * 2 * each_ns + step_ns
    assert outcome.phases_ns["pipeline"] == expected_ns
    busy_ns = sum(
        done.end_ns - done.start_ns for done in outcome.computations if done.action in ("F", "B")
    )
    idle = 1 - busy_ns / (stages * (expected_ns - step_ns))
    assert idle == pytest.approx((stages - 1) / (micro_batches + stages - 1))


def test_a_round_adds_its_phases_up() -> None:
    """One device with all blocks, a byte a nanosecond: every phase is sizes and nothing else."""
    outcome = lab.run_one(lab.one_cluster((4,), 1), local_steps=2)
    model = lab.model()
    embedding = size_bytes(list(model.embedding.parameters()))
    encoder = size_bytes(list(model.blocks.parameters()))
    phases_ns = outcome.phases_ns
    assert phases_ns["broadcast"] == (embedding + encoder) + encoder
    assert phases_ns["gather"] == encoder
    assert phases_ns["upload"] == embedding + encoder
    assert phases_ns["aggregate"] == 1000
    assert outcome.duration_ns == sum(phases_ns.values())
    kinds = [delivery.kind for delivery in outcome.deliveries]
    assert kinds[:2] == ["model", "model"]
    assert kinds[-2:] == ["parameters", "parameters"]
    assert sorted(kinds[2:-2]) == sorted(2 * (["labels"] + 3 * ["activation", "gradient"]))
