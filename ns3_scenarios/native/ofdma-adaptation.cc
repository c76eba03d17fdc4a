#include "ofdma-adaptation.h"

#include <cmath>

namespace collapipe
{

OfdmaAdaptation::OfdmaAdaptation(const OfdmaCodes& codes,
                                 double targetBler,
                                 double stepDb)
    : m_codes(codes),
      m_targetBler(targetBler),
      m_stepDb(stepDb)
{
}

uint32_t
OfdmaAdaptation::Mcs(double density, uint32_t blocks) const
{
    return m_known ? m_codes.BestMcs(SinrDb(density) + m_offsetDb, blocks) : 0;
}

void
OfdmaAdaptation::Measured(double quality, double weight)
{
    const auto db = 10 * std::log10(quality);
    m_qualityDb = m_known ? m_qualityDb + weight * (db - m_qualityDb) : db;
    m_known = true;
}

void
OfdmaAdaptation::Reset()
{
    m_known = false;
    m_offsetDb = 0;
}

bool
OfdmaAdaptation::IsWeakerThan(const OfdmaAdaptation& other) const
{
    return other.m_known && (!m_known || m_qualityDb < other.m_qualityDb);
}

void
OfdmaAdaptation::Follow(const OfdmaAdaptation& other)
{
    m_known = other.m_known;
    m_qualityDb = other.m_qualityDb;
}

void
OfdmaAdaptation::Feedback(uint32_t sent, uint32_t broken, double density)
{
    if (!m_known)
    {
        return;
    }
    const auto change = m_stepDb * (m_targetBler - static_cast<double>(broken) / sent);
    // Beyond the first and the last MCS a larger offset has no effect now, and would have to be
    // undone when the link changes.
    const auto sinrDb = SinrDb(density) + m_offsetDb;
    const auto top = m_codes.ThresholdDb(OfdmaCodes::MCS_COUNT - 1, OfdmaCodes::MOST_BLOCKS);
    const auto bottom = m_codes.ThresholdDb(0, OfdmaCodes::MOST_BLOCKS);
    if ((change > 0 && sinrDb < top + m_stepDb) || (change < 0 && sinrDb > bottom - m_stepDb))
    {
        m_offsetDb += change;
    }
}

double
OfdmaAdaptation::SinrDb(double density) const
{
    return m_qualityDb + 10 * std::log10(density);
}

} // namespace collapipe
