#ifndef COLLAPIPE_DIRECT_STREAM_H
#define COLLAPIPE_DIRECT_STREAM_H

#include "ofdma-radio.h"
#include "stream.h"

#include "ns3/ptr.h"

#include <cstdint>
#include <deque>
#include <map>

namespace collapipe
{

/// Transfers over the link layer of an OFDMA link, without packets.
class DirectStream : public Stream
{
  public:
    DirectStream(ns3::Ptr<OfdmaRadio> radio,
                 OfdmaLink& ofdma,
                 RadioLink& link,
                 SimClock& clock,
                 EndedTransfers& ended);

    void Send(uint64_t id, uint64_t size) override;
    /// A transfer that the caller sends over this group begins; it ends here as others do.
    void Join(uint64_t id, const OfdmaLink& group);
    void Cut(uint64_t id) override;
    Progress Head() const override;
    void Skip(const Extrapolated& skipped) override;
    /// The transfer has left the link, or the group over which it was sent. It ends once those that
    /// began before it over another way have ended.
    void Left(const OfdmaItem& item);

  private:
    struct UnderWay
    {
        uint64_t id;
        const OfdmaLink* way; // the link, or a group
    };

    bool EndIfLeft(uint64_t id);
    void EndInOrder();
    void EndItem(const OfdmaItem& item, Ended::Outcome outcome);

    ns3::Ptr<OfdmaRadio> m_radio;
    OfdmaLink& m_ofdma;
    std::deque<UnderWay> m_underWay{};      // by beginning
    std::map<uint64_t, OfdmaItem> m_left{}; // of these, those that have left; by transfer
};

} // namespace collapipe

#endif
