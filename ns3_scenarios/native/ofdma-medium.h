#ifndef COLLAPIPE_OFDMA_MEDIUM_H
#define COLLAPIPE_OFDMA_MEDIUM_H

#include "ofdma-gain-table.h"

#include "ns3/nstime.h"
#include "ns3/object.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// What one node sends to another, or to several, on consecutive resource blocks in one TTI.
struct OfdmaSignal
{
    uint32_t from; // node of the radio
    uint32_t to;
    uint32_t first; // resource block
    uint32_t blocks;
    double density; // W/Hz
};

/// An engine: what carries an OFDMA radio's signals. All engines add the same densities in the same
/// order, so that their results agree to the last bit.
class OfdmaMedium : public ns3::Object
{
  public:
    static ns3::TypeId GetTypeId();

    /// Adds a band; bands are numbered from 0. The table must outlive the medium.
    virtual void AddBand(uint32_t blocks, double centreHz, const OfdmaGainTable& gains) = 0;
    /// Adds a node that sends or receives in a band.
    virtual void AddMember(uint32_t band,
                           uint32_t node,
                           ns3::Ptr<ns3::MobilityModel> place,
                           bool receives) = 0;
    /// Sends signals in the TTI that starts now, in the order of their senders.
    virtual void Transmit(uint32_t band,
                          const std::vector<OfdmaSignal>& signals,
                          ns3::Time tti) = 0;
    /// The densities (W/Hz) at `signal.to` in the TTI that ends now, on the signal's blocks: that
    /// of the signal, and that of everything else except noise. For a node that sent in this band
    /// both are zero (the half-duplex rule).
    virtual void Receive(uint32_t band,
                         const OfdmaSignal& signal,
                         double* wanted,
                         double* unwanted) = 0;
};

/// The fast engine: adds up the gains of all signals, without any events.
class OfdmaTtiMedium : public OfdmaMedium
{
  public:
    static ns3::TypeId GetTypeId();

    void AddBand(uint32_t blocks, double centreHz, const OfdmaGainTable& gains) override;
    void AddMember(uint32_t band,
                   uint32_t node,
                   ns3::Ptr<ns3::MobilityModel> place,
                   bool receives) override;
    void Transmit(uint32_t band, const std::vector<OfdmaSignal>& signals, ns3::Time tti) override;
    void Receive(uint32_t band,
                 const OfdmaSignal& signal,
                 double* wanted,
                 double* unwanted) override;

  private:
    struct Band
    {
        const OfdmaGainTable* gains;
        std::vector<OfdmaSignal> onAir;
    };

    std::vector<Band> m_bands;
};

} // namespace collapipe

#endif
