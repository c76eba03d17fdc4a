"""Segments equal brute force over every plan, whose cost is computed in plain Python."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import fleets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.segments import exact, scheduling
from collapipe_ns3.dssra.segments.problem import Cases, Choices, Prices, SegmentProblem
from collapipe_ns3.dssra.segments.scheduling import schedule
from collapipe_ns3.dssra.segments.tables import Tables
from collapipe_ns3.observed import Observation
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.links import LinkSetting
from collapipe_ns3.prediction.radio_setting import RadioSetting, SecondsPerByte
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.transfer_services import Service

NOISE = GradientNoise(variance=2.0, square=0.1, seen=True)


@dataclass(frozen=True)
class Problem:
    observation: Observation
    fleet: Fleet
    work: Workload
    radio: RadioSetting
    prices: Prices
    loads: Loads
    blocks: int


def problem(
    rng: np.random.Generator, devices: int, blocks: int, radio: str, memory: float, batch: int = 12
) -> Problem:
    seen = fleets.observation(
        rng, 1, devices, radio=radio, blocks=blocks, batch_size=batch, memory=memory
    )
    losses = {(link.src, link.dst): rng.uniform(0, 0.2) for link in seen.links}
    services = {"channel": Service(1e-3, 1.5, 1.5), "d2d 0": Service(2e-3, 1.1, 1.1)}
    fleet = Fleet.of(seen, Knowledge(services=services, losses=losses))
    work = Workload.of(
        seen.model,
        batch_size=batch,
        local_steps=int(rng.integers(1, 4)),
        optimizer=OPTIMIZERS["adamw"],
        source_length=9,
        target_length=10,
    )
    n = devices + 1
    radio_set = RadioSetting(
        sidelink=LinkSetting(rng.uniform(0.01, 0.1, (1, n, n)), np.full((1, n, n), np.nan)),
        uplink=LinkSetting(np.array([0.1]), np.array([5e6])),
        downlink=LinkSetting(np.array([1.0]), np.array([5e6])),
    )
    joule = rng.uniform(0, 1, (1, n)) * (rng.random() < 0.7)
    prices = Prices.of(fleet, rng.uniform(0, 10, 1), joule, rng.uniform(0, 1, 1))
    asked = Loads(*(rng.uniform(0, 0.05, (2, 1)) for _ in range(3)))
    if devices < 5 and rng.random() < 0.5:  # a price of using each device, which may leave
        prices = replace(prices, use=rng.uniform(0, 3, (1, n)))
    return Problem(seen, fleet, work, radio_set, prices, asked, blocks)


def objective(
    p: Problem, order: tuple[int, ...], counts: tuple[int, ...], m: int, schedule: str
) -> float:
    """J of one plan, infinite where it does not fit; devices are numbered from 1."""
    fleet, work, radio, prices = p.fleet, p.work, p.radio, p.prices
    s, u, d2d = len(order), work.batch_size / m, fleet.links.sidelink
    for place, (k, blocks) in enumerate(zip(order, counts, strict=True), start=1):
        flying = min(s + 2 - place, m) if schedule == "1f1b" else m
        need = blocks * (work.held_bytes + flying * (work.batch_size // m) * work.saved_bytes)
        if need > fleet.memory_bytes[0, k]:
            return math.inf
    v, q = prices.time[0], prices.energy[0]
    hz = d2d.band_hz[0] / max(4 * s - 2, 2) if d2d.grants else None

    def pace(i: int, j: int) -> float:
        b = hz or d2d.natural_hz[0, i, j]
        sinr = radio.sidelink.power_w[0, i, j] * d2d.snr[0, i, j] / b
        return 8 / (d2d.efficiency[0, i, j] * b * math.log2(1 + sinr))

    def air(i: int, j: int, hold: float) -> float:
        """The energy price of a transfer."""
        sent, heard = q[i] * radio.sidelink.power_w[0, i, j], q[j] * fleet.rx_power_w[0, j]
        return (sent + heard) * hold * d2d.duty[0, i, j]

    def compute(k: int, flops: float) -> float:
        return fleet.overhead_s[0, k] + flops / fleet.flops_per_s[0, k]

    per_byte = SecondsPerByte.of(fleet, radio)
    up_pace, down_pace = per_byte.uplink[0], per_byte.downlink[0]
    line = [0, *order, 0]
    there = [u * work.activation_bytes * pace(a, b) for a, b in itertools.pairwise(line)]
    home = [u * work.gradient_bytes * pace(b, a) for a, b in itertools.pairwise(line)]
    latency = (
        sum(d2d.latency[0, a, b] + d2d.latency[0, b, a] for a, b in itertools.pairwise(line))
        + fleet.links.uplink.latency[0]
        + fleet.links.downlink.latency[0]
    )
    fw = [n * u * work.block.forward_flops for n in counts]
    bw = [n * u * work.block.backward_flops for n in counts]
    forward = [compute(k, f) for k, f in zip(order, fw, strict=True)]
    backward = [compute(k, f) for k, f in zip(order, bw, strict=True)]
    control = fleet.overhead_s[0, 0]
    server = [
        fleet.server.overhead_s + u * f / fleet.server.flops_per_s
        for f in (work.decoder.forward_flops, work.decoder.backward_flops)
    ]
    edge = [u * work.activation_bytes * up_pace, u * work.gradient_bytes * down_pace]
    loads = (p.loads.server, p.loads.edge, p.loads.sidelink)
    asked = [max(x[g, 0] for x in loads) / m for g in (0, 1)]

    def hops_beat(hops: list[float]) -> float:
        if d2d.shared:
            return sum(hops)
        if d2d.half_duplex:
            return max([a + b for a, b in itertools.pairwise(hops)] + [hops[0] + hops[-1]])
        return max(hops)

    fill = sum([*there, *home, *forward, *backward, *server, *edge, 2 * control, latency])
    if schedule == "gpipe":
        ahead = max([*forward, control, server[0], edge[0], asked[0], hops_beat(there)])
        back = max([*backward, control, server[1], edge[1], asked[1], hops_beat(home)])
        step = fill + (m - 1) * (ahead + back)
    else:
        hops = (
            hops_beat([a + b for a, b in zip(there, home, strict=True)])
            if d2d.shared or d2d.half_duplex
            else max(*there, *home)
        )
        stages = [a + b for a, b in zip(forward, backward, strict=True)]
        beat = max([*stages, 2 * control, sum(server), *edge, sum(asked), hops])
        step = fill + (m - 1) * beat
    sizes = [(k, n * work.block.parameter_bytes) for k, n in zip(order, counts, strict=True)]
    out = [size * pace(0, k) for k, size in sizes]
    gather = [size * pace(k, 0) for k, size in sizes]
    if d2d.shared:
        star = sum(out) + sum(gather)
    else:
        star = max(t + d2d.latency[0, 0, k] for k, t in zip(order, out, strict=True))
        star += max(t + d2d.latency[0, k, 0] for k, t in zip(order, gather, strict=True))
    steps = work.local_steps
    joules = q[0] * fleet.computing_w[0, 0] * steps * (2 * m + 1) * control
    for k, n, f, b in zip(order, counts, forward, backward, strict=True):
        update = compute(k, n * work.step_flops(work.block.parameter_bytes))
        joules += q[k] * fleet.computing_w[0, k] * steps * (m * (f + b) + update)
    for (a, b), t, h in zip(itertools.pairwise(line), there, home, strict=True):
        joules += steps * m * (air(a, b, t) + air(b, a, h))
    joules += sum(air(0, k, t) for k, t in zip(order, out, strict=True))
    joules += sum(air(k, 0, t) for k, t in zip(order, gather, strict=True))
    epsilon = fleet.links.uplink.epsilon[0] + fleet.links.downlink.epsilon[0]
    epsilon += sum(d2d.epsilon[0, a, b] + d2d.epsilon[0, b, a] for a, b in itertools.pairwise(line))
    signal = 1 + NOISE.square * work.batch_size / NOISE.variance / m
    gamma = 1 + epsilon * signal
    use = 0.0 if prices.use is None else sum(prices.use[0, k] for k in order)
    return float(v * (star + steps * step) + joules + prices.divergence[0] * gamma + use)


def brute_force(p: Problem, m: int, schedule: str, size: int) -> float:
    devices = range(1, p.fleet.nodes)
    return min(
        (
            objective(p, order, counts, m, schedule)
            for order in itertools.permutations(devices, size)
            for counts in splits(p.blocks, size)
        ),
        default=math.inf,
    )


def splits(blocks: int, parts: int) -> list[tuple[int, ...]]:
    edges = itertools.combinations(range(1, blocks), parts - 1)
    return [tuple(b - a for a, b in itertools.pairwise((0, *cut, blocks))) for cut in edges]


def solve(
    p: Problem, m: int, schedule: str, size: int
) -> tuple[float, tuple[int, ...], tuple[int, ...]]:
    cases = Cases(np.array([0]), np.array([m]), np.array([schedule == "1f1b"]), np.array([size]))
    made = Tables.of(subproblem(p, Choices((m,)), windows=False), cases)
    plans = exact.best(made, size, np.array([np.inf]))
    return float(plans.cost[0]), tuple(plans.order[0, :size] + 1), tuple(plans.counts[0, :size])


def subproblem(p: Problem, choices: Choices, windows: bool) -> SegmentProblem:
    return SegmentProblem(
        p.fleet, p.work, p.radio, p.prices, p.loads, NOISE, choices, windows=windows
    )


@settings(max_examples=200)
@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from([1, 2, 4, 12]),
    st.sampled_from(["gpipe", "1f1b"]),
    st.sampled_from(["own", "ofdma", "shared"]),
    st.sampled_from([1.0, 0.3, 0.1]),
)
def test_the_best_segments_are_those_of_brute_force(
    seed: int, devices: int, blocks: int, m: int, schedule: str, radio: str, memory: float
) -> None:
    rng = np.random.default_rng(seed)
    p = problem(rng, devices, blocks, radio, memory)
    size = int(rng.integers(1, devices + 1))
    least = brute_force(p, m, schedule, size)
    value, order, counts = solve(p, m, schedule, size)
    assert value == pytest.approx(least, rel=1e-9)
    if math.isfinite(least):
        assert objective(p, order, counts, m, schedule) == pytest.approx(least, rel=1e-9)
        assert sum(counts) == blocks


def scheduled(p: Problem, one_f: bool, windows: bool) -> float:
    """The least J over segments, orders and micro-batches."""
    open_ = Choices((1, 2, 4, 12), gpipe=not one_f, one_f_one_b=one_f)
    (best,) = schedule(subproblem(p, open_, windows))
    return float(best.cost[0])


@pytest.mark.parametrize("seed", range(6))
def test_five_devices_are_scheduled_exactly(seed: int) -> None:
    """In larger clusters the cost of a searched plan is first taken as a limit."""
    radio, one_f = ["own", "ofdma", "shared"][seed % 3], bool(seed % 2)
    p = problem(np.random.default_rng(seed), 5, 4, radio, [1.0, 0.3][seed // 3])
    least = min(
        brute_force(p, m, "1f1b" if one_f else "gpipe", size)
        for m in (1, 2, 4, 12)
        for size in range(1, 5)
    )
    assert scheduled(p, one_f, windows=False) == pytest.approx(least, rel=1e-9)


def test_a_search_hides_nothing_that_windows_would_choose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan that is second by the tables may lose less to 1F1B's windows."""
    for seed in range(12):
        radio = ["own", "ofdma", "shared"][seed % 3]
        p = problem(np.random.default_rng(2000 + seed), 5, 6, radio, [1.0, 0.3][seed % 2])
        found = scheduled(p, one_f=True, windows=True)
        with monkeypatch.context() as patch:
            patch.setattr(scheduling, "_AT_ONCE_DEVICES", 6)
            assert found == pytest.approx(scheduled(p, one_f=True, windows=True), rel=1e-9)
