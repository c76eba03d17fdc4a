#ifndef COLLAPIPE_OFDMA_MEDIUM_H
#define COLLAPIPE_OFDMA_MEDIUM_H

#include "ofdma-gain-table.h"

#include "ns3/nstime.h"
#include "ns3/object.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// What one node radiates for another, or for several, on a run of resource blocks for one TTI.
struct OfdmaSignal
{
    uint32_t from; // node of the radio
    uint32_t to;
    uint32_t first; // resource block
    uint32_t blocks;
    double density; // W/Hz
};

/// What carries an OFDMA radio's signals: an engine. All of them add up the same densities in
/// the same order, and so agree to the bit.
class OfdmaMedium : public ns3::Object
{
  public:
    static ns3::TypeId GetTypeId();

    /// Adds a band; they are numbered from 0. Its table has to outlive the medium's use.
    virtual void AddBand(uint32_t blocks, double centreHz, const OfdmaGainTable& gains) = 0;
    /// A node that sends or receives in a band.
    virtual void AddMember(uint32_t band,
                           uint32_t node,
                           ns3::Ptr<ns3::MobilityModel> place,
                           bool receives) = 0;
    /// Puts signals on the air for a TTI that begins now, in the order of their senders.
    virtual void Transmit(uint32_t band,
                          const std::vector<OfdmaSignal>& signals,
                          ns3::Time tti) = 0;
    /// The densities (W/Hz) that `signal.to` had in the TTI that ends now, on the blocks of the
    /// signal: the signal's own, and that of all else but noise. A node that sent itself, in this
    /// band, has heard nothing: zeros (the half-duplex rule).
    virtual void Receive(uint32_t band,
                         const OfdmaSignal& signal,
                         double* wanted,
                         double* unwanted) = 0;
};

/// The fast engine: adds up the gains of what is on the air, and takes no event.
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
