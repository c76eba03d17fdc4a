"""Checks the section `faults` of a study against its nodes and links."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from collapipe_ns3.config.faults import Faults, LinkFaults, NodeFaults, Slowdown, Span
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.nodes import SERVER, Role, role
from collapipe_ns3.problems import Problem
from collapipe_ns3.topology.faults import links_of, nodes_of, selected

#: How many random times may fit into the longest wait: each takes memory.
_MOST_PERIODS = 1e7


def fault_problems(config: StudyConfig) -> Iterator[Problem]:
    """What is wrong with the faults of a study whose keys are well-formed."""
    for n, entry in enumerate(config.faults.nodes):
        yield from _of_nodes(config, entry, f"faults.nodes[{n}]")
    yield from _repeated(config)
    yield from _ratio_of_times(config.faults)
    pairs = links_of(config) if config.faults.links else ()
    ends = tuple(dict.fromkeys(node for pair in pairs for node in pair))
    for n, link in enumerate(config.faults.links):
        where = f"faults.links[{n}]"
        unknown = [key for key in ("src", "dst") if getattr(link, key) not in ends]
        for key in unknown:
            name = getattr(link, key)
            yield Problem(f"{where}.{key}", f"no node {name!r}; {did_you_mean(name, ends)}")
        if not unknown and (link.src, link.dst) not in pairs:
            near = [dst for src, dst in pairs if src == link.src]
            what = f"{link.src} has no link with {link.dst}, but with {', '.join(near)}"
            yield Problem(f"{where}.dst", what)
        yield from _of_times(link, link.out_s, f"{where}.out_s", where)
        if not link.out_s and link.mtbf_s is None and link.mttr_s is None:
            yield Problem(where, "expected out_s, or mtbf_s and mttr_s")


def _ratio_of_times(faults: Faults) -> Iterator[Problem]:
    """Random times so short beside others that a wait could last through too many of them."""
    entries: list[NodeFaults | LinkFaults] = [*faults.nodes, *faults.links]
    slow = [each for entry in faults.nodes for each in entry.slow]
    means = [mean for each in entries for mean in (each.mtbf_s, each.mttr_s)]
    means += [mean for each in slow for mean in (each.mean_between_s, each.mean_lasting_s)]
    spans = [span for each in faults.nodes for span in each.away_s]
    spans += [span for each in faults.links for span in each.out_s]
    waits = [*(each.mttr_s for each in entries), *(span[-1] for span in spans)]
    shortest = min((each for each in means if each is not None), default=math.inf)
    longest = max((each for each in waits if each is not None), default=0.0)
    if longest > _MOST_PERIODS * shortest:
        what = f"a mean time of {shortest:g} s beside an absence or outage until {longest:g} s"
        most = f"expected at most {_MOST_PERIODS:g} times as long"
        yield Problem("faults", f"{what}: {most}; null as the end of a span is for good")


def _of_nodes(config: StudyConfig, entry: NodeFaults, where: str) -> Iterator[Problem]:
    nodes = nodes_of(config)
    unknown = [name for name in entry.nodes or () if name not in nodes]
    for name in unknown:
        yield Problem(f"{where}.nodes", f"no node {name!r}; {did_you_mean(name, nodes)}")
    of_cluster = entry.cluster is None or entry.cluster < len(config.clusters)
    if not of_cluster:
        what = f"there are {len(config.clusters)} clusters, counted from 0, no {entry.cluster}"
        yield Problem(f"{where}.cluster", what)
    profiles = {node.profile for cluster in config.clusters for node in cluster.devices}
    named = entry.nodes is not None
    if entry.profile is not None and not named and entry.profile not in profiles:
        what = f"no device has the profile {entry.profile!r}"
        near = did_you_mean(entry.profile, sorted(profiles))
        yield Problem(f"{where}.profile", f"{what}; {near}")
    elif of_cluster and not unknown and not selected(config, entry):
        yield Problem(where, "expected nodes, profile and cluster to have a node in common")
    states = entry.battery or entry.charging or entry.thermal
    given = entry.away_s or entry.slow or states
    if not given and entry.mtbf_s is None and entry.mttr_s is None:
        what = "expected away_s, mtbf_s and mttr_s, slow, battery, charging or thermal"
        yield Problem(where, what)
    if states:
        yield from _of_states(entry, where)
    yield from _of_times(entry, entry.away_s, f"{where}.away_s", where)
    idle = [n for n in entry.nodes or () if n != SERVER and role(n) is Role.BASE_STATION]
    if entry.slow and idle and not unknown:
        yield Problem(f"{where}.slow", f"{idle[0]} computes nothing; the edge server is {SERVER}")
    leaves = entry.away_s or entry.mtbf_s is not None
    stations = [n for n in entry.nodes or () if role(n) is Role.BASE_STATION]
    if config.radio.handover is not None and leaves and stations and not unknown:
        what = f"expected no base station, as control units change between them; not {stations[0]}"
        yield Problem(f"{where}.nodes", f"{what}: leave out radio.handover")
    for n, slow in enumerate(entry.slow):
        yield from _of_slowdown(slow, f"{where}.slow[{n}]")


def _of_states(entry: NodeFaults, where: str) -> Iterator[Problem]:
    """What is wrong with heat and charge; base stations have neither."""
    if stations := [n for n in entry.nodes or () if role(n) is Role.BASE_STATION]:
        yield Problem(f"{where}.nodes", f"{stations[0]} has neither a battery nor heat")
    battery, thermal = entry.battery, entry.thermal
    if battery and battery.charge_j is not None and battery.charge_j > battery.capacity_j:
        what = f"expected at most the capacity, {battery.capacity_j:g} J, not {battery.charge_j:g}"
        yield Problem(f"{where}.battery.charge_j", what)
    if thermal and not thermal.ambient_c < thermal.resume_c <= thermal.limit_c:
        what = f"expected more than ambient_c, {thermal.ambient_c:g}, up to limit_c, "
        yield Problem(f"{where}.thermal.resume_c", f"{what}{thermal.limit_c:g}")
    for n, charging in enumerate(entry.charging):
        if charging.to_s is not None and charging.to_s <= charging.from_s:
            what = f"expected an end after {charging.from_s:g} s, not {charging.to_s:g} s"
            yield Problem(f"{where}.charging[{n}].to_s", what)


def _repeated(config: StudyConfig) -> Iterator[Problem]:
    """Nodes with several batteries or models of heat, and nodes that are charged without one."""
    having: dict[str, set[str]] = {"battery": set(), "thermal": set()}
    for n, entry in enumerate(config.faults.nodes):
        for key, nodes in having.items():
            own = selected(config, entry) if getattr(entry, key) is not None else ()
            if both := [node for node in own if node in nodes]:
                what = f"{both[0]} has one by an earlier entry"
                yield Problem(f"faults.nodes[{n}].{key}", what)
            nodes.update(own)
    for n, entry in enumerate(config.faults.nodes):
        charged = selected(config, entry) if entry.charging else ()
        if lacking := [node for node in charged if node not in having["battery"]]:
            yield Problem(f"faults.nodes[{n}].charging", f"{lacking[0]} has no battery")


def _of_times(
    entry: NodeFaults | LinkFaults, spans: Sequence[Span], at: str, where: str
) -> Iterator[Problem]:
    yield from _together(entry, "mtbf_s", "mttr_s", where)
    for n, (from_s, to_s) in enumerate(spans):
        if from_s is None:
            yield Problem(f"{at}[{n}]", "expected a time as the beginning, not null")
        elif to_s is not None and to_s <= from_s:
            yield Problem(f"{at}[{n}]", f"expected an end after {from_s:g} s, not {to_s:g} s")


def _of_slowdown(slow: Slowdown, where: str) -> Iterator[Problem]:
    yield from _together(slow, "mean_between_s", "mean_lasting_s", where)
    random = slow.mean_between_s is not None or slow.mean_lasting_s is not None
    given = slow.from_s is not None or slow.to_s is not None
    if random == given:
        yield Problem(where, "expected from_s and to_s, or mean_between_s and mean_lasting_s")
    elif given and slow.from_s is None:
        yield Problem(f"{where}.from_s", "is missing")
    elif slow.from_s is not None and slow.to_s is not None and slow.to_s <= slow.from_s:
        what = f"expected an end after {slow.from_s:g} s, not {slow.to_s:g} s"
        yield Problem(f"{where}.to_s", what)


def _together(
    entry: NodeFaults | LinkFaults | Slowdown, one: str, other: str, where: str
) -> Iterator[Problem]:
    """A problem if only one of two keys is given."""
    if (getattr(entry, one) is None) != (getattr(entry, other) is None):
        lacking, present = (one, other) if getattr(entry, one) is None else (other, one)
        yield Problem(f"{where}.{lacking}", f"is missing: {present} needs it")
