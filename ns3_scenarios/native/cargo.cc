#include "cargo.h"

#include <algorithm>
#include <iterator>

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(TransferTag);

TypeId
TransferTag::GetTypeId()
{
    static TypeId tid = TypeId("collapipe::TransferTag")
                            .SetParent<Tag>()
                            .SetGroupName("Collapipe")
                            .AddConstructor<TransferTag>();
    return tid;
}

TransferTag::TransferTag(uint64_t id)
    : m_id(id)
{
}

TypeId
TransferTag::GetInstanceTypeId() const
{
    return GetTypeId();
}

uint32_t
TransferTag::GetSerializedSize() const
{
    return sizeof(m_id);
}

void
TransferTag::Serialize(TagBuffer buffer) const
{
    buffer.WriteU64(m_id);
}

void
TransferTag::Deserialize(TagBuffer buffer)
{
    m_id = buffer.ReadU64();
}

void
TransferTag::Print(std::ostream& stream) const
{
    stream << "transfer " << m_id;
}

void
Cargo::Clear()
{
    m_bytes = 0;
    m_parts.clear();
}

void
Cargo::Add(const Packet& packet, double bytes)
{
    m_bytes += bytes;
    ReadRuns(packet);
    double marked = 0;
    for (const auto& run : m_runs)
    {
        marked += run.end - run.begin;
    }
    for (const auto& run : m_runs)
    {
        Put(run.transfer, bytes * (run.end - run.begin) / marked);
    }
}

void
Cargo::Add(const Packet& packet, const std::vector<uint32_t>& begins)
{
    if (begins.empty())
    {
        return;
    }
    m_bytes += packet.GetSize() - begins.front();
    ReadRuns(packet);
    std::sort(m_runs.begin(), m_runs.end(), [](const auto& a, const auto& b) {
        return a.begin < b.begin;
    });
    auto run = m_runs.begin();
    for (std::size_t i = 0; i < begins.size() && run != m_runs.end(); ++i)
    {
        const auto end = i + 1 < begins.size() ? begins[i + 1] : packet.GetSize();
        const auto last = std::find_if(run, m_runs.end(), [end](const auto& other) {
            return other.begin >= end;
        });
        double marked = 0;
        for (auto each = run; each != last; ++each)
        {
            marked += each->end - each->begin;
        }
        for (; run != last; ++run)
        {
            Put(run->transfer, (end - begins[i]) * (run->end - run->begin) / marked);
        }
    }
}

/// Which bytes of the packet belong to which transfer.
void
Cargo::ReadRuns(const Packet& packet)
{
    m_runs.clear();
    TransferTag tag;
    for (auto marks = packet.GetByteTagIterator(); marks.HasNext();)
    {
        const auto mark = marks.Next();
        if (mark.GetTypeId() == TransferTag::GetTypeId())
        {
            mark.GetTag(tag);
            m_runs.push_back({tag.Id(), mark.GetStart(), mark.GetEnd()});
        }
    }
}

void
Cargo::Put(uint64_t transfer, double bytes)
{
    // From the back, as consecutive parts mostly belong to one transfer.
    const auto found = std::find_if(m_parts.rbegin(), m_parts.rend(), [transfer](const auto& part) {
        return part.transfer == transfer;
    });
    if (found == m_parts.rend())
    {
        m_parts.push_back({transfer, bytes});
    }
    else
    {
        found->bytes += bytes;
    }
}

} // namespace collapipe
