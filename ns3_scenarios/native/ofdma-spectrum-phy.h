#ifndef COLLAPIPE_OFDMA_SPECTRUM_PHY_H
#define COLLAPIPE_OFDMA_SPECTRUM_PHY_H

#include "ns3/net-device.h"
#include "ns3/nstime.h"
#include "ns3/spectrum-channel.h"
#include "ns3/spectrum-phy.h"
#include "ns3/spectrum-signal-parameters.h"
#include "ns3/spectrum-value.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// A signal of the radio's own on an ns-3 spectrum channel: all that a node sends in a band and TTI.
struct OfdmaSpectrumSignal : public ns3::SpectrumSignalParameters
{
    ns3::Ptr<ns3::SpectrumSignalParameters> Copy() const override;

    const void* medium; // which radio's it is
    uint32_t from;      // node of the radio
};

/// A node's ear and mouth in one band, for OfdmaSpectrumMedium.
///
/// It keeps what it hears, and adds it up once the TTI is over: its own radio's signals, which
/// fill TTIs, in the order of their senders, and then the others' by the share of the TTI in which
/// they were there.
class OfdmaSpectrumPhy : public ns3::SpectrumPhy
{
  public:
    static ns3::TypeId GetTypeId();

    /// `medium` tells the radio's own signals from those of others.
    void Install(const void* medium,
                 ns3::Ptr<const ns3::SpectrumModel> model,
                 ns3::Ptr<ns3::MobilityModel> place,
                 ns3::Ptr<ns3::SpectrumChannel> channel);

    void Send(uint32_t from, ns3::Ptr<ns3::SpectrumValue> densities, ns3::Time tti);
    /// What was there on some blocks from `begin` to now: the signal of one sender, and the rest.
    void Listen(uint32_t from,
                uint32_t first,
                uint32_t blocks,
                ns3::Time begin,
                double* wanted,
                double* unwanted);
    /// When it sent last; negative: never.
    ns3::Time LastSent() const;

    void SetDevice(ns3::Ptr<ns3::NetDevice> device) override;
    ns3::Ptr<ns3::NetDevice> GetDevice() const override;
    void SetMobility(ns3::Ptr<ns3::MobilityModel> place) override;
    ns3::Ptr<ns3::MobilityModel> GetMobility() const override;
    void SetChannel(ns3::Ptr<ns3::SpectrumChannel> channel) override;
    ns3::Ptr<const ns3::SpectrumModel> GetRxSpectrumModel() const override;
    ns3::Ptr<ns3::Object> GetAntenna() const override;
    void StartRx(ns3::Ptr<ns3::SpectrumSignalParameters> params) override;

  protected:
    void DoDispose() override;

  private:
    struct Heard
    {
        uint32_t from; // of the radio's own
        ns3::Time begin;
        ns3::Time end;
        ns3::Ptr<const ns3::SpectrumValue> densities;
    };

    ns3::Ptr<ns3::NetDevice> m_device;
    ns3::Ptr<ns3::MobilityModel> m_place;
    ns3::Ptr<ns3::SpectrumChannel> m_channel;
    ns3::Ptr<const ns3::SpectrumModel> m_model;
    const void* m_medium{nullptr};
    ns3::Time m_sent{-1};
    std::vector<Heard> m_own;    // of this TTI
    std::vector<Heard> m_others; // that may reach into a TTI not yet over
};

} // namespace collapipe

#endif
