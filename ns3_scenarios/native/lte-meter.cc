#include "lte-meter.h"

#include "numerology.h"

#include "ns3/lte-amc.h"
#include "ns3/lte-chunk-processor.h"
#include "ns3/lte-enb-phy.h"
#include "ns3/lte-pdcp-tag.h"
#include "ns3/lte-radio-bearer-tag.h"
#include "ns3/lte-rlc-tag.h"
#include "ns3/lte-spectrum-phy.h"
#include "ns3/lte-ue-phy.h"
#include "ns3/lte-ue-power-control.h"
#include "ns3/lte-ue-rrc.h"
#include "ns3/simulator.h"
#include "ns3/wifi-utils.h"

#include <algorithm>
#include <utility>

namespace collapipe
{

using namespace ns3;

namespace
{

constexpr double RE_HZ = 15e3; // a resource element; RSRP is a power per element
// The data part of a subframe in ns-3's PHYs: after three control symbols in the downlink, before
// one symbol for sounding in the uplink.
constexpr double DL_DATA_S = 785713e-9;
constexpr double UL_DATA_S = 928570e-9;
constexpr int64_t UL_GRANT_TTIS = 4; // from the grant's arrival to the transmission (PUSCH)

/// Adds an RLC PDU: the PDCP PDUs, or parts of them, that are end to end after its header. ns-3
/// tags the headers of both; of PDCP's, the second byte.
void
AddPdu(Cargo& cargo, const Packet& pdu)
{
    std::vector<uint32_t> begins;
    for (auto marks = pdu.GetByteTagIterator(); marks.HasNext();)
    {
        const auto mark = marks.Next();
        if (mark.GetTypeId() == RlcTag::GetTypeId())
        {
            begins.push_back(mark.GetEnd());
        }
        else if (mark.GetTypeId() == PdcpTag::GetTypeId())
        {
            begins.push_back(mark.GetStart() - 1);
        }
    }
    std::sort(begins.begin(), begins.end());
    cargo.Add(pdu, begins);
}

} // namespace

void
LteMeter::Ue::DataPower(uint16_t, uint16_t, double dbm)
{
    dataPower = DbmToW(dBm_u{dbm});
}

void
LteMeter::Ue::SoundingPower(uint16_t, uint16_t, double dbm)
{
    soundingPower = DbmToW(dBm_u{dbm});
}

void
LteMeter::Ue::Granted(uint16_t, const std::vector<int>& blocks)
{
    grants.emplace_back(Simulator::Now().GetMilliSeconds() + UL_GRANT_TTIS, blocks);
}

void
LteMeter::Ue::UlStart(Ptr<const PacketBurst> burst)
{
    used.clear();
    while (!grants.empty() && grants.front().first <= Simulator::Now().GetMilliSeconds())
    {
        used.swap(grants.front().second);
        grants.pop_front();
    }
    if (!burst)
    {
        return; // only control, for which ns-3 uses no bandwidth
    }
    upCargo.Clear();
    for (auto pdu = burst->Begin(); pdu != burst->End(); ++pdu)
    {
        AddPdu(upCargo, **pdu);
    }
    up.Sent(UL_DATA_S, dataPower, used.size() * BLOCK_HZ, upCargo);
    auto& usage = meter.m_usage[node];
    usage.txAirtime += UL_DATA_S;
    usage.txEnergy += UL_DATA_S * dataPower;
}

void
LteMeter::Ue::DlReceived(PhyReceptionStatParameters)
{
    down.Received(DL_DATA_S, dlSinr, downCargo);
    meter.m_usage[node].rxAirtime += DL_DATA_S;
}

/// In every subframe, measured on the reference signals.
void
LteMeter::Ue::DlMeasured(uint16_t, uint16_t, double rsrp, double sinr, uint8_t)
{
    dlSinr = sinr;
    const auto hertz = meter.m_blocks * BLOCK_HZ;
    const auto density = rsrp / RE_HZ;
    const auto gain = density * hertz / meter.m_txPower;
    down.Measured(gain, density / sinr, meter.m_txPower, hertz, meter.m_clock.Now());
}

LteMeter::LteMeter(uint32_t blocks, Records& records)
    : m_blocks(blocks),
      m_clock(records.clock),
      m_usage(records.usage)
{
    LteAmc amc;
    // Blocks are allocated in groups (TS 36.213, 7.1.6.1), so that a size belongs to one number of
    // blocks.
    const int group = blocks <= 10 ? 1 : blocks <= 26 ? 2 : blocks <= 63 ? 3 : 4;
    for (int mcs = 0; mcs <= 28; ++mcs)
    {
        for (int used = group; used <= static_cast<int>(blocks); used += group)
        {
            m_blocksOf.emplace(std::pair(mcs, amc.GetDlTbSizeFromMcs(mcs, used) / 8), used);
        }
    }
}

void
LteMeter::Watch(Ptr<LteEnbNetDevice> enb, uint32_t server)
{
    m_server = server;
    const auto phy = enb->GetPhy();
    phy->TraceConnectWithoutContext("DlPhyTransmission", MakeCallback(&LteMeter::DlBlock, this));
    phy->GetDownlinkSpectrumPhy()->TraceConnectWithoutContext(
        "TxStart",
        MakeCallback(&LteMeter::DlStart, this));
    const auto interference = Create<LteChunkProcessor>();
    interference->AddCallback(MakeCallback(&LteMeter::Interference, this));
    phy->GetUplinkSpectrumPhy()->AddInterferenceCtrlChunkProcessor(interference);
    phy->TraceConnectWithoutContext("ReportUeSinr", MakeCallback(&LteMeter::UlMeasured, this));
    const auto data = Create<LteChunkProcessor>();
    data->AddCallback(MakeCallback(&LteMeter::UlData, this));
    phy->GetUplinkSpectrumPhy()->AddDataSinrChunkProcessor(data);
    phy->GetUplinkSpectrumPhy()->TraceConnectWithoutContext(
        "UlPhyReception",
        MakeCallback(&LteMeter::UlReceived, this));
}

void
LteMeter::Watch(Ptr<LteUeNetDevice> device, uint32_t node, RadioLink& up, RadioLink& down)
{
    auto* ue = &m_ues.emplace_back(Ue{*this, device, node, up, down});
    const auto phy = device->GetPhy();
    phy->TraceConnectWithoutContext("ReportUlPhyResourceBlocks", MakeCallback(&Ue::Granted, ue));
    phy->TraceConnectWithoutContext("ReportCurrentCellRsrpSinr",
                                    MakeCallback(&Ue::DlMeasured, ue));
    const auto control = phy->GetUplinkPowerControl();
    control->TraceConnectWithoutContext("ReportPuschTxPower", MakeCallback(&Ue::DataPower, ue));
    control->TraceConnectWithoutContext("ReportSrsTxPower", MakeCallback(&Ue::SoundingPower, ue));
    phy->GetUplinkSpectrumPhy()->TraceConnectWithoutContext("TxStart",
                                                            MakeCallback(&Ue::UlStart, ue));
    phy->GetDownlinkSpectrumPhy()->TraceConnectWithoutContext("DlPhyReception",
                                                              MakeCallback(&Ue::DlReceived, ue));
}

void
LteMeter::SetTxPower(uint32_t node, double watts)
{
    if (node == m_server)
    {
        m_txPower = watts;
    }
    for (auto& ue : m_ues)
    {
        if (ue.node == node)
        {
            ue.dataPower = ue.soundingPower = watts;
        }
    }
}

// Cling rejects the private type as a return type unless it comes after the member's name.
auto
LteMeter::Find(uint16_t rnti) -> Ue*
{
    if (m_byRnti.size() < m_ues.size()) // known when all are attached
    {
        m_byRnti.clear();
        for (auto& ue : m_ues)
        {
            m_byRnti[ue.device->GetRrc()->GetRnti()] = &ue;
        }
    }
    const auto found = m_byRnti.find(rnti);
    return found == m_byRnti.end() ? nullptr : found->second;
}

/// A transport block in the subframe that begins, before its data part.
void
LteMeter::DlBlock(PhyTransmissionStatParameters block)
{
    const auto found = m_blocksOf.find({block.m_mcs, block.m_size});
    const auto used = found == m_blocksOf.end() ? m_blocks : found->second;
    const auto watts = m_txPower * used / m_blocks; // the power is spread evenly over the band
    if (auto* ue = Find(block.m_rnti))
    {
        ue->dlBlock = {watts, used};
    }
    auto& usage = m_usage[m_server];
    if (m_lastTx != block.m_timestamp) // a subframe may have blocks for several terminals
    {
        m_lastTx = block.m_timestamp;
        usage.txAirtime += DL_DATA_S;
    }
    usage.txEnergy += DL_DATA_S * watts;
}

/// The data part, with the blocks of all terminals.
void
LteMeter::DlStart(Ptr<const PacketBurst> burst)
{
    for (auto& ue : m_ues)
    {
        ue.downCargo.Clear();
    }
    for (auto pdu = burst->Begin(); pdu != burst->End(); ++pdu)
    {
        LteRadioBearerTag bearer;
        if ((*pdu)->PeekPacketTag(bearer))
        {
            if (auto* ue = Find(bearer.GetRnti()))
            {
                AddPdu(ue->downCargo, **pdu);
            }
        }
    }
    for (auto& ue : m_ues)
    {
        if (const auto [watts, used] = std::exchange(ue.dlBlock, {}); used > 0)
        {
            ue.down.Sent(DL_DATA_S, watts, used * BLOCK_HZ, ue.downCargo);
        }
    }
}

/// For all transmissions of a subframe, before the results of each.
void
LteMeter::UlData(const SpectrumValue& sinr)
{
    m_ulSinr.assign(sinr.ConstValuesBegin(), sinr.ConstValuesEnd());
}

void
LteMeter::UlReceived(PhyReceptionStatParameters block)
{
    auto* ue = Find(block.m_rnti);
    if (ue && !ue->used.empty())
    {
        double sum = 0;
        for (const auto at : ue->used)
        {
            sum += m_ulSinr.at(at);
        }
        ue->up.Received(UL_DATA_S, sum / ue->used.size(), ue->upCargo);
    }
    if (m_lastRx != block.m_timestamp)
    {
        m_lastRx = block.m_timestamp;
        m_usage[m_server].rxAirtime += UL_DATA_S;
    }
}

/// For each sounding reference signal, before its measurement.
void
LteMeter::Interference(const SpectrumValue& density)
{
    m_interference = Sum(density) / density.GetValuesN();
}

/// From the sounding reference signals, which are sent over the whole band.
void
LteMeter::UlMeasured(uint16_t, uint16_t rnti, double sinr, uint8_t)
{
    if (auto* ue = Find(rnti))
    {
        const auto hertz = m_blocks * BLOCK_HZ;
        const auto gain = sinr * m_interference * hertz / ue->soundingPower;
        ue->up.Measured(gain, m_interference, ue->soundingPower, hertz, m_clock.Now());
    }
}

} // namespace collapipe
