#ifndef COLLAPIPE_CARGO_H
#define COLLAPIPE_CARGO_H

#include "ns3/packet.h"
#include "ns3/tag.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// Marks bytes of a packet as those of a transfer, by a byte tag, which IP and RLC preserve.
class TransferTag : public ns3::Tag
{
  public:
    static ns3::TypeId GetTypeId();
    explicit TransferTag(uint64_t id = 0);

    uint64_t Id() const
    {
        return m_id;
    }

    ns3::TypeId GetInstanceTypeId() const override;
    uint32_t GetSerializedSize() const override;
    void Serialize(ns3::TagBuffer buffer) const override;
    void Deserialize(ns3::TagBuffer buffer) override;
    void Print(std::ostream& stream) const override;

  private:
    uint64_t m_id;
};

/// The contents of a frame or a transport block in bytes, by the transfers that they belong to.
///
/// A packet counts with its headers for the transfers whose bytes it has, in proportion to these
/// bytes. A packet without such bytes (a handshake, an acknowledgement, signalling) counts for no
/// transfer.
class Cargo
{
  public:
    struct Part
    {
        uint64_t transfer;
        double bytes;
    };

    void Clear();
    /// A packet, or `bytes` of it.
    void Add(const ns3::Packet& packet, double bytes);
    /// The parts of a packet that has several end to end: each begins where `begins` says, in
    /// ascending order, and ends where the next one begins.
    void Add(const ns3::Packet& packet, const std::vector<uint32_t>& begins);

    /// A part for each transfer in it.
    const std::vector<Part>& Parts() const
    {
        return m_parts;
    }

    /// The part's share of the total.
    double Share(const Part& part) const
    {
        return part.bytes / m_bytes;
    }

  private:
    struct Run
    {
        uint64_t transfer;
        uint32_t begin;
        uint32_t end;
    };

    void ReadRuns(const ns3::Packet& packet);
    void Put(uint64_t transfer, double bytes);

    double m_bytes{0};
    std::vector<Part> m_parts;
    std::vector<Run> m_runs; // of the current packet
};

} // namespace collapipe

#endif
