"""Made-up clusters for the planner: processors of unlike speed, links of unlike quality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.power import EnergyModel, RadioPower
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.nodes import SERVER, control_unit, device
from collapipe_ns3.observed import MeasuredLink, Medium, Observation

SPEC = ModelSpec(
    source_vocabulary=200,
    target_vocabulary=200,
    width=64,
    heads=4,
    feed_forward=256,
    encoder_blocks=6,
    decoder_blocks=2,
    max_length=12,
)
NOISE_W_HZ = 4e-21 * 5  # thermal at 290 K, and a noise figure of 7 dB
GIB = 2**30


def observation(
    rng: np.random.Generator,
    clusters: int = 1,
    devices: int = 3,
    *,
    radio: str = "own",
    blocks: int = 6,
    batch_size: int = 12,
    local_steps: int = 1,
    optimizer: str = "adamw",
    memory: float = 1.0,
    local_head: bool = False,
) -> Observation:
    """Random clusters. `radio`: a channel a link (`own`), granted (`ofdma`) or `shared` media,
    which are `overheard` by all.

    `memory` scales what devices have: with 1 each has room for everything.
    """
    spec = replace(SPEC, encoder_blocks=blocks)
    names = tuple(tuple(device(n, k) for k in range(devices)) for n in range(clusters))
    profiles = {SERVER: profile(SERVER, 3e12, 2e-4, 15 * GIB, 20.0)}
    for n, row in enumerate(names):
        profiles[control_unit(n)] = profile("cu", 70e9, 1e-3, 3 * GIB, 0.2)
        for name in row:
            speed = 10 ** rng.uniform(9.5, 11)
            room = int(memory * rng.uniform(0.5, 1.5) * 8 * 2**20)
            profiles[name] = profile(name, speed, rng.uniform(5e-4, 3e-3), room, 0.1)
    media = {"own": (), "ofdma": ofdma(names), "shared": shared(names),
             "overheard": overheard(names)}[radio]  # fmt: skip
    bands = {pair: medium for medium in media for pair in medium.links}
    links = []
    for src, dst in pairs(names):
        gain = 10 ** (rng.uniform(-9.5, -7) if SERVER not in (src, dst) else rng.uniform(-11, -9))
        medium = bands.get((src, dst))
        hz = medium.bandwidth_hz if medium else rng.uniform(2e6, 2e7)
        watts = profiles[src].max_tx_power_w
        sinr = watts * gain / (NOISE_W_HZ * hz)
        efficiency = rng.uniform(0.3, 0.8)
        goodput = efficiency * hz * np.log2(1 + sinr)
        links.append(MeasuredLink(src, dst, gain, NOISE_W_HZ, sinr, goodput, 0.0, 0.0, watts))
    shares = rng.uniform(0.5, 1.5, clusters)
    return Observation(
        devices=names,
        profiles=profiles,
        model=closed_form(spec, local_head=local_head),
        batch_size=batch_size,
        local_steps=local_steps,
        optimizer=OPTIMIZERS[optimizer],
        links=tuple(links),
        shares=tuple(shares / shares.sum()),
        source_length=9,
        target_length=10,
        media=media,
    )


def profile(
    name: str, flops_per_s: float, overhead_s: float, memory: int, power_w: float
) -> DeviceProfile:
    return DeviceProfile(name, flops_per_s, overhead_s, memory, 5.0, power_w, 0.5, "made up")


def at_socket(seen: Observation) -> Observation:
    """The same, with energy counted at the socket; every node has figures of its own."""
    found = {}
    for n, (name, each) in enumerate(seen.profiles.items()):
        radio = RadioPower(0.1, 0.2 + 0.01 * n, 0.5, 0.6 + 0.02 * n, 0.25 / (1 + 0.1 * n))
        found[name] = replace(
            each, idle_power_w=1.0 + 0.1 * n, radio=radio, energy=EnergyModel("socket")
        )
    return replace(seen, profiles=found)


def pairs(names: tuple[tuple[str, ...], ...]) -> Iterator[tuple[str, str]]:
    for n, row in enumerate(names):
        nodes = [control_unit(n), *row]
        yield from inside(nodes)
        yield from ((nodes[0], SERVER), (SERVER, nodes[0]))


def inside(nodes: list[str]) -> Iterator[tuple[str, str]]:
    yield from ((a, b) for a in nodes for b in nodes if a != b)


def ofdma(names: tuple[tuple[str, ...], ...]) -> tuple[Medium, ...]:
    """A band a cluster for half-duplex devices, one up and one down for all, all by grants."""
    cells = [
        Medium(
            f"d2d {n}",
            frozenset(inside([control_unit(n), *row])),
            20e6,
            grants=True,
            half_duplex=True,
        )
        for n, row in enumerate(names)
    ]
    return (*cells, *edges(names, grants=True))


def shared(names: tuple[tuple[str, ...], ...]) -> tuple[Medium, ...]:
    """One channel for all devices, one up and one down, and everybody takes turns."""
    everywhere = [pair for n, row in enumerate(names) for pair in inside([control_unit(n), *row])]
    return (Medium("channel", frozenset(everywhere), 40e6, shared=True), *edges(names, shared=True))


def overheard(names: tuple[tuple[str, ...], ...]) -> tuple[Medium, ...]:
    """As `shared`, but that all nodes of the clusters receive whatever goes over the channel."""
    channel, *others = shared(names)
    nodes = frozenset(node for pair in channel.links for node in pair)
    return (replace(channel, overhear=nodes, replies=0.25), *others)


def edges(names: tuple[tuple[str, ...], ...], **how: bool) -> tuple[Medium, ...]:
    controls = [control_unit(n) for n in range(len(names))]
    return (
        Medium("up", frozenset((control, SERVER) for control in controls), 20e6, **how),
        Medium("down", frozenset((SERVER, control) for control in controls), 20e6, **how),
    )
