"""The energy of every node in a round, from the round's timeline or from its closed forms.

The formulas are those of `collapipe_ns3.prediction.energy`, with the seconds of each transfer of
the timeline. In a slot of a slotted band a node sends or receives for the whole slot, however
little that is and whoever else has a part of it; only the base station radiates in proportion to
its part of the band.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.prediction.directions import Pair, Places, place_of_link
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.links import Links
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import RoundCosts

#: A sender, and the receivers of what it sends at once.
_Way = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class NodeEnergy:
    """The energy of one node in a round, in joules.

    `idle_j` is its idle power × the round's time, and all else is above that. `least_j` is what it
    would take above idle without any part in the round.
    """

    compute_j: float
    tx_j: float
    rx_j: float
    least_j: float
    idle_j: float = 0.0

    @property
    def total_j(self) -> float:
        """All that it takes: at idle, computing, sending and receiving."""
        return self.compute_j + self.tx_j + self.rx_j + self.idle_j

    def with_sounding(self, sounding_j: tuple[float, float]) -> NodeEnergy:
        """With the energy of soundings above idle, sent and received, before the plan was made."""
        tx_j, rx_j = sounding_j
        return replace(
            self,
            tx_j=self.tx_j + tx_j,
            rx_j=self.rx_j + rx_j,
            least_j=self.least_j + tx_j + rx_j,
        )

    def idling(self, idle_w: float, lasting_s: float) -> NodeEnergy:
        """With the energy at idle of a round of so many seconds."""
        return replace(self, idle_j=idle_w * lasting_s)


def energy_of_timeline(
    timeline: Timeline, places: Places, fleet: Fleet, radio: RadioSetting
) -> dict[str, NodeEnergy]:
    """The energy above idle of each node by name, the base station last."""
    sums = _EnergySums(places, fleet, radio)
    sums.add(timeline)
    return sums.by_node()


def energy_of_costs(costs: RoundCosts, places: Places) -> dict[str, NodeEnergy]:
    """The energy above idle by node; the closed forms leave the base station out."""
    spent = costs.spent
    return {
        node: NodeEnergy(
            compute_j=float(spent.compute[at]),
            tx_j=float(spent.tx[at]),
            rx_j=float(spent.rx[at]),
            least_j=float(spent.least[at]),
        )
        for node, at in places.items()
    }


class _EnergySums:
    """Sums for each node of what its processor and its radios do."""

    def __init__(self, places: Places, fleet: Fleet, radio: RadioSetting) -> None:
        self.places, self.fleet, self.radio = places, fleet, radio
        names = [*places, SERVER]
        self.busy_s = dict.fromkeys(names, 0.0)
        self.tx_j = dict.fromkeys(names, 0.0)
        self.rx_s = dict.fromkeys(names, 0.0)
        # Of media that are overheard: all that is sent (by medium), what each node sends, and the
        # transfers that it takes part in.
        self.on_air_s = dict.fromkeys(fleet.medium.tolist(), 0.0)
        self.sent_s = dict.fromkeys(names, 0.0)
        self.part_s = dict.fromkeys(names, 0.0)

    def add(self, timeline: Timeline) -> None:
        """Adds all computations and transfers of a round."""
        air_s: dict[_Way, float] = {}
        band_s: dict[_Way, float] = {}  # as if each had the whole band
        graph, done = timeline.graph, timeline.execution
        further = {task for arrivals in graph.arrivals.values() for task in arrivals}
        for task, name in enumerate(timeline.names):
            if name is None or task in further:  # an arrival is part of its multicast
                continue
            src, dst, _, _ = name
            hold_ns = graph.hold_ns[task]
            if not dst:
                self.busy_s[src] += hold_ns / 1e9
                continue
            names = [timeline.names[arrival] for arrival in graph.arrivals.get(task, ())]
            way = (src, (dst, *(each[1] for each in names if each is not None)))
            band_s[way] = band_s.get(way, 0.0) + hold_ns / 1e9
            if graph.lanes[task] is None:
                if self._links((src, dst))[0].at_once:
                    hold_ns = done.end_ns[task] - graph.latency_ns[task] - done.start_ns[task]
                air_s[way] = air_s.get(way, 0.0) + hold_ns / 1e9
        slotted: set[_Way] = set()
        for lanes, slot_ns in (part for band in done.bands for part in band.used()):
            heard: dict[str, float] = {}
            for lane in lanes:
                way = (str(lane.src), tuple(map(str, lane.receivers)))
                slotted.add(way)
                air_s[way] = air_s.get(way, 0.0) + slot_ns / 1e9
                for node in way[1]:
                    heard[node] = slot_ns / 1e9 * self._duty((way[0], node))
            for node, seconds in heard.items():  # once, from however many senders
                self.rx_s[node] += seconds
        for way, seconds in air_s.items():
            duty = self._duty((way[0], way[1][0]))
            self._add_way(way, seconds * duty, band_s[way] * duty, way in slotted)

    def _add_way(self, way: _Way, air_s: float, band_s: float, slotted: bool) -> None:
        """Adds what is sent one way in `air_s` seconds, or `band_s` if it had the whole band."""
        src, receivers = way
        links, at = self._links((src, receivers[0]))
        # A multicast has the highest power of the links to its receivers.
        watts = max(self._power_w((src, dst)) for dst in receivers)
        server = self.fleet.server
        if src == SERVER:
            radiated_w = server.max_power_w if slotted else watts
            self.tx_j[src] += server.sending_w(radiated_w) * band_s
        else:
            self.tx_j[src] += self._sending_w(src, watts) * air_s
        for dst in receivers:
            if dst == SERVER:
                self.tx_j[dst] += server.sending_w(server.max_power_w) * links.replies * band_s
            else:
                drawn_w = self._sending_w(dst, self._power_w((dst, src)))
                self.tx_j[dst] += drawn_w * links.replies * air_s
        replies = len(receivers) * links.replies
        if SERVER not in (src, *receivers) and self.fleet.overhears[self.places[receivers[0]]]:
            self.on_air_s[int(self.fleet.medium[at[0]])] += (1 + replies) * air_s
            self.sent_s[src] += air_s
            self.part_s[src] += (1 + replies) * air_s
            for dst in receivers:
                self.sent_s[dst] += links.replies * air_s
                self.part_s[dst] += (1 + links.replies) * air_s
            return
        self.rx_s[src] += replies * air_s
        if not slotted:
            for dst in receivers:
                self.rx_s[dst] += band_s if dst == SERVER else air_s

    def by_node(self) -> dict[str, NodeEnergy]:
        """The energy of each node."""
        fleet = self.fleet
        found: dict[str, NodeEnergy] = {}
        for node, at in self.places.items():
            on_air_s = self.on_air_s[int(fleet.medium[at[0]])] if fleet.overhears[at] else 0.0
            rx_w = float(fleet.rx_power_w[at])
            compute_j = float(fleet.computing_w[at]) * self.busy_s[node]
            rx_j = rx_w * (self.rx_s[node] + on_air_s - self.sent_s[node])
            # The control unit has the same tasks under every plan; only its sending differs.
            least_j = compute_j + rx_j if at[1] == 0 else rx_w * (on_air_s - self.part_s[node])
            found[node] = NodeEnergy(
                compute_j, float(fleet.tx_ratio[at]) * self.tx_j[node], rx_j, least_j
            )
        compute_j = fleet.server.power.computing_w * self.busy_s[SERVER]
        rx_j = fleet.server.rx_power_w * self.rx_s[SERVER]
        tx_j = fleet.server.tx_ratio * self.tx_j[SERVER]
        found[SERVER] = NodeEnergy(compute_j, tx_j, rx_j, compute_j + rx_j)
        return found

    def _links(self, pair: Pair) -> tuple[Links, tuple[int, ...]]:
        """All links of the direction of this link, and its index among them."""
        direction, at = place_of_link(self.places, *pair)
        return self.fleet.links[direction], at

    def _duty(self, pair: Pair) -> float:
        links, at = self._links(pair)
        return float(links.duty[at])

    def _sending_w(self, node: str, radiated_w: float) -> float:
        """What a control unit or a device takes above idle while it radiates so many watts."""
        at = self.places[node]
        return float(self.fleet.tx_static_w[at] + self.fleet.tx_per_w[at] * radiated_w)

    def _power_w(self, pair: Pair) -> float:
        """What the sender of a link radiates, in watts."""
        direction, at = place_of_link(self.places, *pair)
        return float(self.radio[direction].power_w[at])
