#include "ofdma-cells.h"

#include "attribute-table.h"
#include "byte-stream.h"
#include "datagram-stream.h"
#include "direct-stream.h"
#include "numerology.h"
#include "ofdma-net-device.h"
#include "ofdma-spectrum-medium.h"

#include "ns3/ipv4-address-helper.h"
#include "ns3/ipv4.h"
#include "ns3/net-device-container.h"
#include "ns3/pointer.h"
#include "ns3/simple-channel.h"
#include "ns3/simulator.h"

#include <algorithm>

namespace collapipe
{

using namespace ns3;

namespace
{
// Random streams are fixed, so that runs repeat with every engine and order of construction.
constexpr int64_t RADIO_STREAM = 1 << 20;
// Subnets that the other radios don't use.
constexpr uint32_t FIRST_SUBNET = (10U << 24) + (128U << 16);
constexpr uint32_t SUBNET_SIZE = 1U << 12;
// As in a radio's own queue; data beyond it is dropped.
constexpr uint64_t MOST_BACKGROUND_BYTES = 1 << 20;
constexpr const char* SUBNET_MASK = "255.255.240.0";
} // namespace

struct OfdmaCells::Cells
{
    struct Joint
    {
        OfdmaLink* ofdma;
        RadioLink* record;
        Transport transport;
        Ptr<OfdmaNetDevice> sender{};   // null without packets
        Ptr<OfdmaNetDevice> receiver{};
        DirectStream* stream{nullptr}; // null with packets
    };

    struct Subnet
    {
        Ptr<SimpleChannel> channel;
        Ipv4AddressHelper addresses;
        std::map<uint32_t, Ptr<OfdmaNetDevice>> devices{}; // by node
    };

    const std::vector<Ptr<Node>>& nodes;
    const std::vector<Ptr<PairChannel>>& channels;
    int64_t runTime; // at the clock's time 0
    SimClock& clock;
    std::deque<RadioLink>& links;
    std::vector<RadioUsage>& usage;
    EndedTransfers& ended;
    Ptr<OfdmaRadio> radio{};
    std::map<uint32_t, uint32_t> byNode{};      // the radio's numbers of nodes
    std::vector<uint32_t> nodeOf{};             // by the radio's number
    std::deque<Joint> joints{};                 // by the link's number
    std::map<std::pair<uint32_t, uint32_t>, Joint*> byPair{};
    std::deque<RadioLink> unrecorded{}; // of background links
    std::map<std::pair<uint32_t, uint32_t>, OfdmaLink*> background{};
    // By the radio's number of the sender, and the receivers.
    std::map<std::pair<uint32_t, std::vector<uint32_t>>, OfdmaLink*> groups{};
    std::unique_ptr<OfdmaHandover> handover{};
    std::map<uint32_t, Subnet> subnets{};
    Cargo cargo{}; // of the current transport block

    Ptr<OfdmaNetDevice> DeviceOf(uint32_t node, uint32_t subnet)
    {
        auto found = subnets.find(subnet);
        if (found == subnets.end())
        {
            const Ipv4Address first(FIRST_SUBNET + SUBNET_SIZE * subnet);
            found = subnets
                        .emplace(subnet,
                                 Subnet{CreateObject<SimpleChannel>(),
                                        Ipv4AddressHelper(first, SUBNET_MASK)})
                        .first;
        }
        auto& device = found->second.devices[node];
        if (!device)
        {
            device = CreateObject<OfdmaNetDevice>();
            device->SetChannel(found->second.channel);
            nodes.at(node)->AddDevice(device);
            found->second.addresses.Assign(NetDeviceContainer(device));
        }
        return device;
    }

    OfdmaLink& GroupOf(uint32_t src, const std::vector<uint32_t>& dsts)
    {
        auto& group = groups[{byPair.at({src, dsts.front()})->ofdma->from, dsts}];
        if (!group)
        {
            std::vector<OfdmaLink*> members;
            for (const auto dst : dsts)
            {
                members.push_back(byPair.at({src, dst})->ofdma);
            }
            group = &radio->AddGroup(members);
            auto& record = unrecorded.emplace_back(RadioLink{src, dsts.front(), {}});
            joints.emplace_back(Joint{group, &record, DIRECT});
        }
        return *group;
    }

    void SendTogether(const std::vector<uint64_t>& ids,
                      uint32_t src,
                      const std::vector<uint32_t>& dsts,
                      uint64_t size)
    {
        if (dsts.size() == 1)
        {
            byPair.at({src, dsts.front()})->stream->Send(ids.front(), size);
            return;
        }
        auto& group = GroupOf(src, dsts);
        for (std::size_t i = 0; i < dsts.size(); ++i)
        {
            byPair.at({src, dsts[i]})->stream->Join(ids[i], group);
        }
        radio->PushToGroup(group, ids, size);
    }

    Ipv4Address AddressOf(const Ptr<OfdmaNetDevice>& device) const
    {
        const auto ipv4 = device->GetNode()->GetObject<Ipv4>();
        return ipv4->GetAddress(ipv4->GetInterfaceForDevice(device), 0).GetLocal();
    }

    void Sent(const OfdmaTransmission& sent)
    {
        const auto& joint = joints[sent.link->number];
        for (const auto& block : sent.link->OnAir())
        {
            Load(*sent.link, block);
            const auto share = static_cast<double>(block.blocks) / sent.blocks;
            joint.record->Sent(share * sent.seconds, sent.watts, sent.blocks * BLOCK_HZ, cargo);
            if (joint.transport == UDP && block.transmissions > 1)
            {
                joint.record->SentAgain(cargo);
            }
        }
    }

    void Received(const OfdmaReception& received)
    {
        auto& record = *joints[received.receiver->number].record;
        Load(*received.link, *received.block);
        record.Received(received.seconds, received.block->sinr, cargo);
        Measured(*received.receiver, record);
    }

    /// Finds the packets in a transport block. Transfers without packets are counted by the link
    /// layer.
    void Load(const OfdmaLink& link, const OfdmaTransportBlock& block)
    {
        cargo.Clear();
        link.queue.ForEach(block.bytes, [this](const OfdmaItem& item, ByteRange part) {
            if (item.packet)
            {
                cargo.Add(*item.packet, part.Size());
            }
        });
    }

    void Measured(const OfdmaLink& link, RadioLink& record) const
    {
        const auto& measured = link.Measured();
        if (measured.known)
        {
            record.gain = measured.gain;
            record.interference = measured.interference;
            record.sinr = measured.sinr;
            record.txPower = measured.watts;
            record.measured = clock.Now();
        }
    }

    void State(uint32_t node, bool sends, Time duration, double watts)
    {
        auto& used = usage[nodeOf[node]];
        const auto seconds = duration.GetSeconds();
        (sends ? used.txAirtime : used.rxAirtime) += seconds;
        used.txEnergy += seconds * watts;
    }

    void Left(OfdmaLink& link, OfdmaItem& item)
    {
        auto& joint = joints[link.number];
        if (item.packet)
        {
            joint.receiver->Left(item, Mac48Address::ConvertFrom(joint.sender->GetAddress()));
        }
        else if (joint.stream)
        {
            joint.stream->Left(item);
        }
    }

    void Sounded(const OfdmaSounding& sounding)
    {
        auto& record = *joints[sounding.link->number].record;
        const auto& tally = sounding.tally;
        record.total.Sent(tally.airtime,
                          tally.energy / tally.airtime,
                          tally.bandwidthTime / tally.airtime);
        Measured(*sounding.link, record);
        ended.Add({sounding.id, clock.Now(), Ended::DELIVERED, 0, 0, 0, tally}, {});
        clock.Complete();
    }
};

OfdmaCells::OfdmaCells(const std::string& engine,
                       const std::string& attributes,
                       const std::vector<Ptr<Node>>& nodes,
                       const std::vector<Ptr<PairChannel>>& channels,
                       int64_t runTime,
                       Records& records)
    : m_cells(new Cells{nodes,
                        channels,
                        runTime,
                        records.clock,
                        records.links,
                        records.usage,
                        records.ended})
{
    auto* cells = m_cells.get();
    cells->radio = DynamicCast<OfdmaRadio>(Make("collapipe::OfdmaRadio", attributes));
    cells->radio->SetMedium(DynamicCast<OfdmaMedium>(Make(engine, "")));
    cells->radio->AssignStreams(RADIO_STREAM);
    cells->radio->SetItemCallback(
        [cells](OfdmaLink& link, OfdmaItem& item) { cells->Left(link, item); });
    cells->radio->SetSoundingCallback(
        [cells](const OfdmaSounding& sounding) { cells->Sounded(sounding); });
    const auto trace = [cells](const char* name, const CallbackBase& sink) {
        cells->radio->TraceConnectWithoutContext(name, sink);
    };
    trace("Transmission", MakeCallback(&Cells::Sent, cells));
    trace("Reception", MakeCallback(&Cells::Received, cells));
    trace("PhyState", MakeCallback(&Cells::State, cells));
}

OfdmaCells::~OfdmaCells()
{
    m_cells->radio->Dispose();
}

void
OfdmaCells::AddNode(uint32_t node, double watts, double noiseFigureDb, double antennaGainDb)
{
    const auto place = m_cells->nodes.at(node)->GetObject<MobilityModel>();
    m_cells->byNode[node] =
        m_cells->radio->AddNode(place, node, watts, noiseFigureDb, antennaGainDb);
    m_cells->nodeOf.push_back(node);
}

uint32_t
OfdmaCells::AddBand(uint32_t blocks,
                    double centreHz,
                    const std::vector<uint32_t>& stations,
                    uint32_t channel,
                    uint32_t deviceChannel)
{
    const auto gain = CreateObject<OfdmaGain>();
    gain->SetAttribute("Loss", PointerValue(m_cells->channels.at(channel)));
    gain->SetAttribute("DeviceLoss", PointerValue(m_cells->channels.at(deviceChannel)));
    for (const auto station : stations)
    {
        gain->AddStation(m_cells->nodes.at(station)->GetObject<MobilityModel>());
    }
    return m_cells->radio->AddBand(blocks, centreHz, gain);
}

uint32_t
OfdmaCells::AddCell(uint32_t band)
{
    return m_cells->radio->AddCell(band);
}

void
OfdmaCells::AddLink(uint32_t band,
                    uint32_t cell,
                    uint32_t src,
                    uint32_t dst,
                    bool acknowledged,
                    int transport,
                    uint32_t subnet)
{
    auto& cells = *m_cells;
    auto& link = cells.radio->AddLink(band,
                                      cell,
                                      cells.byNode.at(src),
                                      cells.byNode.at(dst),
                                      acknowledged);
    auto& record = cells.links.emplace_back(RadioLink{src, dst, {}});
    auto& joint = cells.joints.emplace_back(
        Cells::Joint{&link, &record, static_cast<Transport>(transport)});
    cells.byPair[{src, dst}] = &joint;
    if (transport != DIRECT)
    {
        joint.sender = cells.DeviceOf(src, subnet);
        joint.receiver = cells.DeviceOf(dst, subnet);
        joint.sender->AddLink(cells.radio,
                              Mac48Address::ConvertFrom(joint.receiver->GetAddress()),
                              link);
    }
}

void
OfdmaCells::AddHandover(uint32_t channel,
                        const HandoverSettings& settings,
                        const std::vector<uint32_t>& stations)
{
    auto& cells = *m_cells;
    cells.handover = std::make_unique<OfdmaHandover>(settings,
                                                     cells.channels.at(channel),
                                                     *cells.radio);
    for (const auto station : stations)
    {
        const auto number = cells.byNode.at(station);
        const auto place = cells.nodes.at(station)->GetObject<MobilityModel>();
        cells.handover->AddStation(station, number, place, cells.radio->Radiates(number));
    }
}

void
OfdmaCells::AddTerminal(const Attachment& attachment, uint32_t home)
{
    auto& cells = *m_cells;
    const auto node = attachment.node;
    auto& up = *cells.byPair.at({node, home})->ofdma;
    auto& down = *cells.byPair.at({home, node})->ofdma;
    for (const auto station : cells.handover->StationNumbers())
    {
        cells.radio->AddEnds(up, up.from, station);
        cells.radio->AddEnds(down, station, down.to);
    }
    const auto place = cells.nodes.at(node)->GetObject<MobilityModel>();
    cells.handover->AddTerminal(attachment, place, up, down);
}

void
OfdmaCells::Start()
{
    auto* cells = m_cells.get();
    if (!cells->handover)
    {
        return;
    }
    cells->radio->Attend([cells] {
        const auto sinceStart = cells->clock.Now();
        const auto now = cells->runTime + sinceStart;
        const auto next = cells->handover->Attend(now, sinceStart);
        for (auto& joint : cells->joints)
        {
            if (!joint.ofdma->Measured().known)
            {
                joint.record->measured = -1; // in the cell that it is in now
            }
        }
        return Simulator::Now() + NanoSeconds(next - now);
    });
}

std::vector<CellChange>
OfdmaCells::CellChanges() const
{
    return m_cells->handover ? m_cells->handover->Changes() : std::vector<CellChange>{};
}

std::vector<Attachment>
OfdmaCells::Attachments() const
{
    return m_cells->handover ? m_cells->handover->Attachments() : std::vector<Attachment>{};
}

void
OfdmaCells::AddJammer(uint32_t band, uint32_t node, Pulses pulses)
{
    m_cells->radio->AddNoise(band, m_cells->byNode.at(node), [this, pulses](Time tti) {
        const auto now = m_cells->runTime + m_cells->clock.Now();
        return pulses.Share(now, now + tti.GetNanoSeconds());
    });
}

void
OfdmaCells::AddBackground(uint32_t band, uint32_t src, uint32_t dst)
{
    auto& cells = *m_cells;
    const auto cell = cells.radio->AddCell(band);
    auto& link =
        cells.radio->AddLink(band, cell, cells.byNode.at(src), cells.byNode.at(dst), false);
    auto& record = cells.unrecorded.emplace_back(RadioLink{src, dst, {}});
    cells.joints.emplace_back(Cells::Joint{&link, &record, DIRECT});
    cells.background[{src, dst}] = &link;
}

void
OfdmaCells::Load(uint32_t src, uint32_t dst, uint64_t bytes)
{
    auto& link = *m_cells->background.at({src, dst});
    if (link.queue.Unresolved() < MOST_BACKGROUND_BYTES)
    {
        m_cells->radio->Push(link, {}, bytes);
    }
}

bool
OfdmaCells::Joins(uint32_t src, uint32_t dst) const
{
    return m_cells->byPair.count({src, dst});
}

void
OfdmaCells::Multicast(const std::vector<uint64_t>& ids,
                      uint32_t src,
                      const std::vector<uint32_t>& dsts,
                      uint64_t size)
{
    // Receivers that have changed their cell are sent to from there, and alone until they listen.
    std::map<uint32_t, std::pair<std::vector<uint64_t>, std::vector<uint32_t>>> together; // by sender
    for (std::size_t i = 0; i < dsts.size(); ++i)
    {
        const auto& joint = *m_cells->byPair.at({src, dsts[i]});
        if (joint.ofdma->silent)
        {
            joint.stream->Send(ids[i], size);
            continue;
        }
        auto& [itsIds, itsDsts] = together[joint.ofdma->from];
        itsIds.push_back(ids[i]);
        itsDsts.push_back(dsts[i]);
    }
    for (const auto& [from, these] : together)
    {
        m_cells->SendTogether(these.first, src, these.second, size);
    }
}

bool
OfdmaCells::Multicasts() const
{
    return std::any_of(m_cells->groups.begin(), m_cells->groups.end(), [](const auto& group) {
        return group.second->queue.Unresolved() > 0;
    });
}

void
OfdmaCells::GrantGroup(uint32_t src,
                       const std::vector<uint32_t>& dsts,
                       double watts,
                       double blocks)
{
    std::map<uint32_t, std::vector<uint32_t>> together; // by sender, as in Multicast()
    for (const auto dst : dsts)
    {
        together[m_cells->byPair.at({src, dst})->ofdma->from].push_back(dst);
    }
    for (const auto& [from, these] : together)
    {
        if (these.size() == 1 && dsts.size() > 1)
        {
            continue; // it is sent to alone, with a grant of its own
        }
        auto& group = m_cells->GroupOf(src, these);
        if (watts >= 0)
        {
            group.watts = watts;
            group.openLoop = {};
            group.powerGranted = true;
        }
        if (blocks >= 0)
        {
            group.granted = blocks;
        }
    }
}

void
OfdmaCells::Grant(uint32_t src, uint32_t dst, double watts, double blocks)
{
    auto& link = *m_cells->byPair.at({src, dst})->ofdma;
    if (watts >= 0)
    {
        link.watts = watts;
        link.openLoop = {};
    }
    if (blocks >= 0)
    {
        link.granted = blocks;
    }
}

void
OfdmaCells::SetOpenLoop(uint32_t src, uint32_t dst, double p0, double alpha)
{
    m_cells->byPair.at({src, dst})->ofdma->openLoop = {p0, alpha};
}

void
OfdmaCells::Sound(uint64_t id, uint32_t src, uint32_t dst)
{
    m_cells->radio->Sound(*m_cells->byPair.at({src, dst})->ofdma, id);
}

std::unique_ptr<Stream>
OfdmaCells::Open(uint32_t src, uint32_t dst, uint16_t port)
{
    auto& cells = *m_cells;
    auto& joint = *cells.byPair.at({src, dst});
    const auto& from = cells.nodes.at(src);
    const auto& to = cells.nodes.at(dst);
    if (joint.transport == TCP)
    {
        return std::make_unique<ByteStream>(from,
                                            to,
                                            cells.AddressOf(joint.receiver),
                                            port,
                                            *joint.record,
                                            cells.clock,
                                            cells.ended);
    }
    if (joint.transport == UDP)
    {
        return std::make_unique<DatagramStream>(from,
                                                to,
                                                cells.AddressOf(joint.receiver),
                                                port,
                                                joint.receiver,
                                                *joint.record,
                                                cells.clock,
                                                cells.ended);
    }
    auto stream = std::make_unique<DirectStream>(cells.radio,
                                                 *joint.ofdma,
                                                 *joint.record,
                                                 cells.clock,
                                                 cells.ended);
    joint.stream = stream.get();
    return stream;
}

Ptr<OfdmaRadio>
OfdmaCells::Radio() const
{
    return m_cells->radio;
}

} // namespace collapipe
