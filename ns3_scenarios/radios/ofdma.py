"""The scheduled OFDMA radio: between devices, between control units and base stations, or both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ns3_scenarios.power import FixedPower
from ns3_scenarios.propagation import add_channel
from ns3_scenarios.scenario import BLOCK_HZ, ClusterSpec, OfdmaSpec, ScenarioSpec
from ns3_scenarios.surroundings import ofdma_members, surround_ofdma

Pair = tuple[str, str]

_ENGINES = {"tti": "collapipe::OfdmaTtiMedium", "spectrum": "collapipe::OfdmaSpectrumMedium"}
_TRANSPORTS = {"direct": 0, "tcp": 1, "udp": 2}  # collapipe::OfdmaCells::Transport
_UNCHANGED = -1.0
_DUPLEX_SPACING_HZ = 190e6  # of band 1 (3GPP TS 36.101, table 5.7.4-1)


@dataclass(frozen=True, slots=True)
class Cell:
    """Links that are scheduled together: what is granted to one is not there for another.

    Those of one `subnet` reach each other by IP, where packets are what they carry.
    """

    name: str
    spec: OfdmaSpec
    subnet: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """Resource blocks, and the cells that all use them.

    `serves` says what for: "d2d", "uplink", "downlink"; `number` is that of a sub-band.
    """

    blocks: int
    centre_hz: float
    cells: tuple[Cell, ...]
    serves: tuple[str, ...]
    number: int = 0


@dataclass(frozen=True, slots=True)
class Radio:
    """Bands with one clock. `devices` has the channel between devices where `spec`'s is another."""

    name: str
    spec: OfdmaSpec
    bands: tuple[Band, ...]
    devices: OfdmaSpec | None = None


class BandwidthGrant(Protocol):
    """The part of a grant that this radio divides its bands by."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def bandwidth_hz(self) -> float | None: ...


def radios(spec: ScenarioSpec) -> list[Radio]:
    """What a scenario has of this radio: one for D2E, one for D2D, or one that both share."""
    found: list[Radio] = []
    d2d = spec.d2d if isinstance(spec.d2d, OfdmaSpec) else None
    below = _sidelinks(spec, d2d) if d2d is not None and d2d.underlay else ()
    if isinstance(spec.d2e, OfdmaSpec):
        bands = _cellular_bands(spec, spec.d2e, below)
        found.append(Radio("d2e", spec.d2e, bands, d2d if below else None))
    if d2d is not None and not below:
        found.append(Radio("d2d", d2d, _sidelink_bands(spec, d2d)))
    return found


def pairs(spec: ScenarioSpec) -> list[Pair]:
    """The directed pairs of nodes that this radio joins."""
    return [pair for cell in _cells(spec) for pair in cell.pairs]


def unrepaired(spec: ScenarioSpec) -> set[Pair]:
    """The pairs whose transfers may arrive with gaps: by UDP, or an unacknowledged link layer."""
    return {
        pair
        for cell in _cells(spec)
        for pair in cell.pairs
        if cell.spec.transport == "udp" or not cell.spec.sends_again
    }


def install(spec: ScenarioSpec, episode: Any, numbers: Mapping[str, int], native: Any) -> None:
    """Makes the radios; `numbers` maps node names to the episode's nodes."""
    stations = {node.name for node in (spec.bs, *spec.stations)}
    for radio in radios(spec):
        cells = episode.AddOfdma(_ENGINES[radio.spec.engine], _attributes(radio.spec))
        taking_part = {
            end for band in radio.bands for cell in band.cells for p in cell.pairs for end in p
        }
        for node in spec.nodes:
            if node.name in taking_part:
                cells.AddNode(
                    numbers[node.name],
                    node.max_tx_power_w,
                    *_receiver(radio.spec, node.name in stations),
                )
        serves = {use for band in radio.bands for use in band.serves}
        for name, watts in ofdma_members(spec, radio.spec, serves):
            cells.AddNode(numbers[name], watts, radio.spec.noise_figure_db, 0.0)
        in_radio = sorted(numbers[name] for name in stations & taking_part)
        channel = _channel(episode, radio.name, radio.spec)
        between = _channel(episode, "d2d", radio.devices) if radio.devices else channel
        for band in radio.bands:
            place = cells.AddBand(band.blocks, band.centre_hz, in_radio, channel, between)
            _install_links(band, place, cells, numbers)
            _set_powers(spec, band, cells, stations, numbers)
            surround_ofdma(spec, band.serves, band.number, place, cells, episode, numbers, native)


class Bandwidths:
    """The bandwidths that have been granted, so that no cell grants more than it has."""

    def __init__(self, spec: ScenarioSpec) -> None:
        self._cell = {pair: cell for cell in _cells(spec) for pair in cell.pairs}
        self._blocks = {
            cell.name: band.blocks
            for radio in radios(spec)
            for band in radio.bands
            for cell in band.cells
        }
        self._granted_hz: dict[Pair, float] = {}

    def with_grants(self, grants: Sequence[BandwidthGrant]) -> dict[Pair, float]:
        """What would be granted with these; `ValueError` where a cell can't."""
        granted = dict(self._granted_hz)
        for grant in grants:
            if grant.bandwidth_hz is None:
                continue
            cell = self._cell[grant.src, grant.dst]
            most_hz = self._blocks[cell.name] * BLOCK_HZ
            if not 0 < grant.bandwidth_hz <= most_hz * (1 + 1e-9):
                raise ValueError(
                    f"{grant.src} → {grant.dst}: expected a bandwidth above 0 and up to "
                    f"{most_hz:g} Hz, not {grant.bandwidth_hz:g} Hz"
                )
            granted[grant.src, grant.dst] = grant.bandwidth_hz
        touched = {cell.name: cell for cell in (self._cell[g.src, g.dst] for g in grants)}
        for cell in touched.values():
            self._check(cell, granted)
        return granted

    def take(self, granted: Mapping[Pair, float]) -> None:
        """Makes what `with_grants` returned what is granted."""
        self._granted_hz = dict(granted)

    def _check(self, cell: Cell, granted: Mapping[Pair, float]) -> None:
        shares = {pair: granted[pair] for pair in cell.pairs if pair in granted}
        most_hz = self._blocks[cell.name] * BLOCK_HZ
        if sum(shares.values()) > most_hz * (1 + 1e-9):
            each = ", ".join(f"{src} → {dst} {hz:g}" for (src, dst), hz in shares.items())
            raise ValueError(
                f"{cell.name}: expected grants of {most_hz:g} Hz at most, as no resource block "
                f"is granted twice, not {sum(shares.values()):g} Hz ({each})"
            )


def _cells(spec: ScenarioSpec) -> Iterator[Cell]:
    for radio in radios(spec):
        for band in radio.bands:
            yield from band.cells


def _cellular_bands(
    spec: ScenarioSpec, d2e: OfdmaSpec, below: tuple[Cell, ...]
) -> tuple[Band, ...]:
    """The uplink's band and the downlink's, or one for both; each station is a cell."""
    beside = ("d2d",) if below else ()
    up, down = [], []
    for station in (spec.bs, *spec.stations):
        served = [c.cu.name for c in spec.clusters if (c.station or spec.bs.name) == station.name]
        if served:
            up.append((station.name, tuple((cu, station.name) for cu in served)))
            down.append((station.name, tuple((station.name, cu) for cu in served)))
    if d2e.duplex == "tdd":
        cells = tuple(
            Cell(f"cell of {name}", d2e, 0, ups + downs)
            for (name, ups), (_, downs) in zip(up, down, strict=True)
        )
        return (Band(d2e.blocks, d2e.carrier_hz, cells + below, ("uplink", "downlink", *beside)),)
    uplink = tuple(Cell(f"uplink of {name}", d2e, 0, ups) for name, ups in up)
    downlink = tuple(Cell(f"downlink of {name}", d2e, 0, downs) for name, downs in down)
    return (
        Band(d2e.blocks, d2e.carrier_hz, uplink + below, ("uplink", *beside)),
        Band(d2e.blocks, d2e.carrier_hz + _DUPLEX_SPACING_HZ, downlink, ("downlink",)),
    )


def _sidelinks(spec: ScenarioSpec, d2d: OfdmaSpec) -> tuple[Cell, ...]:
    return tuple(
        Cell(
            f"sidelinks of {cluster.cu.name}",
            d2d,
            number + 1,
            tuple((a.name, b.name) for a in cluster.nodes for b in cluster.nodes if a is not b),
        )
        for number, cluster in enumerate(spec.clusters)
    )


def _sidelink_bands(spec: ScenarioSpec, d2d: OfdmaSpec) -> tuple[Band, ...]:
    """The sub-bands that clusters use, side by side; clusters that choose none take turns."""
    blocks = d2d.blocks // d2d.reuse
    cells = _sidelinks(spec, d2d)
    found = []
    for number in range(d2d.reuse):
        using = tuple(
            cell
            for n, (cluster, cell) in enumerate(zip(spec.clusters, cells, strict=True))
            if _sub_band(cluster, n, d2d) == number
        )
        if using:
            offset_hz = (number - (d2d.reuse - 1) / 2) * blocks * BLOCK_HZ
            found.append(Band(blocks, d2d.carrier_hz + offset_hz, using, ("d2d",), number))
    return tuple(found)


def _sub_band(cluster: ClusterSpec, number: int, d2d: OfdmaSpec) -> int:
    return number % d2d.reuse if cluster.channel is None else cluster.channel


def _attributes(spec: OfdmaSpec) -> str:
    return (
        f"Tti={round(spec.tti_s * 1e9)}\n"
        f"TargetBler={spec.target_bler!r}\n"
        f"MaxTransmissions={spec.max_transmissions}\n"
    )


def _receiver(spec: OfdmaSpec, station: bool) -> tuple[float, float]:
    """Noise figure and antenna gain in dB."""
    if station:
        return spec.station_noise_figure_db, spec.station_antenna_gain_db
    return spec.noise_figure_db, spec.antenna_gain_db


def _set_powers(
    spec: ScenarioSpec, band: Band, cells: Any, stations: set[str], numbers: Mapping[str, int]
) -> None:
    most_w = {node.name: node.max_tx_power_w for node in spec.nodes}
    for cell in band.cells:
        power = cell.spec.power
        for src, dst in cell.pairs:
            link = numbers[src], numbers[dst]
            if src in stations or power is None:
                continue
            if isinstance(power, FixedPower):
                cells.Grant(*link, min(power.tx_power_w, most_w[src]), _UNCHANGED)
            else:
                cells.SetOpenLoop(*link, 10 ** (power.p0_dbm / 10 - 3), power.alpha)


def _channel(episode: Any, name: str, radio: OfdmaSpec) -> int:
    return add_channel(episode, name, radio.propagation, radio.carrier_hz)


def _install_links(band: Band, place: int, cells: Any, numbers: Mapping[str, int]) -> None:
    for cell in band.cells:
        index = cells.AddCell(place)
        for src, dst in cell.pairs:
            cells.AddLink(
                place,
                index,
                numbers[src],
                numbers[dst],
                cell.spec.sends_again,
                _TRANSPORTS[cell.spec.transport],
                cell.subnet,
            )
