#ifndef COLLAPIPE_LTE_METER_H
#define COLLAPIPE_LTE_METER_H

#include "radio-link.h"
#include "records.h"

#include "ns3/lte-common.h"
#include "ns3/lte-enb-net-device.h"
#include "ns3/lte-ue-net-device.h"
#include "ns3/packet-burst.h"
#include "ns3/ptr.h"
#include "ns3/spectrum-value.h"

#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

namespace collapipe
{

/// Measurements in an LTE cell from ns-3's own traces, for its links and for its nodes.
///
/// A transport block counts for the transfers whose bytes are in its RLC PDUs, packet by packet,
/// HARQ retransmissions included. SINR is that of the transmission itself in the uplink, over its
/// resource blocks, and that of the subframe's reference signals in the downlink.
class LteMeter
{
  public:
    /// A cell with this number of resource blocks in each direction.
    LteMeter(uint32_t blocks, Records& records);

    /// Connects the station's radio, which counts for the node `server`.
    void Watch(ns3::Ptr<ns3::LteEnbNetDevice> enb, uint32_t server);
    /// Connects a terminal's radio, with its links.
    void Watch(ns3::Ptr<ns3::LteUeNetDevice> device,
               uint32_t node,
               RadioLink& up,
               RadioLink& down);
    /// The power to which the node's radio was set.
    void SetTxPower(uint32_t node, double watts);

  private:
    struct Ue
    {
        LteMeter& meter;
        ns3::Ptr<ns3::LteUeNetDevice> device;
        uint32_t node;
        RadioLink& up;
        RadioLink& down;
        // Uplink
        double dataPower{0}; // W
        double soundingPower{0};
        std::deque<std::pair<int64_t, std::vector<int>>> grants{}; // (ms when due, resource blocks)
        std::vector<int> used{}; // resource blocks of the latest transmission
        Cargo upCargo{};
        // Downlink
        double dlSinr{0}; // on the reference signals of this subframe
        std::pair<double, uint32_t> dlBlock{}; // (W, resource blocks) of the block in this subframe
        Cargo downCargo{};

        void DataPower(uint16_t, uint16_t, double dbm);
        void SoundingPower(uint16_t, uint16_t, double dbm);
        void Granted(uint16_t, const std::vector<int>& blocks);
        void UlStart(ns3::Ptr<const ns3::PacketBurst> burst);
        void DlReceived(ns3::PhyReceptionStatParameters);
        void DlMeasured(uint16_t, uint16_t, double rsrp, double sinr, uint8_t);
    };

    Ue* Find(uint16_t rnti);
    void DlBlock(ns3::PhyTransmissionStatParameters block);
    void DlStart(ns3::Ptr<const ns3::PacketBurst> burst);
    void UlReceived(ns3::PhyReceptionStatParameters block);
    void UlData(const ns3::SpectrumValue& sinr);
    void Interference(const ns3::SpectrumValue& density);
    void UlMeasured(uint16_t cell, uint16_t rnti, double sinr, uint8_t);

    uint32_t m_blocks;
    SimClock& m_clock;
    std::vector<RadioUsage>& m_usage;
    uint32_t m_server{0};
    double m_txPower{0};      // of the station, W
    double m_interference{0}; // W/Hz at the station, noise included
    std::vector<double> m_ulSinr; // by resource block, of what the station received last
    std::deque<Ue> m_ues; // a deque keeps their addresses
    std::map<uint16_t, Ue*> m_byRnti;
    std::map<std::pair<int, int>, uint32_t> m_blocksOf; // by (MCS, bytes of a transport block)
    int64_t m_lastTx{-1};
    int64_t m_lastRx{-1};
};

} // namespace collapipe

#endif
