"""Half duplex: where both hops of a relay share one band, a stream takes the sum of their times."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import lab
import pytest

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, arranged
from collapipe_ns3.outcome import RoundOutcome


def run(chunk_bytes: int | None, medium: str | None) -> RoundOutcome:
    plan = lab.one_cluster((4,), 1)
    exchange = arranged(plan.placements(), Arrangement(chunk_bytes=chunk_bytes))
    links = {
        ("bs", "c0.cu"): Link(800_000_000, medium=medium),
        ("c0.cu", "c0.d0"): Link(400_000_000, medium=medium),
    }
    return lab.run_one(dataclasses.replace(plan, exchange=exchange), links=links)


def on_air(outcome: RoundOutcome) -> list[tuple[int, int, str]]:
    """When each transfer over the two hops was on the air, in order, and what it carried."""
    return sorted(
        (d.end_ns - round(d.airtime_s * 1e9), d.end_ns, str(d.kind))
        for d in outcome.deliveries
        if (d.src, d.dst) in (("bs", "c0.cu"), ("c0.cu", "c0.d0"))
    )


@pytest.mark.parametrize("chunk_bytes", [300, 1111])
def test_a_node_never_sends_while_it_receives(chunk_bytes: int) -> None:
    sent = on_air(run(chunk_bytes, "one band"))
    assert all(before[1] <= after[0] for before, after in pairwise(sent))
    # Nothing is lost either: until the model is there, the band is never idle.
    last = max(n for n, (_, _, kind) in enumerate(sent) if kind == "model")
    assert sent[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(sent[: last + 1]))
    apart = on_air(run(chunk_bytes, None))
    assert any(before[1] > after[0] for before, after in pairwise(apart))
    ends = [max(end for _, end, kind in each if kind == "model") for each in (sent, apart)]
    assert ends[1] < 0.8 * ends[0]
