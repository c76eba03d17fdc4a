#ifndef COLLAPIPE_OFDMA_NET_DEVICE_H
#define COLLAPIPE_OFDMA_NET_DEVICE_H

#include "ofdma-radio.h"

#include "ns3/mac48-address.h"
#include "ns3/packet.h"
#include "ns3/simple-net-device.h"
#include "ns3/traced-callback.h"

#include <cstdint>
#include <map>

namespace collapipe
{

/// A network device on an OFDMA radio, with a link for each device that it can reach.
///
/// Everything except the path of packets is ns-3's SimpleNetDevice. A packet takes its own bytes
/// and the headers that LTE would add: PDCP's (TS 36.323, 6.2.3) and a length indicator of RLC's
/// (TS 36.322, 6.2.2.5). Broadcasts are dropped, so that neighbour caches must be filled in advance
/// (by ns-3's NeighborCacheHelper).
class OfdmaNetDevice : public ns3::SimpleNetDevice
{
  public:
    static constexpr uint32_t HEADER_BYTES = 2 + 2;

    static ns3::TypeId GetTypeId();
    OfdmaNetDevice();

    /// Uses this link of the radio for packets to `to`.
    void AddLink(ns3::Ptr<OfdmaRadio> radio, ns3::Mac48Address to, OfdmaLink& link);
    /// Handles a packet for this device that has left its link, complete or not.
    void Left(const OfdmaItem& item, ns3::Mac48Address from);

    bool Send(ns3::Ptr<ns3::Packet> packet,
              const ns3::Address& to,
              uint16_t protocol) override;
    bool SendFrom(ns3::Ptr<ns3::Packet> packet,
                  const ns3::Address& from,
                  const ns3::Address& to,
                  uint16_t protocol) override;
    bool SupportsSendFrom() const override;

  protected:
    void DoDispose() override;

  private:
    ns3::Ptr<OfdmaRadio> m_radio;
    std::map<ns3::Mac48Address, OfdmaLink*> m_links;
    uint32_t m_queueBytes;
    ns3::TracedCallback<ns3::Ptr<const ns3::Packet>> m_macTx;
    ns3::TracedCallback<ns3::Ptr<const ns3::Packet>> m_macTxDrop;
    ns3::TracedCallback<ns3::Ptr<const ns3::Packet>> m_macRx;
    ns3::TracedCallback<ns3::Ptr<const ns3::Packet>> m_macRxDrop;
};

} // namespace collapipe

#endif
