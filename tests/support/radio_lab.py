"""Small radio scenarios, and a way to run transfers through them."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from bridge import loop as simulated
from ns3_scenarios import network
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.scenario import ClusterSpec, NodeSpec, OfdmaSpec, ScenarioSpec

T = TypeVar("T")

CLUSTER_SPACING_M = 20.0


def node(name: str, x: float, y: float, watts: float = 0.1) -> NodeSpec:
    """A node at head height whose receiver draws half a watt."""
    return NodeSpec(name, (x, y, 1.5), watts, 0.5)


def scenario(
    clusters: int = 1,
    devices: int = 1,
    *,
    channels: tuple[int | None, ...] = (),
    cu_distance_m: float = 50.0,
    device_distance_m: float = 5.0,
    seed: int = 1,
) -> ScenarioSpec:
    """Clusters side by side, all control units as far from the base station's row."""

    def cluster(n: int) -> ClusterSpec:
        x, y = CLUSTER_SPACING_M * n, cu_distance_m
        return ClusterSpec(
            cu=node(f"c{n}.cu", x, y),
            devices=tuple(
                node(f"c{n}.d{k}", x + 0.5 * k, y + device_distance_m) for k in range(devices)
            ),
            channel=channels[n] if channels else None,
        )

    return ScenarioSpec(
        bs=node("bs", 0.0, 0.0, 1.0),
        clusters=tuple(cluster(n) for n in range(clusters)),
        seed=seed,
    )


def ofdma(
    clusters: int = 1, devices: int = 2, *, d2d: OfdmaSpec | None = None, **d2e: Any
) -> ScenarioSpec:
    """Both radios OFDMA; keywords are D2E's."""
    return replace(
        scenario(clusters=clusters, devices=devices), d2d=d2d or OfdmaSpec(), d2e=OfdmaSpec(**d2e)
    )


def run(net: network.Ns3Network, main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in the network's time."""
    return simulated.run(net, main)


def carry(spec: ScenarioSpec, *transfers: tuple[str, str, int]) -> tuple[RadioDelivery, ...]:
    """Starts transfers (src, dst, bytes) at once in a new network; how each ended."""
    with closing(network.build(spec)) as net:

        async def main() -> list[RadioDelivery]:
            return await asyncio.gather(*(net.transfer(*transfer) for transfer in transfers))

        return tuple(run(net, main()))


async def transfer_or_cut(
    net: network.Ns3Network, pair: tuple[str, str], size_bytes: int, cut_ms: int
) -> None:
    """One transfer to its end, or until it is cut after so long; 0 is never."""
    transfer = net.transfer(*pair, size_bytes)
    if cut_ms:
        await asyncio.wait([transfer], timeout=cut_ms * 1e-3)
        transfer.cancel()
    else:
        await transfer


@contextmanager
def disturbed(net: network.Ns3Network) -> Iterator[None]:
    """Another thread interrupts every millisecond."""
    over = threading.Event()

    def disturb() -> None:
        while not over.wait(1e-3):
            net.interrupt()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_another_process(told: Callable[[], str], **environment: str) -> str:
    """What a test module's function of that name says in a process of its own."""
    module = told.__module__
    code = f"import {module}; print({module}.{told.__name__}(), end='')"
    here = [str(Path(inspect.getfile(told)).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {here!r}; {code}"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def steady_rate_bps(spec: ScenarioSpec, src: str, dst: str, size_bytes: int) -> float:
    """Goodput of a link alone over one transfer, after another that opened TCP's window."""
    with closing(network.build(spec)) as net:

        async def main() -> RadioDelivery:
            await net.transfer(src, dst, size_bytes // 4)
            return await net.transfer(src, dst, size_bytes)

        delivery = run(net, main())
    assert delivery.outcome == "delivered"
    return 8e9 * size_bytes / (delivery.end_ns - delivery.start_ns)


def arrived(delivery: RadioDelivery) -> int:
    """Bytes of a transfer that its receiver got."""
    return delivery.size_bytes - sum(end - begin for begin, end in delivery.lost)


def check_books(deliveries: Sequence[RadioDelivery], now_ns: int) -> None:
    """What holds of all deliveries of a network, however they ended."""
    for delivery in deliveries:
        assert 0 <= arrived(delivery) <= delivery.size_bytes
        assert (delivery.outcome == "delivered") == (delivery.lost == ())
        assert all(0 <= begin < end <= delivery.size_bytes for begin, end in delivery.lost)
        assert 0 <= delivery.start_ns <= delivery.end_ns <= now_ns
        took_s = (delivery.end_ns - delivery.start_ns) * 1e-9
        if delivery.outcome == "delivered":
            assert 0 < delivery.airtime_s <= took_s * (1 + 1e-9)
            assert math.isfinite(delivery.sinr)
        assert delivery.airtime_s <= took_s + 2e-3  # a subframe counts from its start
    assert all(before.end_ns <= after.end_ns for before, after in pairwise(deliveries))
    links = {(delivery.src, delivery.dst) for delivery in deliveries}
    for link in links:
        airtime_s = sum(d.airtime_s for d in deliveries if (d.src, d.dst) == link)
        assert airtime_s <= now_ns * 1e-9 + 2e-3
