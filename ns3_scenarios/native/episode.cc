#include "episode.h"

#include "ns3/constant-position-mobility-model.h"
#include "ns3/internet-stack-helper.h"
#include "ns3/neighbor-cache-helper.h"
#include "ns3/simulator.h"

namespace collapipe
{

using namespace ns3;

namespace
{
constexpr uint16_t FIRST_PORT = 1024; // each stream listens at its own
} // namespace

Episode::Episode() = default;
Episode::~Episode() = default;

uint32_t
Episode::AddNode(double x, double y, double z)
{
    const auto node = CreateObject<Node>();
    const auto place = CreateObject<ConstantPositionMobilityModel>();
    place->SetPosition({x, y, z});
    node->AggregateObject(place);
    InternetStackHelper().Install(node);
    m_nodes.push_back(node);
    m_usage.emplace_back();
    return node->GetId();
}

void
Episode::AddWifi(const std::string& lossModel, const std::string& lossAttributes)
{
    m_wifi = std::make_unique<WifiCells>(lossModel, lossAttributes, m_clock, m_links, m_usage);
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
                const std::string& lossModel,
                const std::string& lossAttributes)
{
    std::vector<Ptr<Node>> members;
    for (const auto node : ues)
    {
        members.push_back(m_nodes.at(node));
    }
    m_lte = std::make_unique<LteCell>(m_nodes.at(server),
                                      members,
                                      resourceBlocks,
                                      lossModel,
                                      lossAttributes,
                                      m_clock,
                                      m_links,
                                      m_usage);
}

void
Episode::SetTxPower(uint32_t node, const std::string& radio, double watts)
{
    radio == "wifi" ? m_wifi->SetTxPower(node, watts) : m_lte->SetTxPower(node, watts);
}

bool
Episode::Start(int64_t limit)
{
    // ARP by broadcast would be lost now and then where cells contend, and cost seconds.
    NeighborCacheHelper().PopulateNeighborCache();
    while (!m_lte->Attached())
    {
        if (Simulator::Now().GetNanoSeconds() >= limit)
        {
            return false;
        }
        Simulator::Stop(MilliSeconds(1));
        Simulator::Run();
    }
    m_clock.Start();
    for (auto& link : m_links)
    {
        link.total = {};
        link.measured = -1;
    }
    m_usage.assign(m_usage.size(), {});
    return true;
}

int64_t
Episode::Now() const
{
    return m_clock.Now();
}

int
Episode::Advance(int64_t until)
{
    return m_clock.Advance(until);
}

void
Episode::Interrupt()
{
    m_clock.Interrupt();
}

void
Episode::Send(uint64_t id, uint32_t src, uint32_t dst, uint64_t size)
{
    auto& stream = m_streams[{src, dst}];
    if (!stream)
    {
        auto* link = m_wifi->Link(src, dst);
        const bool wifi = link;
        link = wifi ? link : m_lte->Link(src, dst);
        stream = std::make_unique<ByteStream>(m_nodes.at(src),
                                              m_nodes.at(dst),
                                              wifi ? m_wifi->Address(dst) : m_lte->Address(dst),
                                              FIRST_PORT + m_streams.size(),
                                              *link,
                                              m_clock,
                                              m_ended);
    }
    stream->Send(id, size);
}

void
Episode::Cut(uint64_t id, uint32_t src, uint32_t dst)
{
    m_streams.at({src, dst})->Cut(id);
}

uint32_t
Episode::TakeEnded()
{
    m_taken.swap(m_ended);
    m_ended.clear();
    return m_taken.size();
}

uintptr_t
Episode::EndedData() const
{
    return reinterpret_cast<uintptr_t>(m_taken.data());
}

const std::deque<RadioLink>&
Episode::Links() const
{
    return m_links;
}

const std::vector<RadioUsage>&
Episode::Usage() const
{
    return m_usage;
}

} // namespace collapipe
