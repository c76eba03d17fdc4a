"""What a radio stack is: the one interface by which the rest of the package uses any of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ns3_scenarios.channel import AttributeValue
from ns3_scenarios.problem import Problem
from ns3_scenarios.scenario import Pair, Tier


@dataclass(frozen=True, slots=True)
class Construction:
    """An episode under construction: what a stack is installed in.

    `episode` is the native `Episode`, `numbers` has its number of every node, interferers included,
    by name, and `native` is the native namespace.
    """

    episode: Any
    numbers: Mapping[str, int]
    native: Any


@dataclass(frozen=True, slots=True)
class RadioBand:
    """A band that directed links share, as a planner needs to know it.

    The bandwidth is that of all links together. How they share it:

    - with `grants`, a plan may grant each link a part of it, and the others share the rest;
    - `shared` links take turns at the whole band, and with `at_once` each takes a part of the band
      at the same time;
    - `half_duplex` nodes send or receive, never both at once;
    - the band is allocated in slots of `slot_s` where that is not 0;
    - the nodes in `overhear` receive everything that is sent.

    The rest is what to expect before anything was measured. `densities` are points (linear SINR,
    bit/s/Hz) of the rate while a link sends, of which `efficiency` is payload. A transfer occupies
    its link for `overhead` times its airtime and arrives `latency_s` later; its receiver sends
    acknowledgements for `replies` times its airtime. Where `repeat_s` is not 0, it is the delay of
    a retransmission. `least_hz` is the narrowest part of the band into which a sender can put its
    power; 0 where it always uses all of it. With `multicast`, one transmission can be for several
    receivers.
    """

    name: str
    links: tuple[Pair, ...]
    bandwidth_hz: float
    densities: tuple[tuple[float, float], ...]
    latency_s: float
    grants: bool = False
    shared: bool = False
    at_once: bool = False
    half_duplex: bool = False
    slot_s: float = 0.0
    overhear: frozenset[str] = frozenset()
    efficiency: float = 1.0
    overhead: float = 1.0
    replies: float = 0.0
    repeat_s: float = 0.0
    least_hz: float = 0.0
    multicast: bool = False


class RadioStack(Protocol):
    """A radio technology in one scenario, at the tiers whose specs are of its type.

    A new stack is a module with a class that has these members, a spec in `ns3_scenarios.scenario`
    (see `RadioSpec`), and a line in `ns3_scenarios.radios.registry.STACKS`. docs/radio.md, "A stack
    of your own", lists the other files that name each stack.
    """

    @property
    def name(self) -> str:
        """The name in records and messages, and that of the native `Episode::SetTxPower`."""
        ...

    @property
    def tiers(self) -> Collection[Tier]:
        """The tiers whose links it carries."""
        ...

    @property
    def joins_tiers(self) -> bool:
        """Whether the tiers share a band, so that nodes of one hear those of the other."""
        ...

    @property
    def grants_links(self) -> bool:
        """Whether each link has a power and a bandwidth of its own, and is sounded by itself.

        Otherwise a node has one power for all of its links, links share the band without a plan,
        and a link is sounded by a short transfer.
        """
        ...

    @property
    def fixed_cells(self) -> str:
        """Why control units can't change their base station; empty if they can."""
        ...

    def pairs(self) -> Sequence[Pair]:
        """The directed pairs of nodes that it joins."""
        ...

    def unrepaired_pairs(self) -> Collection[Pair]:
        """Those of its pairs whose transfers may arrive with gaps."""
        ...

    def problems(self) -> Iterator[Problem]:
        """Everything wrong with its specs and with what the scenario asks of it.

        Propagation and node positions are checked for all stacks alike.
        """
        ...

    def ns3_defaults(self) -> Mapping[str, AttributeValue]:
        """Defaults of ns-3's attributes that it needs to differ, by `type::attribute`."""
        ...

    def install(self, construction: Construction) -> None:
        """Adds its devices, its interferers, and the powers that hold until a plan sets others."""
        ...

    def bands(self) -> Iterator[RadioBand]:
        """The bands of its links, for planners; the scenario has no problems."""
        ...

    def untraced(self, kinds: Sequence[str]) -> Iterator[str]:
        """A line for each of these kinds of traces that it can't write, or not in full."""
        ...
