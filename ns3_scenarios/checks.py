"""The checks of a scenario, before anything of it is built in ns-3."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ns3_scenarios.channel import Multipath, channel_problems
from ns3_scenarios.handover import handover_problems
from ns3_scenarios.interferers import Jammer, interferer_problems
from ns3_scenarios.mobility import Point, motion_problems
from ns3_scenarios.problem import Problem
from ns3_scenarios.radios.registry import stacks
from ns3_scenarios.scenario import NodeSpec, ScenarioSpec
from ns3_scenarios.surroundings import interferer_nodes
from ns3_scenarios.validity import validity_problems

SAMPLED_PERIOD_S = 0.01  # the interval at which FastForward samples the radio


def problems(spec: ScenarioSpec) -> list[Problem]:
    """Everything that is wrong with a scenario, as (path in it, what was expected)."""
    return [
        *_node_problems(spec),
        *_station_problems(spec),
        *_stack_problems(spec),
        *_channel_problems(spec),
        *_interferer_problems(spec),
        *_handover_problems(spec),
        *_fidelity_problems(spec),
        *_seed_problems(spec),
    ]


def _node_problems(spec: ScenarioSpec) -> Iterator[Problem]:
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


def _station_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    names = [spec.bs.name, *(station.name for station in spec.stations)]
    for n, cluster in enumerate(spec.clusters):
        if cluster.station is not None and cluster.station not in names:
            yield (
                f"clusters[{n}].station",
                f"expected one of {', '.join(names)}, not {cluster.station!r}",
            )


def _stack_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    chosen = stacks(spec)
    carried = {tier for stack in chosen for tier in stack.tiers}
    for tier, radio in spec.radios.items():
        if tier not in carried:
            yield tier, f"expected a radio that has such links, not {type(radio).__name__}"
    for stack in chosen:
        yield from stack.problems()


def _interferer_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    at = {node.position: node.name for node in spec.nodes}
    yield from interferer_problems(
        spec.interferers, at, {node.name: "a node" for node in spec.nodes}
    )
    for n, interferer in enumerate(spec.interferers):
        if interferer.band != "d2d" and interferer.channel is not None:
            yield f"interferers[{n}].channel", f"expected none: the {interferer.band} is one band"


def _handover_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    """What handover needs and the scenario doesn't have."""
    if spec.handover is None:
        return
    yield from handover_problems(spec.handover)
    if not spec.stations:
        yield "handover", "expected none: there is one base station, so there is no other cell"
    for stack in stacks(spec):
        if "d2e" in stack.tiers and stack.fixed_cells:
            yield "handover", f"expected none: {stack.fixed_cells}"


def _fidelity_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    """A sampled episode can't have anything that changes over its time."""
    if spec.fidelity not in ("packet", "sampled"):
        yield "fidelity", f"expected packet or sampled, not {spec.fidelity!r}"
    if spec.fidelity != "sampled":
        return
    moving = [node.name for node in spec.nodes if node.motion is not None]
    moving += [i.name for i in spec.interferers if isinstance(i, Jammer) and i.motion is not None]
    if moving:
        yield "fidelity", f"expected packet: sampled is for nodes that stand still, not {moving[0]}"
    if spec.handover is not None:
        what = "cells that stay the same, and with handover they change continuously"
        yield "fidelity", f"expected packet: sampled is for {what}"
    for radio in spec.radios.values():
        if isinstance(radio.propagation.fading, Multipath):
            what = f"channels that stand still, not {radio.propagation.fading.profile} fading"
            yield "fidelity", f"expected packet: sampled is for {what}"
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


def _channel_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    for path, radio in spec.radios.items():
        yield from channel_problems(f"{path}.propagation", radio.propagation)
    if all(map(_is_somewhere, (*spec.nodes, *interferer_nodes(spec)))):
        yield from validity_problems(spec)


def _is_somewhere(node: NodeSpec) -> bool:
    sound = len(node.position) == 3 and all(map(math.isfinite, node.position))
    return sound and (node.motion is None or not any(motion_problems("", node.motion)))


def _seed_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    if not 0 < spec.seed < 2**32:
        yield "seed", f"expected 1 to {2**32 - 1}, not {spec.seed}"
    for name, run in (("run", spec.run), ("lasting_run", spec.lasting_run)):
        if not 0 <= run < 2**64:
            yield name, f"expected 0 to {2**64 - 1}, not {run}"
    if not 0 <= spec.start_ns < 2**62:
        yield "start_ns", f"expected nanoseconds from 0 up, not {spec.start_ns}"
