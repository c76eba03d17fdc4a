"""Which devices can take part in a round as far as faults go, and when the next one can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from collapipe_ns3.faults import Faults, Product, Signal
from collapipe_ns3.nodes import SERVER, control_unit

#: Each cluster's devices, by the number of the cluster.
Devices = Sequence[Sequence[str]]


def absent_nodes(faults: Faults, devices: Devices, now_ns: int) -> dict[str, str]:
    """The control units and devices that can't take part at an instant, each with the reason.

    These are the nodes that are away. Where transfers fail in an outage, they are also control
    units without a link to the base station, and devices without one to their control unit.
    """
    if not faults:
        return {}
    found: dict[str, str] = {}
    for cluster, names in enumerate(devices):
        control = control_unit(cluster)
        for node, next_hop in ((control, SERVER), *((name, control) for name in names)):
            if not faults.is_up(node, now_ns):
                found[node] = f"{node} is away"
            elif faults.on_outage == "fail" and not all(
                faults.is_usable(*pair, now_ns) for pair in _both_ways(node, next_hop)
            ):
                found[node] = f"the link between {node} and {next_hop} is out"
    return found


def can_take_part(devices: Devices, absent: Mapping[str, str]) -> bool:
    """Whether there is a cluster whose control unit and at least one device are not absent."""
    return any(
        control_unit(cluster) not in absent and any(name not in absent for name in names)
        for cluster, names in enumerate(devices)
    )


def next_return_ns(faults: Faults, devices: Devices, after_ns: int) -> int | None:
    """The first later instant at which a device can take part that can't at this one.

    None if there is no such instant.
    """
    returns = (
        product.next_change_ns(after_ns)
        for product in _presences(faults, devices)
        if not product.at(after_ns)
    )
    return min((each for each in returns if each is not None), default=None)


def _presences(faults: Faults, devices: Devices) -> Iterator[Product]:
    """For every device a signal that is 0 while it can't take part."""
    for cluster, names in enumerate(devices):
        control = control_unit(cluster)
        for name in names:
            yield Product(tuple(_causes(faults, control, name)))


def _causes(faults: Faults, control: str, device: str) -> Iterator[Signal]:
    """The signals that have to be above 0 for a device to take part."""
    nodes = [control, device]
    if faults.on_outage == "fail":
        nodes.append(SERVER)
        for pair in (*_both_ways(device, control), *_both_ways(control, SERVER)):
            if pair in faults.links:
                yield faults.links[pair]
    yield from (faults.up[node] for node in nodes if node in faults.up)


def _both_ways(one: str, other: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (one, other), (other, one)
