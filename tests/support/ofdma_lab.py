"""Small OFDMA radios, built straight from the native classes, and a probe on their traces."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ns3_scenarios import runtime
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.runtime.loader import interpreter

BOLTZMANN, KELVIN = 1.380649e-23, 290.0
LOG_DISTANCE = ("ns3::LogDistancePropagationLossModel", {"Exponent": 3.0, "ReferenceLoss": 38.9})

_PROBE = """
#include "ofdma-radio.h"
#include "ns3/simulator.h"
#include <vector>
namespace ofdma_lab {
struct Block {
  uint32_t link, receiver, mcs, blocks, transmissions;
  int64_t ns;
  double sinr, errorRate;
  bool arrived;
};
struct Item {
  uint32_t link;
  uint64_t id;
  int64_t ns;
  uint64_t size, lost;
  uint32_t retransmissions;
  collapipe::Tally tally;
};
struct Probe {
  std::vector<Block> blocks;
  std::vector<double> sinr;
  std::vector<Item> items;
  std::vector<uint64_t> lost; // begin, end of each lost range of each item
  std::vector<double> allocated; // link, ns, blocks, watts
  std::vector<double> states; // node, sends, ns, seconds, watts
  std::vector<double> soundings; // link, id, ns, airtime, energy
  void Reception(const collapipe::OfdmaReception& r) {
    const auto& b = *r.block;
    blocks.push_back({r.link->number, r.receiver->to, b.mcs, b.blocks, b.transmissions,
                      ns3::Simulator::Now().GetNanoSeconds(), b.sinr, b.errorRate, b.arrived});
    sinr.insert(sinr.end(), r.sinr, r.sinr + b.blocks);
  }
  void Transmission(const collapipe::OfdmaTransmission& t) {
    allocated.insert(allocated.end(), {double(t.link->number),
                     double(ns3::Simulator::Now().GetNanoSeconds()), double(t.blocks), t.watts});
  }
  void State(uint32_t node, bool sends, ns3::Time duration, double watts) {
    states.insert(states.end(), {double(node), double(sends),
                  double(ns3::Simulator::Now().GetNanoSeconds()), duration.GetSeconds(), watts});
  }
  void Attach(ns3::Ptr<collapipe::OfdmaRadio> radio) {
    using ns3::MakeCallback;
    radio->TraceConnectWithoutContext("Reception", MakeCallback(&Probe::Reception, this));
    radio->TraceConnectWithoutContext("Transmission", MakeCallback(&Probe::Transmission, this));
    radio->TraceConnectWithoutContext("PhyState", MakeCallback(&Probe::State, this));
    radio->SetItemCallback([this](collapipe::OfdmaLink& link, collapipe::OfdmaItem& item) {
      uint64_t gone = 0;
      for (const auto& range : item.lost) {
        gone += range.end - range.begin;
        lost.insert(lost.end(), {items.size(), range.begin, range.end});
      }
      items.push_back({link.number, item.id, ns3::Simulator::Now().GetNanoSeconds(),
                       item.end - item.begin, gone, item.retransmissions, item.tally});
    });
    radio->SetSoundingCallback([this](const collapipe::OfdmaSounding& s) {
      soundings.insert(soundings.end(), {double(s.link->number), double(s.id),
        double(ns3::Simulator::Now().GetNanoSeconds()), s.tally.airtime, s.tally.energy});
    });
  }
};
}
"""


@functools.cache
def _probe_class() -> Any:
    runtime.native()
    interpreter().cppdef(_PROBE)
    return interpreter().gbl.ofdma_lab.Probe


class Block(NamedTuple):
    """A transport block as its receiver saw it; the receiver is a node."""

    link: int
    receiver: int
    mcs: int
    blocks: int
    transmissions: int
    ns: int
    sinr: float
    error_rate: float
    arrived: bool


class Item(NamedTuple):
    """A transfer that left its link."""

    link: int
    id: int
    ns: int
    size: int
    lost: int
    retransmissions: int
    airtime_s: float
    energy_j: float


@dataclass(frozen=True)
class Node:
    """Where a node is, and how it moves."""

    x: float
    y: float = 0.0
    vx: float = 0.0
    vy: float = 0.0
    watts: float = 0.1
    noise_figure_db: float = 5.0
    antenna_db: float = 0.0


@dataclass
class Lab:
    """One radio. `links` are (band, cell, from, to); `bands` are blocks a band."""

    nodes: Sequence[Node]
    links: Sequence[tuple[int, int, int, int]]
    bands: Sequence[int] = (50,)
    engine: str = "Tti"
    acknowledged: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)
    loss: Sequence[tuple[str, Mapping[str, Any]]] = (LOG_DISTANCE,)
    fading: tuple[str, Mapping[str, Any]] | None = None
    multipath: Mapping[str, Any] | None = None  # attributes of the project's PairChannel
    seed: int = 1

    def __post_init__(self) -> None:
        self.ns = ns = runtime.load()
        self.native = native = runtime.native()
        runtime.reset(self.seed, 1)
        self.probe = _probe_class()()
        self.radio = runtime.make("collapipe::OfdmaRadio", **self.attributes)
        self.radio = self.radio.GetObject[native.OfdmaRadio]()
        self.medium = ns.CreateObject[getattr(native, f"Ofdma{self.engine}Medium")]()
        self.radio.SetMedium(self.medium)
        self.radio.AssignStreams(7)
        self.places: list[Any] = []
        self.owners: list[Any] = []
        for node in self.nodes:
            place = ns.CreateObject[ns.ConstantVelocityMobilityModel]()
            place.SetPosition(ns.Vector(node.x, node.y, 1.5))
            place.SetVelocity(ns.Vector(node.vx, node.vy, 0.0))
            self.places.append(place)
            owner = ns.CreateObject[ns.Node]()
            owner.AggregateObject(place)
            self.owners.append(owner)
            self.radio.AddNode(
                place, owner.GetId(), node.watts, node.noise_figure_db, node.antenna_db
            )
        gain = ns.CreateObject[native.OfdmaGain]()
        models = [self.model(name, **values) for name, values in self.loss]
        for model, following in itertools.pairwise(models):
            model.SetNext(following)
        if self.multipath is not None:
            models[:] = [self.pair_channel(models[0], self.multipath)]
        gain.SetAttribute("Loss", ns.PointerValue(models[0]))
        if self.fading:
            model = runtime.make(self.fading[0], **self.fading[1])
            gain.SetAttribute("Fading", ns.PointerValue(model))
        gain.AssignStreams(100)
        self.gain = gain
        for number, blocks in enumerate(self.bands):
            self.radio.AddBand(blocks, 2e9 + 200e6 * number, gain)
        cells = [0] * len(self.bands)
        self.of = []
        for band, cell, src, dst in self.links:
            while cells[band] <= cell:
                self.radio.AddCell(band)
                cells[band] += 1
            self.of.append(self.radio.AddLink(band, cell, src, dst, self.acknowledged))
        self.probe.Attach(self.radio)

    def model(self, name: str, **values: Any) -> Any:
        """A propagation loss model."""
        return runtime.make(name, **values).GetObject[self.ns.PropagationLossModel]()

    def pair_channel(self, loss: Any, attributes: Mapping[str, Any]) -> Any:
        """The project's channel with this loss between nodes named n0, n1 and so on."""
        model = self.model("collapipe::PairChannel", **attributes)
        self.channel = model.GetObject[self.native.PairChannel]()
        none = interpreter().gbl.ns3.Ptr
        self.channel.SetLoss(
            loss,
            none["ns3::PropagationLossModel"](),
            none["ns3::ThreeGppChannelConditionModel"](),
        )
        for n, place in enumerate(self.places):
            self.channel.AddPlace(place, f"n{n}")
        return model

    def send(self, link: int, size: int, transfer: int = 0) -> None:
        """Gives a link a transfer to carry."""
        item = self.native.OfdmaItem()
        item.id = transfer
        self.radio.Push(self.of[link], item, size)

    def group(self, *links: int) -> Any:
        """The group of these links, which have one sender and one cell."""
        members = interpreter().gbl.std.vector[f"{self.native.OfdmaLink.__cpp_name__}*"]()
        for link in links:
            members.push_back(self.of[link])
        return self.radio.AddGroup(members)

    def multicast(self, group: Any, transfers: Sequence[int], size: int) -> None:
        """Gives a group something to carry; `transfers` has a number for each member."""
        self.radio.PushToGroup(group, list(transfers), size)

    def cut(self, link: int, transfer: int) -> Any:
        """Takes a transfer out of a link: the item, or None where it has ended."""
        item = self.native.OfdmaItem()
        return item if self.radio.Cut(self.of[link], transfer, item) else None

    def run(self, seconds: float | None = None) -> float:
        """Simulates for a time, or until nothing is left; the time now."""
        simulator = self.ns.Simulator
        if seconds is not None:
            simulator.Stop(self.ns.Seconds(seconds))
        simulator.Run()
        return float(simulator.Now().GetSeconds())

    def hear(
        self, signals: Sequence[tuple[int, int, int, int, float]], which: Any, band: int = 0
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Puts signals on the air for a TTI; densities of one at its receiver, and of the rest."""
        on_air = self.native_vector(signals)
        self.medium.Transmit(band, on_air, self.ns.MilliSeconds(1))
        self.run(1e-3)
        wanted, unwanted = np.zeros(self.bands[band]), np.zeros(self.bands[band])
        self.medium.Receive(band, self.native.OfdmaSignal(*which), wanted, unwanted)
        return wanted[: which[3]], unwanted[: which[3]]

    def native_vector(self, signals: Sequence[tuple[int, int, int, int, float]]) -> Any:
        """Signals as the media take them."""
        on_air = interpreter().gbl.std.vector[self.native.OfdmaSignal]()
        for signal in signals:
            on_air.push_back(self.native.OfdmaSignal(*signal))
        return on_air

    @property
    def blocks(self) -> list[Block]:
        """Every transport block that was received, in order."""
        return [
            Block(
                b.link,
                b.receiver,
                b.mcs,
                b.blocks,
                b.transmissions,
                b.ns,
                b.sinr,
                b.errorRate,
                b.arrived,
            )
            for b in self.probe.blocks
        ]

    @property
    def items(self) -> list[Item]:
        """Every transfer that has ended, in order."""
        return [
            Item(
                i.link,
                i.id,
                i.ns,
                i.size,
                i.lost,
                i.retransmissions,
                i.tally.airtime,
                i.tally.energy,
            )
            for i in self.probe.items
        ]

    def lost(self, item: int) -> list[tuple[int, int]]:
        """The lost ranges of an item, by its place in `items`."""
        triples = list(self.probe.lost)
        return [
            (triples[i + 1], triples[i + 2])
            for i in range(0, len(triples), 3)
            if triples[i] == item
        ]

    @property
    def allocated(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Rows of link, ns, blocks, watts: what went on the air."""
        return np.array(list(self.probe.allocated)).reshape(-1, 4)

    @property
    def states(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Rows of node, sends, ns, seconds, watts: the PHY's own account."""
        return np.array(list(self.probe.states)).reshape(-1, 5)

    @property
    def soundings(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Rows of link, id, ns, airtime, energy."""
        return np.array(list(self.probe.soundings)).reshape(-1, 5)

    @property
    def sinr(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The SINR on every resource block of every transport block, in order."""
        return np.array(list(self.probe.sinr))

    def close(self) -> None:
        """Ends the simulation."""
        self.radio.Dispose()
        self.ns.Simulator.Destroy()


def loss_db(distance_m: float) -> float:
    """The lab's usual path loss."""
    return 38.9 + 30.0 * math.log10(distance_m)


def distance_for_sinr(sinr_db: float, blocks: int, watts: float = 0.1) -> float:
    """Where a link alone has this SINR over so many blocks, with the lab's usual loss and noise."""
    noise_w = BOLTZMANN * KELVIN * 10**0.5 * blocks * BLOCK_HZ
    snr_at_1_m_db = 10 * math.log10(watts / noise_w) - 38.9
    return float(10 ** ((snr_at_1_m_db - sinr_db) / 30))
