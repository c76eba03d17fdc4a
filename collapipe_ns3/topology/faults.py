"""The faults of a study, as functions of the run's time, drawn from its seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import TypeVar

from collapipe_ns3.config import faults as section
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.faults import Alternating, Faults, Pair, Product, Signal, Steps
from collapipe_ns3.node_state import Battery, Cooling, NodeModel
from collapipe_ns3.nodes import SERVER, Role, control_unit, role, station
from collapipe_ns3.random_streams import stream
from collapipe_ns3.topology.layout import device_names

_T = TypeVar("_T")

#: A beginning and an end in seconds, None for never, and the value of a signal between them.
_Part = tuple[float, float | None, float]


def nodes_of(config: StudyConfig) -> tuple[str, ...]:
    """The names of all nodes of a study but interferers."""
    stations = (station(n) for n, _ in enumerate(config.stations, 1))
    clusters = ((control_unit(n), *names) for n, names in enumerate(device_names(config)))
    return (SERVER, *stations, *(name for cluster in clusters for name in cluster))


def links_of(config: StudyConfig) -> tuple[Pair, ...]:
    """All directed links: within clusters, and between control units and the server.

    A control unit's link with its own base station counts as one with the server.
    """
    found: list[Pair] = []
    for n, devices in enumerate(device_names(config)):
        control = control_unit(n)
        found += [*permutations((control, *devices), 2), (control, SERVER), (SERVER, control)]
    return tuple(found)


def selected(config: StudyConfig, entry: section.NodeFaults) -> tuple[str, ...]:
    """The nodes that an entry selects, in the study's order."""
    profiles = {SERVER: config.server.profile}
    for n, cluster in enumerate(config.clusters):
        profiles[control_unit(n)] = cluster.cu.profile
        names = device_names(config)[n]
        profiles |= {name: node.profile for name, node in zip(names, cluster.devices, strict=True)}
    nodes = nodes_of(config)
    if entry.nodes is not None:
        found = [name for name in nodes if name in entry.nodes]
    else:
        found = [name for name in nodes if role(name) is Role.DEVICE]
    if entry.profile is not None:
        found = [name for name in found if profiles.get(name) == entry.profile]
    if entry.cluster is not None:
        found = [name for name in found if name.startswith(f"c{entry.cluster}.")]
    return tuple(found)


def make_faults(config: StudyConfig, seed: int) -> Faults:
    """The faults of a run of a study, which is valid, with this seed.

    Every random process has a stream of its own, named by the node or link, what it is, and its
    number among those of the node or link. With several base stations, one that is away makes the
    links of the clusters that it serves be out.
    """
    given = config.faults
    up: dict[str, list[Signal]] = {}
    slowness: dict[str, list[Signal]] = {}
    links: dict[Pair, list[Signal]] = {}
    charging: dict[str, list[_Part]] = {}
    rates: dict[str, list[tuple[float, float]]] = {}
    for entry in given.nodes:
        for node in selected(config, entry):
            ups = up.setdefault(node, [])
            ups += _of_spans(entry.away_s)
            if entry.mtbf_s is not None and entry.mttr_s is not None:
                random = stream(seed, "faults", node, "away", _randoms(ups))
                ups.append(Alternating(entry.mtbf_s, entry.mttr_s, random))
                rates.setdefault(node, []).append((1 / entry.mtbf_s, entry.mttr_s))
            slows = slowness.setdefault(node, [])
            slows += _slow(entry.slow, seed, node, _randoms(slows))
            if entry.charging:
                parts = charging.setdefault(node, [])
                parts += [(each.from_s, each.to_s, each.power_w) for each in entry.charging]
    for link in given.links:
        pairs = [(link.src, link.dst), *([(link.dst, link.src)] if link.both else [])]
        signals = _of_spans(link.out_s)
        if link.mtbf_s is not None and link.mttr_s is not None:
            random = stream(seed, "faults", *pairs[0], _randoms(links.get(pairs[0], ())))
            signals.append(Alternating(link.mtbf_s, link.mttr_s, random))
        for pair in pairs:
            links.setdefault(pair, []).extend(signals)
    if config.stations:
        for node in [name for name in up if role(name) is Role.BASE_STATION]:
            for pair in _links_of_station(config, node):
                links.setdefault(pair, []).extend(up[node])
            del up[node]
    known = rates if given.known else {}
    return Faults(
        up=_combined(up),
        slowness=_combined(slowness),
        links=_combined(links),
        charging_w={node: steps_of(parts, 0.0, math.fsum) for node, parts in charging.items()},
        hazards={node: sum(rate for rate, _ in own) for node, own in known.items()},
        repair_s={
            node: sum(rate * repair_s for rate, repair_s in own) / sum(rate for rate, _ in own)
            for node, own in known.items()
        },
        on_outage=given.on_outage,
    )


def _randoms(signals: Iterable[Signal]) -> int:
    """How many of them are drawn at random, which is the number of the next one that is."""
    return sum(isinstance(each, Alternating) for each in signals)


def _combined(signals: Mapping[_T, Sequence[Signal]]) -> dict[_T, Signal]:
    """One signal for each node or link that has any: their product."""
    return {
        what: own[0] if len(own) == 1 else Product(tuple(own))
        for what, own in signals.items()
        if own
    }


def _links_of_station(config: StudyConfig, name: str) -> Iterator[Pair]:
    """The links between a base station and the control units that it serves."""
    for n, cluster in enumerate(config.clusters):
        if (cluster.station or SERVER) == name:
            yield control_unit(n), SERVER
            yield SERVER, control_unit(n)


def _slow(
    entries: Iterable[section.Slowdown], seed: int, node: str, number: int
) -> Iterator[Signal]:
    """The slowness of a node; `number` is that of its next random process."""
    given: list[_Part] = []
    for each in entries:
        if each.mean_between_s is not None and each.mean_lasting_s is not None:
            random = stream(seed, "faults", node, "slow", number)
            means = (each.mean_between_s, each.mean_lasting_s)
            yield Alternating(*means, random, first=1.0, other=each.factor)
            number += 1
        else:
            given.append((each.from_s or 0.0, each.to_s, each.factor))
    if given:
        yield steps_of(given, 1.0, math.prod)


def _of_spans(spans: Sequence[section.Span]) -> list[Signal]:
    """A signal that is 0 in these spans and 1 otherwise; none without spans."""
    parts = [(from_s or 0.0, to_s, 0.0) for from_s, to_s in spans]
    return [steps_of(parts, 1.0, math.prod)] if parts else []


def make_models(config: StudyConfig) -> dict[str, NodeModel]:
    """What of each node depends on its work; nodes without heat and charge are missing."""
    found: dict[str, NodeModel] = {}
    for entry in config.faults.nodes:
        for node in selected(config, entry) if entry.battery or entry.thermal else ():
            model = found.get(node, NodeModel())
            if (battery := entry.battery) is not None:
                own = Battery(battery.capacity_j, battery.return_at * battery.capacity_j)
                first_j = battery.capacity_j if battery.charge_j is None else battery.charge_j
                model = replace(model, battery=own, first_charge_j=first_j)
            if (thermal := entry.thermal) is not None:
                model = replace(model, cooling=Cooling(**thermal.model_dump()))
            found[node] = model
    return found


def steps_of(
    parts: Iterable[_Part], neutral: float, combine: Callable[[Iterable[float]], float]
) -> Steps:
    """Signals combined that are neutral, or a value between two instants, which are whole ns.

    `combine` is their product, with 1 as neutral, or their sum, with 0.
    """
    changes: dict[int, list[tuple[int, float]]] = {}
    for number, (from_s, to_s, value) in enumerate(parts):
        begin_ns = round(from_s * 1e9)
        end_ns = None if to_s is None else round(to_s * 1e9)
        if end_ns is None or end_ns > begin_ns:
            changes.setdefault(begin_ns, []).append((number, value))
            if end_ns is not None:
                changes.setdefault(end_ns, []).append((number, neutral))
    values: dict[int, float] = {}
    times_ns, combined = [], []
    before = neutral
    for time_ns, new in sorted(changes.items()):
        for number, value in new:
            if value == neutral:
                values.pop(number, None)
            else:
                values[number] = value
        now = combine(value for _, value in sorted(values.items()))  # always in the same order
        if now != before:
            times_ns.append(time_ns)
            combined.append(now)
            before = now
    return Steps(neutral, tuple(times_ns), tuple(combined))
