"""Over a transport that repairs nothing, gaps of a multicast are repeated once, as their union."""

from __future__ import annotations

import dataclasses

import lab
import pytest

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, RoundPlan

NODES = ("c0.cu", "c1.cu", "c2.cu")


def run(gaps: dict[str, tuple[tuple[int, int], ...]], chunk_bytes: int | None) -> RoundOutcome:
    """A round in which the links from the base station to control units lose these bytes."""
    clusters = (ClusterPlan(n, (lab.pipeline(n, (4,), 2, "gpipe"),)) for n in range(3))
    plan = RoundPlan(0, "test", tuple(clusters))
    arrangement = Arrangement((Group((0, 1, 2)),), chunk_bytes=chunk_bytes)
    plan = dataclasses.replace(plan, exchange=arranged(plan.placements(), arrangement))
    links = {("bs", node): Link(lab.FAST.rate_bps, gaps=lost) for node, lost in gaps.items()}
    return lab.run_one(plan, shares=(1 / 3, 1 / 3, 1 / 3), links=links)


def rows(outcome: RoundOutcome) -> list[tuple[int, int, str, int]]:
    """Instant and size of what the base station sends, by receiver, and what each lost of it."""
    return sorted(
        (d.start_ns, d.size_bytes, d.dst, sum(e - b for b, e in d.lost))
        for d in outcome.deliveries
        if d.src == "bs" and d.kind == "model"
    )


def test_the_union_goes_to_those_that_lack_any_of_it() -> None:
    """The gaps overlap in 50 bytes; in what is repeated, bytes 100 and on are lost nowhere."""
    gaps = {"c0.cu": ((200, 300),), "c2.cu": ((250, 350), (900, 950))}
    outcome = run(gaps, None)
    assert [each.fate for each in outcome.pipelines] == 3 * ["averaged"]
    size = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes
    assert rows(outcome) == [
        *((0, size, node, lost) for node, lost in zip(NODES, (100, 0, 150), strict=True)),
        # Bytes 200 to 350 and 900 to 950, of which no link loses any: its gaps are further on.
        *((size, 200, node, lost) for node, lost in (("c0.cu", 0), ("c2.cu", 0))),
    ]
    groups = [d.group for d in outcome.deliveries if d.src == "bs" and d.kind == "model"]
    assert sorted(groups) == [1, 1, 1, 2, 2]


def test_what_is_lost_again_is_repeated_again_where_it_is_missing() -> None:
    """A link loses the same bytes of every transfer, and so in the end all of what is missing.

    The union is bytes 0 to 60, 70 to 80 and 100 to 130. Of its bytes 70 to 80, which cluster 0
    loses, it has the contents already.
    """
    outcome = run({"c0.cu": ((0, 20), (70, 80)), "c1.cu": ((0, 60), (100, 130))}, None)
    sizes = {node: [size for _, size, dst, _ in rows(outcome) if dst == node] for node in NODES}
    size = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes
    assert sizes == {
        "c0.cu": [size, 100, 60, 20, 20, 20],
        "c1.cu": [size, 100, 60, 60, 60],
        "c2.cu": [size],
    }
    assert [each.fate for each in outcome.pipelines] == ["failed", "failed", "averaged"]


@pytest.mark.parametrize("chunk_bytes", [1000, 4000])
def test_chunks_behind_a_gap_wait_for_it(chunk_bytes: int) -> None:
    """What is sent on, and the stages, wait for it, although the last chunk itself has no gap."""
    gaps = {"c0.cu": ((900, 950),)}
    outcome = run(gaps, chunk_bytes)
    assert [each.fate for each in outcome.pipelines] == 3 * ["averaged"]
    mended = [d.end_ns for d in outcome.deliveries if (d.dst, d.size_bytes) == ("c0.cu", 50)]
    first = min(c.start_ns for c in outcome.computations if c.node == "c0.cu")
    assert first >= mended[0]
    intact = min(c.start_ns for c in outcome.computations if c.node == "c1.cu")
    assert intact < first
    to_device = [d for d in outcome.deliveries if (d.dst, d.kind) == ("c0.d0", "model")]
    last = min(to_device, key=lambda d: d.size_bytes)
    assert last.start_ns == max(mended) == max(d.start_ns for d in to_device)
