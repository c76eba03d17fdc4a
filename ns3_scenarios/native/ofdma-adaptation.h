#ifndef COLLAPIPE_OFDMA_ADAPTATION_H
#define COLLAPIPE_OFDMA_ADAPTATION_H

#include "ofdma-codes.h"

namespace collapipe
{

/// Link adaptation of one link: the MCS from measurements, corrected by errors.
///
/// The measured quantity is the link's quality, SINR over radiated density (Hz/W), as a moving
/// average in dB, so that it holds at any power and bandwidth. The outer loop adds an offset that
/// decreases with every failed first transmission and increases with every decoded one, in the
/// ratio that keeps their error rate at the target (Sampath, Kumar, Holtzman: On Setting Reverse
/// Link Target SIR in a CDMA System, VTC 1997; Pedersen et al., VTC 2007-Fall, for OFDMA).
class OfdmaAdaptation
{
  public:
    /// `stepDb`: of the outer loop.
    OfdmaAdaptation(const OfdmaCodes& codes, double targetBler, double stepDb);

    /// The MCS for a transport block of this many resource blocks sent at `density` (W/Hz).
    uint32_t Mcs(double density, uint32_t blocks) const;

    /// A measured quality, linear, with its weight in the average.
    void Measured(double quality, double weight);

    /// Forgets what it knows, as of a new link.
    void Reset();

    /// Whether its quality is lower than the other's; an unknown one is the lowest.
    bool IsWeakerThan(const OfdmaAdaptation& other) const;
    /// Takes over the quality of another link.
    void Follow(const OfdmaAdaptation& other);

    /// The results of a TTI's first transmissions, sent at `density`.
    void Feedback(uint32_t sent, uint32_t broken, double density);

    double OffsetDb() const
    {
        return m_offsetDb;
    }

  private:
    double SinrDb(double density) const;

    const OfdmaCodes& m_codes;
    double m_targetBler;
    double m_stepDb;
    bool m_known{false};
    double m_qualityDb{0};
    double m_offsetDb{0};
};

} // namespace collapipe

#endif
