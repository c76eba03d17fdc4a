"""A link is out for a while: its transfers are cut, and go on with what is missing, or fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import lab
import numpy as np
import pytest
import torch

from bridge.fixed import Link
from bridge.network import Delivery
from collapipe_ns3.arrangement import Arrangement, arranged
from collapipe_ns3.faults import Alternating, Faults
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import RoundPlan, Terms

SLOW = Link(rate_bps=80_000_000)  # a byte in 100 ns
MILLISECOND = 1_000_000


def plan(chunk_bytes: int | None = None, terms: Terms | None = None) -> RoundPlan:
    made = lab.one_cluster((2, 2), 3)
    exchange = arranged(made.placements(), Arrangement(chunk_bytes=chunk_bytes))
    return dataclasses.replace(made, exchange=exchange, terms=terms or Terms())


def run(made: RoundPlan, faults: Faults) -> tuple[RoundOutcome, lab.TrainingState]:
    state = lab.fresh(lab.adamw)
    return lab.run_one(made, state, default=SLOW, faults=faults), state


def same(one: lab.TrainingState, other: lab.TrainingState) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def arrived(deliveries: Sequence[Delivery]) -> int:
    return sum(d.size_bytes - sum(end - begin for begin, end in d.lost) for d in deliveries)


@pytest.mark.parametrize("chunk_bytes", [None, 700])
@pytest.mark.parametrize("pair", [("bs", "c0.cu"), ("c0.cu", "bs"), ("c0.cu", "c0.d1")])
def test_a_transfer_goes_on_after_the_outage_with_the_bytes_that_are_missing(
    pair: tuple[str, str], chunk_bytes: int | None
) -> None:
    whole, model = run(plan(chunk_bytes), Faults())
    # In the middle of a byte in the middle of the parameters' first transfer over the link.
    hit = next(d for d in whole.deliveries if (d.src, d.dst) == pair and d.size_bytes > 600)
    out_ns = hit.end_ns - 100 * (hit.size_bytes // 3) - 50
    faults = Faults(links={pair: lab.away((out_ns, out_ns + MILLISECOND))})
    outcome, state = run(plan(chunk_bytes), faults)
    assert same(state, model)
    parts = [d for d in outcome.deliveries if (d.src, d.dst) == pair]
    cut = [d for d in parts if d.outcome == "cut"]
    hits = [d for d in cut if d.start_ns == hit.start_ns and d.size_bytes == hit.size_bytes]
    first = hits[0]  # chunks that are queued behind it are cut too
    sent = (hit.size_bytes - hit.size_bytes // 3) - 1
    assert (first.end_ns, first.lost) == (out_ns, ((sent, hit.size_bytes),))
    rest = next(d for d in parts if d.start_ns == out_ns + MILLISECOND)
    assert rest.size_bytes == hit.size_bytes - sent
    assert rest.end_ns == out_ns + MILLISECOND + 100 * rest.size_bytes
    # Of every byte that the round sends over the link one copy arrives.
    assert arrived(parts) == arrived([d for d in whole.deliveries if (d.src, d.dst) == pair])


def test_a_round_without_streaming_ends_later_by_the_outage() -> None:
    whole, _ = run(plan(), Faults())
    hit = next(d for d in whole.deliveries if (d.src, d.dst) == ("bs", "c0.cu"))
    out_ns = hit.start_ns + 100 * 99
    spans = [(out_ns, out_ns + 7000), (out_ns + 7000 + 100, out_ns + 9000)]
    outcome, _ = run(plan(), Faults(links={("bs", "c0.cu"): lab.away(*spans)}))
    assert outcome.duration_ns == whole.duration_ns + 7000 + 1900
    parts = [d for d in outcome.deliveries if (d.src, d.dst) == ("bs", "c0.cu")][:3]
    assert [d.outcome for d in parts] == ["cut", "cut", "delivered"]
    assert [d.size_bytes for d in parts] == [
        hit.size_bytes,
        hit.size_bytes - 99,
        hit.size_bytes - 100,
    ]


def test_an_outage_may_count_as_a_failed_attempt() -> None:
    whole, model = run(plan(), Faults())
    hit = next(
        d for d in whole.deliveries if (d.src, d.dst, d.kind) == ("c0.cu", "bs", "parameters")
    )
    out_ns = (hit.start_ns + hit.end_ns) // 2
    link = lab.away((out_ns, out_ns + 1500 * MILLISECOND))
    faults = Faults(links={("c0.cu", "bs"): link}, on_outage="fail")
    outcome, state = run(plan(), faults)
    # One attempt is cut, one would begin in the outage, and the third is made a second later.
    parts = [
        d for d in outcome.deliveries if (d.src, d.dst, d.kind) == ("c0.cu", "bs", "parameters")
    ]
    assert [(d.outcome, d.end_ns) for d in parts] == [
        ("cut", out_ns),
        ("delivered", out_ns + 2000 * MILLISECOND + 100 * hit.size_bytes),
    ]
    assert same(state, model)
    outcome, _ = run(plan(terms=Terms(resends=1)), faults)
    (failed,) = outcome.pipelines
    assert failed.end_ns == out_ns + 1000 * MILLISECOND
    assert failed.reason == (
        f"c0.cu → bs: parameters of {hit.size_bytes} bytes cut 2 times, at last at "
        f"{failed.end_ns / 1e9:.6f} s"
    )


def test_a_link_that_never_comes_back_fails_its_pipeline() -> None:
    faults = Faults(links={("c0.d0", "c0.d1"): lab.away((0, None))})
    outcome, _ = run(plan(), faults)
    (failed,) = outcome.pipelines
    assert failed.reason.startswith("c0.d0 → c0.d1: activation of ")
    assert "cut 3 times" in failed.reason


@pytest.mark.parametrize("pair", [("bs", "c0.cu"), ("c0.cu", "c0.d1")])
def test_a_transfer_fails_for_which_the_times_between_outages_are_too_short(
    pair: tuple[str, str],
) -> None:
    seldom = Alternating(1e-6, 1e-6, np.random.default_rng(1))
    terms = Terms(resends=1, resend_after_s=1e-6)
    late = dataclasses.replace(SLOW, latency_ns=100_000)  # e^-100: no byte arrives in between
    outcome = lab.run_one(
        plan(terms=terms), default=SLOW, links={pair: late}, faults=Faults(links={pair: seldom})
    )
    (fate,) = outcome.pipelines
    assert fate.fate == "failed"
    assert fate.reason.startswith(f"{pair[0]} → {pair[1]}: ")
    assert " cut 2 times, at last at " in fate.reason
    tried = [d for d in outcome.deliveries if (d.src, d.dst) == pair and d.kind != "activation"]
    assert {d.outcome for d in tried} == {"cut"}
