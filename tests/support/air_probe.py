"""A probe on ns-3's PHYs: every frame and transport block, with the packets in it as bytes."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from ns3_scenarios import runtime
from ns3_scenarios.runtime.loader import interpreter

_CODE = """
#include "ofdma-cells.h"
#include "ns3/ipv4-l3-protocol.h"
#include "ns3/lte-enb-net-device.h"
#include "ns3/lte-enb-phy.h"
#include "ns3/lte-radio-bearer-tag.h"
#include "ns3/lte-rlc-header.h"
#include "ns3/lte-spectrum-phy.h"
#include "ns3/lte-spectrum-signal-parameters.h"
#include "ns3/lte-ue-net-device.h"
#include "ns3/node-list.h"
#include "ns3/packet-burst.h"
#include "ns3/simulator.h"
#include "ns3/spectrum-channel.h"
#include "ns3/wifi-net-device.h"
#include "ns3/wifi-phy.h"
#include "ns3/wifi-psdu.h"
namespace wire_probe {
using namespace ns3;
constexpr uint32_t HEADERS = 100;
struct Frame {
  int64_t ns;
  double seconds, watts, sinr;
  uint32_t node; // the sender
  uint32_t data; // not control alone
  uint32_t again;
  uint32_t radio; // see RADIOS
};
struct Piece { // a packet, or a part of it, or an RLC PDU
  uint64_t frame, id, bytes, skip, begin, end; // begin, end: in `raw`
  int64_t bearer; // of an RLC PDU
};
struct Probe {
  std::vector<Frame> frames, received;
  std::vector<double> radiated; // node, seconds, joules
  std::vector<Piece> pieces, receivedPieces;
  std::vector<uint8_t> raw;
  std::vector<uint64_t> addresses; // address, node
  std::vector<uint64_t> segments; // ns, from, to, begin and end in raw, size

  void Put(std::vector<Piece>& where, std::size_t frame, const Packet& p, uint64_t id,
           uint64_t bytes, uint64_t skip, uint64_t most, int64_t bearer) {
    const auto begin = raw.size();
    raw.resize(begin + std::min<uint64_t>(most, p.GetSize()));
    p.CopyData(raw.data() + begin, raw.size() - begin);
    where.push_back({frame, id, bytes, skip, begin, raw.size(), bearer});
  }
  // Wi-Fi
  void Psdus(Ptr<WifiPhy> phy, WifiConstPsduMap psdus, WifiTxVector vector, double watts) {
    const auto duration = WifiPhy::CalculateTxDuration(psdus, vector, phy->GetPhyBand());
    const auto& psdu = psdus.begin()->second;
    const bool data = psdu->GetHeader(0).IsData();
    frames.push_back({Simulator::Now().GetNanoSeconds(), duration.GetSeconds(), watts, 0,
                      phy->GetDevice()->GetNode()->GetId(), data, 0, 0});
    radiated.insert(radiated.end(), {double(frames.back().node), duration.GetSeconds(),
                                     duration.GetSeconds() * watts});
    for (std::size_t i = 0; data && i < psdu->GetNMpdus(); ++i) {
      const auto& p = *psdu->GetPayload(i);
      Put(pieces, frames.size() - 1, p, p.GetUid(), p.GetSize(), 8, HEADERS, -1);
    }
  }
  // LTE
  void Signal(Ptr<SpectrumSignalParameters> signal) {
    const auto data = DynamicCast<LteSpectrumSignalParametersDataFrame>(signal);
    if (!data || !data->packetBurst) return;
    const auto node = signal->txPhy->GetDevice()->GetNode()->GetId();
    const bool down = bool(DynamicCast<LteEnbNetDevice>(signal->txPhy->GetDevice()));
    radiated.insert(radiated.end(), {double(node), signal->duration.GetSeconds(),
                                     signal->duration.GetSeconds() * Integral(*signal->psd)});
    std::map<uint16_t, std::size_t> blocks; // one a terminal
    for (auto p = data->packetBurst->Begin(); p != data->packetBurst->End(); ++p) {
      LteRadioBearerTag bearer;
      (*p)->PeekPacketTag(bearer);
      if (!blocks.count(bearer.GetRnti())) {
        blocks[bearer.GetRnti()] = frames.size();
        frames.push_back({Simulator::Now().GetNanoSeconds(), signal->duration.GetSeconds(),
                          Integral(*signal->psd), 0, node, 1, 0, 1u + down});
      }
      if (bearer.GetLcid() < 3) continue; // signalling
      auto pdu = (*p)->Copy();
      LteRlcHeader header;
      pdu->RemoveHeader(header);
      Put(pieces, blocks[bearer.GetRnti()], *pdu, header.GetSequenceNumber().GetValue(),
          pdu->GetSize(), 0, pdu->GetSize(), 2 * bearer.GetRnti() + down);
    }
    if (blocks.empty())
      frames.push_back({Simulator::Now().GetNanoSeconds(), signal->duration.GetSeconds(),
                        Integral(*signal->psd), 0, node, 1, 0, 1u + down});
  }
  // OFDMA
  void Block(std::vector<Frame>& where, std::vector<Piece>& parts,
             const collapipe::OfdmaLink& link, const collapipe::OfdmaTransportBlock& block,
             double seconds, double watts, double sinr, uint32_t node) {
    where.push_back({Simulator::Now().GetNanoSeconds(), seconds, watts, sinr, node, 1,
                     block.transmissions > 1, 3});
    link.queue.ForEach(block.bytes, [&](const collapipe::OfdmaItem& item,
                                        collapipe::ByteRange part) {
      if (item.packet)
        Put(parts, where.size() - 1, *item.packet, item.packet->GetUid(), part.Size(), 0, HEADERS,
            -1);
      else
        parts.push_back({where.size() - 1, item.id, part.Size(), 0, 0, 0, -1});
    });
  }
  void Sent(const collapipe::OfdmaTransmission& sent) {
    for (const auto& block : sent.link->OnAir())
      Block(frames, pieces, *sent.link, block, sent.seconds * block.blocks / sent.blocks,
            sent.watts, 0, 0);
  }
  void Received(const collapipe::OfdmaReception& got) {
    const auto mean = std::accumulate(got.sinr, got.sinr + got.block->blocks, 0.0);
    Block(received, receivedPieces, *got.link, *got.block, got.seconds, 0,
          mean / got.block->blocks, 0);
  }
  // TCP
  void Segment(uint64_t node, const Ipv4Header& ip, Ptr<const Packet> p, uint32_t) {
    const auto begin = raw.size();
    raw.resize(begin + std::min<uint64_t>(HEADERS, p->GetSize()));
    p->CopyData(raw.data() + begin, raw.size() - begin);
    if (ip.GetProtocol() == 6)
      for (const auto value : {uint64_t(Simulator::Now().GetNanoSeconds()), node,
                               uint64_t(ip.GetDestination().Get()), uint64_t(begin),
                               uint64_t(raw.size()), uint64_t(p->GetSize())})
        segments.push_back(value);
  }
  void Attach() {
    std::set<Ptr<SpectrumChannel>> lte;
    for (uint32_t n = 0; n < NodeList::GetNNodes(); ++n) {
      const auto node = NodeList::GetNode(n);
      if (const auto ipv4 = node->GetObject<Ipv4L3Protocol>()) {
        for (uint32_t i = 1; i < ipv4->GetNInterfaces(); ++i)
          for (uint32_t a = 0; a < ipv4->GetNAddresses(i); ++a)
            addresses.insert(addresses.end(), {ipv4->GetAddress(i, a).GetLocal().Get(), n});
        ipv4->TraceConnectWithoutContext("SendOutgoing",
            Callback<void, const Ipv4Header&, Ptr<const Packet>, uint32_t>(
                [this, n](const Ipv4Header& ip, Ptr<const Packet> p, uint32_t i) {
                  Segment(n, ip, p, i); }));
      }
      for (uint32_t d = 0; d < node->GetNDevices(); ++d) {
        if (const auto wifi = DynamicCast<WifiNetDevice>(node->GetDevice(d))) {
          const auto phy = wifi->GetPhy();
          phy->TraceConnectWithoutContext("PhyTxPsduBegin",
              Callback<void, WifiConstPsduMap, WifiTxVector, double>(
                  [this, phy](WifiConstPsduMap psdus, WifiTxVector vector, double watts) {
                    Psdus(phy, psdus, vector, watts); }));
        }
        if (const auto enb = DynamicCast<LteEnbNetDevice>(node->GetDevice(d)))
          for (const auto& phy : {enb->GetPhy()->GetDownlinkSpectrumPhy(),
                                  enb->GetPhy()->GetUplinkSpectrumPhy()})
            if (lte.insert(phy->GetChannel()).second)
              phy->GetChannel()->TraceConnectWithoutContext("TxSigParams",
                                                   MakeCallback(&Probe::Signal, this));
      }
    }
  }
  void AttachTo(collapipe::OfdmaCells& cells) {
    cells.Radio()->TraceConnectWithoutContext("Transmission", MakeCallback(&Probe::Sent, this));
    cells.Radio()->TraceConnectWithoutContext("Reception", MakeCallback(&Probe::Received, this));
  }
};
}
"""

FRAME = np.dtype(
    [
        ("ns", "i8"),
        *((name, "f8") for name in ("seconds", "watts", "sinr")),
        *((name, "u4") for name in ("node", "data", "again", "radio")),
    ],
    align=True,
)
PIECE = np.dtype(
    [(name, "u8") for name in ("frame", "id", "bytes", "skip", "begin", "end")] + [("bearer", "i8")]
)


@functools.cache
def probe_class() -> Any:
    """Attach() it, and AttachTo() each OFDMA radio."""
    runtime.native()
    interpreter().cppdef(_CODE)
    return interpreter().gbl.wire_probe.Probe


def array(vector: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A vector of the probe's as an array of records."""
    count = vector.size()
    if not count:
        return np.empty(0, dtype)
    address = interpreter().addressof(vector.data())
    return np.frombuffer(ctypes.string_at(address, count * dtype.itemsize), dtype)
