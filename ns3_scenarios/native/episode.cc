#include "episode.h"

#include "attribute-table.h"
#include "byte-stream.h"

#include "ns3/channel-list.h"
#include "ns3/constant-position-mobility-model.h"
#include "ns3/hierarchical-mobility-model.h"
#include "ns3/internet-stack-helper.h"
#include "ns3/neighbor-cache-helper.h"
#include "ns3/simulator.h"

#include <algorithm>
#include <stdexcept>

namespace collapipe
{

using namespace ns3;

namespace
{
constexpr uint16_t FIRST_PORT = 1024; // each stream uses its own

std::string
NodePair(uint32_t src, uint32_t dst)
{
    return "nodes " + std::to_string(src) + " and " + std::to_string(dst);
}

bool
HasDevices(const Channel& channel)
{
    for (std::size_t i = 0; i < channel.GetNDevices(); ++i)
    {
        if (!channel.GetDevice(i))
        {
            return false;
        }
    }
    return true;
}

} // namespace

Episode::Episode(int64_t runTime, uint64_t lastingRun, bool sampled)
    : m_runTime(runTime),
      m_lastingRun(lastingRun),
      m_surroundings(m_nodes, m_wifi, m_lte),
      m_sampling(sampled ? std::make_unique<FastForward>(m_records, m_streams)
                         : nullptr)
{
}

Episode::~Episode() = default;

uint32_t
Episode::AddNode(const std::string& name, double x, double y, double z, const Motion& motion)
{
    const auto node = CreateObject<Node>();
    node->AggregateObject(Mobility(name, {x, y, z}, motion));
    InternetStackHelper().Install(node);
    m_nodes.push_back(node);
    m_names.push_back(name);
    m_places.push_back({x, y, z});
    m_records.usage.emplace_back();
    return node->GetId();
}

Ptr<MobilityModel>
Episode::Mobility(const std::string& name, Vector place, const Motion& motion)
{
    auto wandering = motion;
    Ptr<MobilityModel> leader;
    if (motion.leader >= 0)
    {
        // Only the leader's position at time 0 matters here, from which all offsets are measured.
        leader = m_nodes.at(motion.leader)->GetObject<MobilityModel>();
        const auto from = m_places.at(motion.leader);
        place = place - from;
        wandering.x -= from.x;
        wandering.y -= from.y;
    }
    Ptr<MobilityModel> own;
    if (motion.radius > 0 || !motion.corners.empty())
    {
        const auto trail = CreateObject<TrailMobilityModel>();
        trail->SetRunTime(m_runTime);
        motion.radius > 0 ? trail->Wander(wandering, place, name, m_lastingRun)
                          : trail->Follow(motion.corners);
        m_trails.push_back(trail);
        own = trail;
    }
    else
    {
        own = CreateObject<ConstantPositionMobilityModel>();
        own->SetPosition(place);
    }
    if (!leader)
    {
        return own;
    }
    const auto both = CreateObject<HierarchicalMobilityModel>();
    both->SetParent(leader); // first, as with a child it would keep the child's position
    both->SetChild(own);
    return both;
}

uint32_t
Episode::AddHost(Ptr<Node> node, Ipv4Address address)
{
    m_nodes.push_back(node);
    m_records.usage.emplace_back();
    m_hosts[m_nodes.size() - 1] = address;
    return m_nodes.size() - 1;
}

uint32_t
Episode::AddChannel(const std::string& attributes,
                    const std::string& loss,
                    const std::string& lossAttributes,
                    const std::string& nlosLoss,
                    const std::string& nlosLossAttributes,
                    const std::string& condition)
{
    const auto made = [](const std::string& type, const std::string& with) -> Ptr<Object> {
        return type.empty() ? nullptr : Make(type, with);
    };
    const auto all = attributes + "LastingRun=" + std::to_string(m_lastingRun) + "\n";
    const auto channel = DynamicCast<PairChannel>(Make("collapipe::PairChannel", all));
    channel->SetLoss(DynamicCast<PropagationLossModel>(made(loss, lossAttributes)),
                     DynamicCast<PropagationLossModel>(made(nlosLoss, nlosLossAttributes)),
                     DynamicCast<ThreeGppChannelConditionModel>(made(condition, "")));
    for (std::size_t i = 0; i < m_nodes.size(); ++i)
    {
        channel->AddPlace(m_nodes[i]->GetObject<MobilityModel>(), m_names[i]);
    }
    m_channels.push_back(channel);
    return m_channels.size() - 1;
}

Ptr<PairChannel>
Episode::Channel(uint32_t channel) const
{
    return m_channels.at(channel);
}

Ptr<MobilityModel>
Episode::Place(uint32_t node) const
{
    return m_nodes.at(node)->GetObject<MobilityModel>();
}

void
Episode::AddWifi(uint32_t channel)
{
    m_wifi = std::make_unique<WifiCells>(m_channels.at(channel), m_records);
}

void
Episode::AddWifiCell(const std::vector<uint32_t>& nodes, const std::string& channel)
{
    std::vector<Ptr<Node>> members;
    for (const auto node : nodes)
    {
        members.push_back(m_nodes.at(node));
    }
    m_wifi->AddCell(members, channel);
}

void
Episode::AddLte(uint32_t server,
                const std::vector<uint32_t>& ues,
                uint32_t resourceBlocks,
                uint32_t channel,
                double ueAntennaDb,
                double enbAntennaDb)
{
    std::vector<Ptr<Node>> members;
    for (const auto node : ues)
    {
        members.push_back(m_nodes.at(node));
    }
    const LteSettings settings{static_cast<uint8_t>(resourceBlocks), ueAntennaDb, enbAntennaDb};
    m_lte = std::make_unique<LteCell>(m_nodes.at(server),
                                      members,
                                      settings,
                                      m_channels.at(channel),
                                      m_names.at(server),
                                      m_records);
}

OfdmaCells&
Episode::AddOfdma(const std::string& engine, const std::string& attributes)
{
    m_ofdma.push_back(std::make_unique<OfdmaCells>(engine,
                                                   attributes,
                                                   m_nodes,
                                                   m_channels,
                                                   m_runTime,
                                                   m_records));
    return *m_ofdma.back();
}

Surroundings&
Episode::Around()
{
    return m_surroundings;
}

void
Episode::SetTxPower(uint32_t node, const std::string& radio, double watts)
{
    SampleAnew();
    if (radio == "wifi" && m_wifi)
    {
        m_wifi->SetTxPower(node, watts);
    }
    else if (radio == "lte" && m_lte)
    {
        m_lte->SetTxPower(node, watts);
    }
    else
    {
        throw std::invalid_argument("no " + radio + " radio that has one power for all its links");
    }
}

void
Episode::SetMaxTxPower(uint32_t node, double watts)
{
    SampleAnew();
    m_lte->SetMaxTxPower(node, watts);
}

void
Episode::Switch(uint32_t node, bool on)
{
    SampleAnew();
    if (m_wifi)
    {
        m_wifi->Switch(node, on);
    }
}

bool
Episode::Start(int64_t limit)
{
    for (const auto& channel : m_channels)
    {
        channel->Settle();
    }
    // Broadcast ARP requests are sometimes lost between contending cells, which costs seconds.
    for (auto channel = ChannelList::Begin(); channel != ChannelList::End(); ++channel)
    {
        if (HasDevices(**channel)) // an OFDMA radio's spectrum channel has PHYs without devices
        {
            NeighborCacheHelper().PopulateNeighborCache(*channel);
        }
    }
    // Nodes are initialised by events at time 0.
    Simulator::Stop(Time(0));
    Simulator::Run();
    while (m_lte && !m_lte->Attached())
    {
        if (Simulator::Now().GetNanoSeconds() >= limit)
        {
            return false;
        }
        Simulator::Stop(MilliSeconds(1));
        Simulator::Run();
    }
    m_records.clock.Start();
    for (const auto& channel : m_channels)
    {
        channel->SetRunTime(m_runTime);
    }
    for (const auto& trail : m_trails)
    {
        trail->Start();
    }
    m_surroundings.Start(m_runTime);
    for (auto& link : m_records.links)
    {
        link.total = {};
        link.measured = -1;
    }
    m_records.usage.assign(m_records.usage.size(), {});
    for (const auto& ofdma : m_ofdma)
    {
        ofdma->Start();
    }
    return true;
}

/// Restarts sampling, as a change from outside changes the rates of transfers.
void
Episode::SampleAnew()
{
    if (m_sampling)
    {
        m_sampling->Restart();
    }
}

int64_t
Episode::Now() const
{
    return m_records.clock.Now();
}

int
Episode::Advance(int64_t until)
{
    // Multicasts are not extrapolated, nor is anything beside them.
    const bool whole = std::any_of(m_ofdma.begin(), m_ofdma.end(), [](const auto& ofdma) {
        return ofdma->Multicasts();
    });
    if (whole)
    {
        SampleAnew();
    }
    return m_sampling && !whole ? m_sampling->Advance(until) : m_records.clock.Advance(until);
}

void
Episode::Interrupt()
{
    m_records.clock.Interrupt();
}

void
Episode::Send(uint64_t id, uint32_t src, uint32_t dst, uint64_t size)
{
    Between(src, dst).Send(id, size);
}

void
Episode::Multicast(const std::vector<uint64_t>& ids,
                   uint32_t src,
                   const std::vector<uint32_t>& dsts,
                   uint64_t size)
{
    for (const auto dst : dsts)
    {
        Between(src, dst);
    }
    Scheduled(src, dsts.front()).Multicast(ids, src, dsts, size);
}

/// The stream from one node to another, which is opened when it is first used.
Stream&
Episode::Between(uint32_t src, uint32_t dst)
{
    auto& stream = m_streams[{src, dst}];
    if (!stream)
    {
        stream = Open(src, dst);
    }
    return *stream;
}

std::unique_ptr<Stream>
Episode::Open(uint32_t src, uint32_t dst)
{
    const uint16_t port = FIRST_PORT + m_streams.size();
    if (auto* ofdma = OfdmaBetween(src, dst))
    {
        return ofdma->Open(src, dst, port);
    }
    const auto carry = [&](Ipv4Address to, RadioLink& link) {
        const auto &from = m_nodes.at(src), &at = m_nodes.at(dst);
        auto& clock = m_records.clock;
        auto& ended = m_records.ended;
        return std::make_unique<ByteStream>(from, at, to, port, link, clock, ended);
    };
    if (const auto host = m_hosts.find(dst); host != m_hosts.end())
    {
        return carry(host->second, m_records.links.emplace_back(RadioLink{src, dst, {}}));
    }
    if (auto* link = m_wifi ? m_wifi->Link(src, dst) : nullptr)
    {
        return carry(m_wifi->Address(dst), *link);
    }
    if (auto* link = m_lte ? m_lte->Link(src, dst) : nullptr)
    {
        return carry(m_lte->Address(dst), *link);
    }
    throw std::invalid_argument("no radio joins " + NodePair(src, dst));
}

void
Episode::Cut(uint64_t id, uint32_t src, uint32_t dst)
{
    SampleAnew();
    m_streams.at({src, dst})->Cut(id);
}

Progress
Episode::Head(uint32_t src, uint32_t dst) const
{
    const auto stream = m_streams.find({src, dst});
    return stream == m_streams.end() ? Progress{} : stream->second->Head();
}

/// The radio between two nodes, whose links are granted and sounded one by one.
OfdmaCells&
Episode::Scheduled(uint32_t src, uint32_t dst) const
{
    if (auto* ofdma = OfdmaBetween(src, dst))
    {
        return *ofdma;
    }
    throw std::invalid_argument("no OFDMA radio joins " + NodePair(src, dst));
}

OfdmaCells*
Episode::OfdmaBetween(uint32_t src, uint32_t dst) const
{
    for (const auto& ofdma : m_ofdma)
    {
        if (ofdma->Joins(src, dst))
        {
            return ofdma.get();
        }
    }
    return nullptr;
}

void
Episode::Grant(uint32_t src, uint32_t dst, double watts, double blocks)
{
    SampleAnew();
    Scheduled(src, dst).Grant(src, dst, watts, blocks);
}

void
Episode::GrantGroup(uint32_t src,
                    const std::vector<uint32_t>& dsts,
                    double watts,
                    double blocks)
{
    SampleAnew();
    Scheduled(src, dsts.front()).GrantGroup(src, dsts, watts, blocks);
}

void
Episode::Sound(uint64_t id, uint32_t src, uint32_t dst)
{
    SampleAnew();
    Scheduled(src, dst).Sound(id, src, dst);
}

uint32_t
Episode::TakeEnded()
{
    std::swap(m_taken, m_records.ended);
    m_records.ended.transfers.clear();
    m_records.ended.lost.clear();
    return m_taken.transfers.size();
}

uintptr_t
Episode::EndedData() const
{
    return reinterpret_cast<uintptr_t>(m_taken.transfers.data());
}

uintptr_t
Episode::LostData() const
{
    return reinterpret_cast<uintptr_t>(m_taken.lost.data());
}

std::vector<CellChange>
Episode::CellChanges() const
{
    std::vector<CellChange> all;
    for (const auto& ofdma : m_ofdma)
    {
        const auto changes = ofdma->CellChanges();
        all.insert(all.end(), changes.begin(), changes.end());
    }
    return all;
}

std::vector<Attachment>
Episode::Attachments() const
{
    std::vector<Attachment> all;
    for (const auto& ofdma : m_ofdma)
    {
        const auto attachments = ofdma->Attachments();
        all.insert(all.end(), attachments.begin(), attachments.end());
    }
    return all;
}

const std::deque<RadioLink>&
Episode::Links() const
{
    return m_records.links;
}

const std::vector<RadioUsage>&
Episode::Usage() const
{
    return m_records.usage;
}

} // namespace collapipe
