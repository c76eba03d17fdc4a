"""What can be wrong with a scenario, each with its place, before ns-3 hears of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from ns3_scenarios.channel import channel_problems
from ns3_scenarios.interferers import Background, Jammer, interferer_problems
from ns3_scenarios.mobility import Point, motion_problems
from ns3_scenarios.power import power_problems
from ns3_scenarios.scenario import (
    BLOCK_HZ,
    LTE_MOST_UES,
    LTE_RESOURCE_BLOCKS,
    OFDMA_FEWEST_BLOCKS,
    OFDMA_MOST_BLOCKS,
    WIFI_CHANNELS,
    WIFI_MOST_NODES,
    LteSpec,
    NodeSpec,
    OfdmaSpec,
    ScenarioSpec,
    WifiSpec,
    megahertz,
)
from ns3_scenarios.surroundings import interferer_nodes
from ns3_scenarios.validity import validity_problems

_NOISE_AND_ANTENNAS = (("noise_figure_db", 0.0, 50.0), ("antenna_gain_db", -50.0, 50.0))
_STATIONS = tuple((f"station_{name}", low, high) for name, low, high in _NOISE_AND_ANTENNAS)

SAMPLED_PERIOD_S = 0.01  # what FastForward looks at the radio after


def problems(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """Everything that is wrong with a scenario, as (path in it, what was expected)."""
    return [
        *_node_problems(spec),
        *_station_problems(spec),
        *_d2d_problems(spec),
        *_d2e_problems(spec),
        *_channel_problems(spec),
        *_power_problems(spec),
        *_interferer_problems(spec),
        *_fidelity_problems(spec),
        *_seed_problems(spec),
    ]


def _node_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    places = [("bs", spec.bs)]
    places += [(f"stations[{n}]", station) for n, station in enumerate(spec.stations)]
    for n, cluster in enumerate(spec.clusters):
        places.append((f"clusters[{n}].cu", cluster.cu))
        if not cluster.devices:
            yield f"clusters[{n}].devices", "expected at least one device"
        places += [(f"clusters[{n}].devices[{k}]", node) for k, node in enumerate(cluster.devices)]
    if not spec.clusters:
        yield "clusters", "expected at least one cluster"
    names: dict[str, str] = {}
    at: dict[Point, str] = {}
    for path, node in places:
        if (first := names.setdefault(node.name, path)) != path:
            yield f"{path}.name", f"expected a name of its own: {node.name!r} is {first}'s"
        if len(node.position) != 3 or not all(map(math.isfinite, node.position)):
            yield f"{path}.position", f"expected three finite metres, not {node.position}"
        elif (other := at.setdefault(node.position, path)) != path:
            yield f"{path}.position", f"expected a place of its own: {other} is there"
        if not 0 < node.max_tx_power_w < math.inf:
            yield f"{path}.max_tx_power_w", f"expected watts above 0, not {node.max_tx_power_w}"
        if not 0 <= node.rx_power_w < math.inf:
            yield f"{path}.rx_power_w", f"expected watts from 0 up, not {node.rx_power_w}"
        if node.motion is not None:
            yield from motion_problems(f"{path}.motion", node.motion)


def _station_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    names = [spec.bs.name, *(station.name for station in spec.stations)]
    for n, cluster in enumerate(spec.clusters):
        if cluster.station is not None and cluster.station not in names:
            yield (
                f"clusters[{n}].station",
                f"expected one of {', '.join(names)}, not {cluster.station!r}",
            )
    if spec.stations and not isinstance(spec.d2e, OfdmaSpec):
        yield "stations", "expected none: LTE has one base station here; take OFDMA as d2e"


def _d2d_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    if isinstance(spec.d2d, OfdmaSpec):
        yield from _ofdma_problems("d2d", spec.d2d)
        yield from _sidelink_problems(spec, spec.d2d)
        return
    yield from _within("d2d", spec.d2d, _NOISE_AND_ANTENNAS)
    for n, cluster in enumerate(spec.clusters):
        if len(cluster.nodes) > WIFI_MOST_NODES:
            yield f"clusters[{n}].devices", f"expected at most {WIFI_MOST_NODES - 1}"
    if spec.d2d.bandwidth_hz not in WIFI_CHANNELS:
        yield "d2d.bandwidth_hz", _not_among(WIFI_CHANNELS, spec.d2d.bandwidth_hz)
        return
    numbers = WIFI_CHANNELS[spec.d2d.bandwidth_hz]
    for n, cluster in enumerate(spec.clusters):
        if cluster.channel is not None and cluster.channel not in numbers:
            nearest = min(numbers, key=lambda number, to=cluster.channel: abs(number - to))  # type: ignore[misc]  # the default binds the loop's value
            yield (
                f"clusters[{n}].channel",
                f"expected a 5 GHz channel of {megahertz(spec.d2d.bandwidth_hz)}, not "
                f"{cluster.channel}; the nearest is {nearest}",
            )


def _sidelink_problems(spec: ScenarioSpec, d2d: OfdmaSpec) -> Iterator[tuple[str, str]]:
    if d2d.duplex != "fdd":
        yield "d2d.duplex", "expected the default: all links of a cluster share one band"
    if d2d.reuse < 1 or d2d.blocks // max(d2d.reuse, 1) < OFDMA_FEWEST_BLOCKS:
        most = max(d2d.blocks // OFDMA_FEWEST_BLOCKS, 1)
        yield "d2d.reuse", f"expected 1 to {most} sub-bands in this bandwidth, not {d2d.reuse}"
    for n, cluster in enumerate(spec.clusters):
        if cluster.channel is not None and not 0 <= cluster.channel < d2d.reuse:
            yield (
                f"clusters[{n}].channel",
                f"expected the number of a sub-band, 0 to {d2d.reuse - 1}, not {cluster.channel}",
            )
    if not d2d.underlay:
        return
    if not isinstance(spec.d2e, OfdmaSpec):
        yield "d2d.underlay", "expected OFDMA as d2e, whose uplink blocks it could use"
        return
    if d2d.reuse != 1:
        yield "d2d.reuse", "expected 1: the underlay uses all of the uplink's blocks"
    if d2d.blocks != spec.d2e.blocks:
        yield (
            "d2d.bandwidth_hz",
            f"expected d2e's bandwidth, whose {spec.d2e.blocks} resource blocks it uses; "
            f"not {d2d.blocks} blocks",
        )
    for name in (
        "carrier_hz",
        "tti_s",
        "target_bler",
        "max_transmissions",
        "engine",
    ):
        mine, theirs = getattr(d2d, name), getattr(spec.d2e, name)
        if mine != theirs:
            yield f"d2d.{name}", f"expected {theirs!r}, d2e's, whose blocks it uses; not {mine!r}"


def _d2e_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    if isinstance(spec.d2e, OfdmaSpec):
        yield from _ofdma_problems("d2e", spec.d2e)
        if spec.d2e.reuse != 1:
            yield "d2e.reuse", "expected 1: sub-bands are for clusters"
        if spec.d2e.underlay:
            yield "d2e.underlay", "expected false: it is d2d that may use d2e's blocks"
        return
    yield from _within("d2e", spec.d2e, (*_NOISE_AND_ANTENNAS, *_STATIONS))
    if len(spec.clusters) > LTE_MOST_UES:
        yield "clusters", f"expected at most {LTE_MOST_UES}, one LTE terminal each"
    if spec.d2e.bandwidth_hz not in LTE_RESOURCE_BLOCKS:
        yield "d2e.bandwidth_hz", _not_among(LTE_RESOURCE_BLOCKS, spec.d2e.bandwidth_hz)


def _not_among(widths: Iterable[float], given_hz: float) -> str:
    choices = ", ".join(f"{width / 1e6:g}" for width in widths)
    return f"expected {choices} MHz, not {megahertz(given_hz)}"


def _ofdma_problems(path: str, ofdma: OfdmaSpec) -> Iterator[tuple[str, str]]:
    blocks = ofdma.bandwidth_hz / BLOCK_HZ
    if not OFDMA_FEWEST_BLOCKS <= blocks <= OFDMA_MOST_BLOCKS or abs(blocks - round(blocks)) > 1e-6:
        near = OFDMA_FEWEST_BLOCKS
        if math.isfinite(blocks):
            near = min(max(round(blocks), OFDMA_FEWEST_BLOCKS), OFDMA_MOST_BLOCKS)
        yield (
            f"{path}.bandwidth_hz",
            f"expected {OFDMA_FEWEST_BLOCKS} to {OFDMA_MOST_BLOCKS} resource blocks of 180 kHz, "
            f"not {megahertz(ofdma.bandwidth_hz)}; the nearest is {megahertz(near * BLOCK_HZ)}",
        )
    yield from _within(
        path,
        ofdma,
        (
            ("carrier_hz", 100e6, 100e9),
            ("tti_s", 125e-6, 1e-3),
            ("target_bler", 1e-4, 0.9),
            ("max_transmissions", 1, 4),
            *_NOISE_AND_ANTENNAS,
            *_STATIONS,
        ),
    )
    for name, choices in (
        ("transport", ("direct", "tcp", "udp")),
        ("engine", ("tti", "spectrum")),
        ("duplex", ("fdd", "tdd")),
    ):
        if (value := getattr(ofdma, name)) not in choices:
            yield f"{path}.{name}", f"expected {' or '.join(choices)}, not {value!r}"


def _interferer_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    at = {node.position: node.name for node in spec.nodes}
    yield from interferer_problems(
        spec.interferers, at, {node.name: "a node" for node in spec.nodes}
    )
    for n, interferer in enumerate(spec.interferers):
        path, number = f"interferers[{n}]", interferer.channel
        if interferer.band == "d2d":
            if isinstance(spec.d2d, OfdmaSpec):
                numbers: Sequence[int] = range(spec.d2d.reuse)
            else:
                numbers = WIFI_CHANNELS.get(spec.d2d.bandwidth_hz, ())
            if number is not None and numbers and number not in numbers:
                choices = ", ".join(map(str, numbers))
                yield f"{path}.channel", f"expected one of {choices}, not {number}"
            continue
        if number is not None:
            yield f"{path}.channel", f"expected none: the {interferer.band} is one band"
        if isinstance(interferer, Background) and isinstance(spec.d2e, LteSpec):
            yield (
                f"{path}.band",
                "expected d2d: other people's traffic is for Wi-Fi and OFDMA; on LTE take a jammer",
            )


def _fidelity_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    """What goes on in time can't be skipped."""
    if spec.fidelity not in ("packet", "sampled"):
        yield "fidelity", f"expected packet or sampled, not {spec.fidelity!r}"
    if spec.fidelity != "sampled":
        return
    moving = [node.name for node in spec.nodes if node.motion is not None]
    moving += [i.name for i in spec.interferers if isinstance(i, Jammer) and i.motion is not None]
    if moving:
        yield "fidelity", f"expected packet: sampled is for nodes that stand still, not {moving[0]}"
    for interferer in spec.interferers:
        if interferer.on_s > 0 or interferer.off_s < math.inf:
            yield (
                "fidelity",
                f"expected packet: sampled is for interferers that are always on, and "
                f"{interferer.name} is from {interferer.on_s:g} to {interferer.off_s:g} s",
            )
        elif isinstance(interferer, Jammer) and _pulses_slowly(interferer):
            yield (
                "fidelity",
                f"expected packet: sampled is for pulses with periods of {SAMPLED_PERIOD_S:g} s "
                f"or less, not {interferer.name}'s {interferer.period_s:g} s",
            )


def _pulses_slowly(jammer: Jammer) -> bool:
    return jammer.duty_cycle < 1 and jammer.period_s > SAMPLED_PERIOD_S


def _channel_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    for path, radio in (("d2d", spec.d2d), ("d2e", spec.d2e)):
        yield from channel_problems(f"{path}.propagation", radio.propagation)
    if all(map(_is_somewhere, (*spec.nodes, *interferer_nodes(spec)))):
        yield from validity_problems(spec)


def _is_somewhere(node: NodeSpec) -> bool:
    sound = len(node.position) == 3 and all(map(math.isfinite, node.position))
    return sound and (node.motion is None or not any(motion_problems("", node.motion)))


def _power_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    for path, radio in (("d2d", spec.d2d), ("d2e", spec.d2e)):
        stack = {WifiSpec: "wifi", LteSpec: "lte", OfdmaSpec: "ofdma"}[type(radio)]
        yield from power_problems(f"{path}.power", radio.power, stack)


def _within(
    path: str, of: object, ranges: Sequence[tuple[str, float, float]]
) -> Iterator[tuple[str, str]]:
    for name, low, high in ranges:
        value = getattr(of, name)
        if not low <= value <= high:
            yield f"{path}.{name}", f"expected {low:g} to {high:g}, not {value:g}"


def _seed_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    if not 0 < spec.seed < 2**32:
        yield "seed", f"expected 1 to {2**32 - 1}, not {spec.seed}"
    for name, run in (("run", spec.run), ("lasting_run", spec.lasting_run)):
        if not 0 <= run < 2**64:
            yield name, f"expected 0 to {2**64 - 1}, not {run}"
    if not 0 <= spec.start_ns < 2**62:
        yield "start_ns", f"expected nanoseconds from 0 up, not {spec.start_ns}"
