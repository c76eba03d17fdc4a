"""How a scenario divides the spectrum of the OFDMA radio: radios, bands, and cells of links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ns3_scenarios.interferers import BandName
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.scenario import ClusterSpec, OfdmaSpec, Pair, ScenarioSpec

_DUPLEX_SPACING_HZ = 190e6  # of band 1 (3GPP TS 36.101, table 5.7.4-1)


@dataclass(frozen=True, slots=True)
class Cell:
    """Links with one scheduler: what is granted to one of them is not available to another.

    Nodes with the same `subnet` reach each other by IP if the transport uses packets.
    """

    name: str
    spec: OfdmaSpec
    subnet: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class OfdmaBand:
    """Consecutive resource blocks, and the cells that all use them; `number` is a sub-band's."""

    blocks: int
    centre_hz: float
    cells: tuple[Cell, ...]
    serves: tuple[BandName, ...]
    number: int = 0


@dataclass(frozen=True, slots=True)
class OfdmaRadio:
    """Bands with a common clock. `devices` is the spec of links between devices in an underlay."""

    name: str
    spec: OfdmaSpec
    bands: tuple[OfdmaBand, ...]
    devices: OfdmaSpec | None = None


def radios(
    scenario: ScenarioSpec, d2d: OfdmaSpec | None, d2e: OfdmaSpec | None
) -> list[OfdmaRadio]:
    """One radio for each tier that uses OFDMA, or one for both in an underlay."""
    found: list[OfdmaRadio] = []
    below = _sidelinks(scenario, d2d) if d2d is not None and d2d.underlay else ()
    if d2e is not None:
        bands = _cellular_bands(scenario, d2e, below)
        found.append(OfdmaRadio("d2e", d2e, bands, d2d if below else None))
    if d2d is not None and not below:
        found.append(OfdmaRadio("d2d", d2d, _sidelink_bands(scenario, d2d)))
    return found


def cells(radio: OfdmaRadio) -> Iterator[tuple[OfdmaBand, Cell]]:
    """Every cell of a radio, with its band."""
    for band in radio.bands:
        for cell in band.cells:
            yield band, cell


def _cellular_bands(
    scenario: ScenarioSpec, d2e: OfdmaSpec, below: tuple[Cell, ...]
) -> tuple[OfdmaBand, ...]:
    """The uplink's band and the downlink's, or one for both; each station is a cell.

    With handover there are cells of all stations, in their order, before those of an underlay.
    """
    underlay: tuple[BandName, ...] = ("d2d",) if below else ()
    up, down = [], []
    for station in (scenario.bs, *scenario.stations):
        served = [
            cluster.cu.name
            for cluster in scenario.clusters
            if (cluster.station or scenario.bs.name) == station.name
        ]
        if served or scenario.handover is not None:
            up.append((station.name, tuple((cu, station.name) for cu in served)))
            down.append((station.name, tuple((station.name, cu) for cu in served)))
    if d2e.duplex == "tdd":
        both = tuple(
            Cell(f"cell of {name}", d2e, 0, ups + downs)
            for (name, ups), (_, downs) in zip(up, down, strict=True)
        )
        return (
            OfdmaBand(d2e.blocks, d2e.carrier_hz, both + below, ("uplink", "downlink", *underlay)),
        )
    uplink = tuple(Cell(f"uplink of {name}", d2e, 0, ups) for name, ups in up)
    downlink = tuple(Cell(f"downlink of {name}", d2e, 0, downs) for name, downs in down)
    return (
        OfdmaBand(d2e.blocks, d2e.carrier_hz, uplink + below, ("uplink", *underlay)),
        OfdmaBand(d2e.blocks, d2e.carrier_hz + _DUPLEX_SPACING_HZ, downlink, ("downlink",)),
    )


def _sidelinks(scenario: ScenarioSpec, d2d: OfdmaSpec) -> tuple[Cell, ...]:
    return tuple(
        Cell(
            f"sidelinks of {cluster.cu.name}",
            d2d,
            number + 1,
            tuple((a.name, b.name) for a in cluster.nodes for b in cluster.nodes if a is not b),
        )
        for number, cluster in enumerate(scenario.clusters)
    )


def _sidelink_bands(scenario: ScenarioSpec, d2d: OfdmaSpec) -> tuple[OfdmaBand, ...]:
    """The sub-bands that clusters use, side by side; clusters that choose none take turns."""
    blocks = d2d.blocks // d2d.reuse
    sidelinks = _sidelinks(scenario, d2d)
    found = []
    for number in range(d2d.reuse):
        using = tuple(
            cell
            for n, (cluster, cell) in enumerate(zip(scenario.clusters, sidelinks, strict=True))
            if _sub_band(cluster, n, d2d) == number
        )
        if using:
            offset_hz = (number - (d2d.reuse - 1) / 2) * blocks * BLOCK_HZ
            found.append(OfdmaBand(blocks, d2d.carrier_hz + offset_hz, using, ("d2d",), number))
    return tuple(found)


def _sub_band(cluster: ClusterSpec, number: int, d2d: OfdmaSpec) -> int:
    return number % d2d.reuse if cluster.channel is None else cluster.channel
