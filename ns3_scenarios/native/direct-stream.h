#ifndef COLLAPIPE_DIRECT_STREAM_H
#define COLLAPIPE_DIRECT_STREAM_H

#include "ofdma-radio.h"
#include "stream.h"

#include "ns3/ptr.h"

#include <cstdint>

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
    void Cut(uint64_t id) override;
    Progress Head() const override;
    void Skip(const Extrapolated& skipped) override;
    /// The transfer has left the link.
    void Left(const OfdmaItem& item);

  private:
    void EndItem(const OfdmaItem& item, Ended::Outcome outcome);

    ns3::Ptr<OfdmaRadio> m_radio;
    OfdmaLink& m_ofdma;
    uint32_t m_underWay{0};
};

} // namespace collapipe

#endif
