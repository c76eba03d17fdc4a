"""Any ns-3 topology as a network: nodes with Internet stacks, whatever connects them.

Transfers use TCP between the nodes' addresses. As this package installs none of its radios, gains,
powers, airtime and energy are unknown unless the topology's author provides them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from itertools import permutations
from typing import Any

from ns3_scenarios import runtime
from ns3_scenarios.episode_network import ATTACH_LIMIT_NS, PROBE_BYTES, EpisodeNetwork
from ns3_scenarios.radios.grants import Grant
from ns3_scenarios.readings import RadioLinkState, RadioUsage


class HostNetwork(EpisodeNetwork):
    """Hosts by name, each with the address at which the others reach it; time 0 is now.

    `nodes` are `ns3::Node`s with the Internet stack and routes to each other, `addresses` dotted
    IPv4. `label` is the name of the network in the records. A plan's powers and bandwidths are
    passed to `on_grants`, which may raise `ValueError`; without it they have no effect.
    `link_state` and `usage` return measurements, if there are any.

    Build the topology first, then this; the simulation may not have run yet. Raises `ValueError`
    for names that don't agree, and for invalid addresses.
    """

    def __init__(
        self,
        nodes: Mapping[str, Any],
        addresses: Mapping[str, str],
        *,
        label: str = "hosts",
        on_grants: Callable[[Sequence[Grant]], None] | None = None,
        link_state: Callable[[], Sequence[RadioLinkState]] = lambda: (),
        usage: Callable[[], Mapping[str, RadioUsage]] = dict,
    ) -> None:
        ns = runtime.load()
        if lacking := sorted(nodes.keys() ^ addresses.keys()):
            raise ValueError(f"expected a node and an address for each of {', '.join(lacking)}")
        for name, address in addresses.items():
            if not _is_address(address):
                raise ValueError(f"{name}: expected an IPv4 address, not {address!r}")
        episode = runtime.native().Episode()
        numbers = {
            name: int(episode.AddHost(node, ns.Ipv4Address(addresses[name])))
            for name, node in nodes.items()
        }
        super().__init__(episode, numbers, dict.fromkeys(permutations(nodes, 2), label))
        # Keeps the Python objects: ns-3's own references end with the simulation.
        self._kept = nodes
        self._on_grants = on_grants
        self._link_state = link_state
        self._usage = usage
        episode.Start(ATTACH_LIMIT_NS)

    def apply(self, grants: Sequence[Grant]) -> None:
        for grant in grants:
            self._radio_between(grant.src, grant.dst)
        if self._on_grants is not None:
            self._on_grants(grants)

    async def sound(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Sends a short probe over each pair, recorded as a transfer of the kind `sounding`."""
        probes = (self.transfer(src, dst, PROBE_BYTES, "sounding") for src, dst in pairs)
        await asyncio.gather(*probes)

    def link_state(self) -> Sequence[RadioLinkState]:
        return self._link_state()

    def usage(self) -> Mapping[str, RadioUsage]:
        return self._usage()


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
