"""A network of clusters and a base station in ns-3; implements `bridge.network.Network`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ns3_scenarios import runtime
from ns3_scenarios.channel import AttributeValue
from ns3_scenarios.checks import problems
from ns3_scenarios.episode_network import ATTACH_LIMIT_NS, ENDINGS, PROBE_BYTES, EpisodeNetwork
from ns3_scenarios.handover import Attachment, CellChange, Cells
from ns3_scenarios.naming import asks_ns3, ns3_problems
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.placing import add_interferers, add_nodes
from ns3_scenarios.radios.grants import GROUP_SIGN, Grant, GrantedBandwidths
from ns3_scenarios.radios.registry import stack_names, stacks
from ns3_scenarios.radios.stack import Construction
from ns3_scenarios.readings import RadioDelivery, RadioLinkState, RadioUsage, ratio, take_ended
from ns3_scenarios.runtime import SimulationError
from ns3_scenarios.scenario import ScenarioSpec
from ns3_scenarios.surroundings import interferer_nodes
from ns3_scenarios.traces import TraceFiles, Tracing

_TRIED = 4  # transfers at once
_TRIAL_BYTES = 100_000  # more than TCP's initial window
_TRIAL_NS = 60_000_000_000  # TCP has given up by then if nothing answers
_UNCHANGED = -1.0

#: TCP as in present-day hosts; ns-3's defaults are older values of the RFCs.
TCP_DEFAULTS: Mapping[str, AttributeValue] = {
    "ns3::TcpSocket::SegmentSize": 1400,  # leaves room for the core network's tunnel
    # More than the bandwidth-delay product of these links (LTE: 75 Mb/s × 20 ms). Larger buffers
    # only fill the radio's queue, for which ns-3's LTE terminals report too rarely.
    "ns3::TcpSocket::SndBufSize": 256 * 1024,
    "ns3::TcpSocket::RcvBufSize": 256 * 1024,
    "ns3::TcpSocketBase::MinRto": "200ms",
    # Below the shortest timeout: otherwise a single segment, as after a pause, always times out
    # before its acknowledgement is sent, and the stream proceeds at one segment per timeout.
    "ns3::TcpSocket::DelAckTimeout": "40ms",
    # On a dead link a transfer is lost after about 25 s, and a connection refused after 31 s.
    "ns3::TcpSocket::DataRetries": 6,
    "ns3::TcpSocket::ConnTimeout": "1s",
    "ns3::TcpSocket::ConnCount": 4,
}


def build(
    spec: ScenarioSpec, *, tried: bool = False, traces: TraceFiles | None = None
) -> Ns3Network:
    """Ends any earlier simulation and builds this one, with all terminals attached, at time 0.

    Raises `ValueError` with every problem of the scenario, and `SimulationError` if ns-3 can't run
    it or terminals can't attach. If a user has chosen types or attributes of ns-3, a copy of the
    process first builds the network, as ns-3 may end the process; with `tried`, a similar scenario
    has been built before, and this is left out.
    """
    found = problems(spec)
    unusual = asks_ns3(spec)
    if unusual and not found:
        found = ns3_problems(spec)
    if found:
        raise ValueError("\n".join(f"{path}: {message}" for path, message in found))
    if unusual and not tried:
        # Single values have been checked, but combinations fail only when the network runs.
        _rehearse(spec)
    return _build(spec, traces)


def _rehearse(spec: ScenarioSpec) -> None:
    """Raises `SimulationError` if ns-3 can't run it; says whether its defaults are the cause."""
    try:
        runtime.rehearse(lambda: _try_out(spec), "ns-3 can't run this scenario")
    except SimulationError as error:
        if not spec.ns3_defaults:
            raise
        try:
            runtime.rehearse(lambda: _try_out(replace(spec, ns3_defaults={})), "")
        except SimulationError:
            raise error from None
        blamed = ", ".join(f"{path} = {value}" for path, value in spec.ns3_defaults.items())
        raise SimulationError(f"{error}; without {blamed} it can") from None


def _build(spec: ScenarioSpec, traces: TraceFiles | None = None) -> Ns3Network:
    runtime.reset(spec.seed, spec.run)
    for path, value in own_defaults(spec).items():
        runtime.set_trusted_default(path, value)
    for path, value in spec.ns3_defaults.items():
        runtime.set_default(path, value)
    with runtime.simulation_errors("building the network"):
        return Ns3Network(spec, traces)


def own_defaults(spec: ScenarioSpec) -> dict[str, AttributeValue]:
    """The attribute defaults of a scenario that differ from ns-3's."""
    defaults = dict(TCP_DEFAULTS)
    for stack in stacks(spec):
        defaults |= stack.ns3_defaults()
    return defaults


def _try_out(spec: ScenarioSpec) -> None:
    """Builds the network and sends some bytes over its radios, in both directions.

    Raises `SimulationError` if these transfers don't end in time.
    """
    network = _build(spec)
    tried: dict[str, tuple[str, str]] = {}
    for (src, dst), radio in network._radio.items():
        tried.setdefault(f"{radio} from {src}", (src, dst))
        if len(tried) == _TRIED:
            break
    for number, (src, dst) in enumerate(tried.values()):
        network._send(number, src, dst, _TRIAL_BYTES)
    left = len(tried)
    while left and network._episode.Advance(_TRIAL_NS) == ENDINGS.index("completed"):
        left -= len(list(take_ended(network._episode)))
    if left:
        raise SimulationError(
            f"a transfer of {_TRIAL_BYTES} bytes was neither delivered nor given up within "
            f"{_TRIAL_NS * 1e-9:g} s"
        )


class Ns3Network(EpisodeNetwork):
    """The running network. Times are nanoseconds since all terminals were attached."""

    def __init__(self, spec: ScenarioSpec, traces: TraceFiles | None = None) -> None:
        native = runtime.native()
        episode = native.Episode(spec.start_ns, spec.lasting_run, spec.fidelity == "sampled")
        numbers = add_nodes(spec, episode, native)
        chosen = stacks(spec)
        unrepaired = {pair for stack in chosen for pair in stack.unrepaired_pairs()}
        super().__init__(episode, numbers, stack_names(spec), unrepaired)
        self._nodes = {node.name: node for node in spec.nodes}
        self._stations = [spec.bs.name, *(station.name for station in spec.stations)]
        self._granted = {pair for stack in chosen if stack.grants_links for pair in stack.pairs()}
        self._bandwidths = GrantedBandwidths(band for stack in chosen for band in stack.bands())
        self._cell = {
            pair: band.name
            for stack in chosen
            for band in stack.bands()
            if band.multicast
            for pair in band.links
        }
        self._groups = 0
        self._around = add_interferers(interferer_nodes(spec), episode, native)
        everyone = {**numbers, **self._around}
        for stack in chosen:
            stack.install(Construction(episode, everyone, native))
        self._tracing = Tracing(traces, numbers) if traces else None
        if not episode.Start(ATTACH_LIMIT_NS):
            self.close()
            raise SimulationError(
                f"not all control units could attach to {spec.bs.name} within "
                f"{ATTACH_LIMIT_NS * 1e-9:g} s: they are too far away or send too weakly"
            )

    def multicast(
        self, src: str, receivers: Sequence[str], size_bytes: int, kind: str = ""
    ) -> list[asyncio.Future[RadioDelivery]]:
        """Sends the same bytes to several nodes; see `bridge.network.Multicast`.

        OFDMA can do it, over its direct path, to nodes in one cell: a station's or a cluster's.
        """
        group = self._group(src, receivers)
        if size_bytes < 1:
            to = ", ".join(receivers)
            raise ValueError(f"{src} → {to}: expected at least one byte, not {size_bytes}")
        self._groups += 1
        transfers = {
            dst: self._begin(src, dst, size_bytes, kind, self._groups) for dst in receivers
        }
        for transfer in transfers.values():
            self._cut_if_cancelled(transfer)
        if len(group) == 1:
            self._send(transfers[group[0]].number, src, group[0], size_bytes)
        else:
            self._episode.Multicast(
                [transfers[dst].number for dst in group],
                self._numbers[src],
                [self._numbers[dst] for dst in group],
                size_bytes,
            )
        return [transfers[dst].future for dst in receivers]

    def _group(self, src: str, receivers: Sequence[str]) -> list[str]:
        """The receivers of a multicast in the order of their names; `ValueError` if it can't be."""
        if not receivers or len(set(receivers)) < len(receivers):
            named = ", ".join(receivers) or "none"
            raise ValueError(f"{src}: expected one receiver or more, each once, not {named}")
        for dst in receivers:
            radio = self._radio_between(src, dst)
            if (src, dst) not in self._cell:
                raise ValueError(
                    f"{src} → {dst}: {radio} can't multicast as it is set up here; "
                    "OFDMA can, with transport: direct"
                )
        cells = sorted({self._cell[src, dst] for dst in receivers})
        if len(cells) > 1:
            raise ValueError(
                f"{src} → {', '.join(receivers)}: expected the receivers of one cell, "
                f"not of {' and '.join(cells)}; send a multicast in each"
            )
        return sorted(receivers)

    def apply(self, grants: Sequence[Grant]) -> None:
        groups = {(g.src, g.dst): self._named(g.src, g.dst) for g in grants}
        for grant in grants:
            self._check_power(grant)
        to_links = [g for g in grants if groups[g.src, g.dst] or (g.src, g.dst) in self._granted]
        powers = self._node_powers([g for g in grants if g not in to_links])
        bandwidths = self._bandwidths.with_grants(to_links)
        # Nothing is changed before all grants are checked.
        for (name, radio), watts in powers.items():
            self._episode.SetTxPower(self._numbers[name], radio, watts)
        self._bandwidths.take(bandwidths)
        for grant in to_links:
            src, to = self._numbers[grant.src], groups[grant.src, grant.dst]
            watts = _UNCHANGED if grant.tx_power_w is None else grant.tx_power_w
            blocks = _UNCHANGED if grant.bandwidth_hz is None else grant.bandwidth_hz / BLOCK_HZ
            if to:
                self._episode.GrantGroup(src, [self._numbers[dst] for dst in to], watts, blocks)
            else:
                self._episode.Grant(src, self._numbers[grant.dst], watts, blocks)

    def _named(self, src: str, dst: str) -> list[str]:
        """The group that the receiver of a grant names; empty for a node."""
        if GROUP_SIGN in dst and dst not in self._numbers:
            return self._group(src, dst.split(GROUP_SIGN))
        self._radio_between(src, dst)
        return []

    async def sound(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Measures the links of these pairs; the results are in `link_state` afterwards.

        OFDMA sends reference signals, Wi-Fi and LTE a short probe. Each is recorded as a transfer
        of the kind `sounding`; a reference signal has no bytes.
        """
        await asyncio.gather(*(self._sound(src, dst) for src, dst in pairs))

    def link_state(self) -> list[RadioLinkState]:
        now_ns = self.now_ns()
        return [
            RadioLinkState(
                src=self._names[link.src],
                dst=self._names[link.dst],
                gain=link.gain,
                interference_w_hz=link.interference,
                sinr=link.sinr,
                goodput_bps=ratio(8e9 * link.deliveredBytes, link.busy),
                loss=ratio(link.lostBytes, link.lostBytes + link.deliveredBytes),
                age_s=(now_ns - link.measured) * 1e-9,
                tx_power_w=link.txPower,
            )
            for link in self._episode.Links()
            if link.measured >= 0 and link.src in self._names and link.dst in self._names
        ]

    def cells(self) -> Cells:
        """See `ns3_scenarios.handover.Handing`."""
        return Cells(
            {
                self._names[each.node]: Attachment(
                    self._stations[each.serving],
                    {
                        station: int(since)
                        for station, since in zip(self._stations, each.since, strict=True)
                        if since >= 0
                    },
                    int(each.next),
                    int(each.resumes),
                )
                for each in self._episode.Attachments()
            },
            tuple(
                CellChange(
                    self._names[each.node],
                    self._names[each.source],
                    self._names[each.target],
                    int(each.at),
                )
                for each in self._episode.CellChanges()
            ),
        )

    def usage(self) -> Mapping[str, RadioUsage]:
        return {
            self._names[number]: RadioUsage(
                tx_airtime_s=used.txAirtime,
                rx_airtime_s=used.rxAirtime,
                tx_energy_j=used.txEnergy,
                rx_energy_j=used.rxAirtime * self._nodes[self._names[number]].rx_power_w,
            )
            for number, used in enumerate(self._episode.Usage())
            if number in self._names
        }

    def close(self) -> None:
        if self._tracing is not None:
            self._tracing.finish()
            self._tracing = None
        super().close()

    def _sound(self, src: str, dst: str) -> asyncio.Future[RadioDelivery]:
        self._radio_between(src, dst)
        if (src, dst) not in self._granted:
            return self.transfer(src, dst, PROBE_BYTES, "sounding")
        sounding = self._begin(src, dst, 0, "sounding")
        self._episode.Sound(sounding.number, self._numbers[src], self._numbers[dst])
        return sounding.future

    def _check_power(self, grant: Grant) -> None:
        most = self._nodes[grant.src].max_tx_power_w
        if grant.tx_power_w is not None and not 0 < grant.tx_power_w <= most:
            raise ValueError(
                f"{grant.src}: expected a power above 0 and up to {most:g} W, "
                f"not {grant.tx_power_w:g} W"
            )

    def _node_powers(self, grants: Sequence[Grant]) -> dict[tuple[str, str], float]:
        """Powers of radios that have one for all links, by node and radio; no bandwidths."""
        powers: dict[tuple[str, str], float] = {}
        for grant in grants:
            radio = self._radio[grant.src, grant.dst]
            if grant.bandwidth_hz is not None:
                raise ValueError(
                    f"{grant.src} → {grant.dst}: {radio} shares its band by itself and can't be "
                    f"granted {grant.bandwidth_hz:g} Hz; leave the bandwidth out"
                )
            if grant.tx_power_w is None:
                continue
            given = powers.setdefault((grant.src, radio), grant.tx_power_w)
            if given != grant.tx_power_w:
                raise ValueError(
                    f"{grant.src}: its {radio} radio has one power for all links, "
                    f"not {given:g} W and {grant.tx_power_w:g} W"
                )
        return powers
