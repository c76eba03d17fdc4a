#include "ofdma-codes.h"

#include "numerology.h"

#include "ns3/lte-amc.h"
#include "ns3/lte-mi-error-model.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace collapipe
{

using namespace ns3;

namespace
{

// Effective code rates of the MCSs, which are private in LteMiErrorModel and LteSpectrumPhy.
constexpr double CODE_RATE[OfdmaCodes::MCS_COUNT] = {
    0.08, 0.1,  0.11, 0.15, 0.19, 0.24, 0.3,  0.37, 0.44, 0.51, 0.3,  0.33, 0.37, 0.42, 0.48,
    0.54, 0.6,  0.43, 0.45, 0.5,  0.55, 0.6,  0.65, 0.7,  0.75, 0.8,  0.85, 0.89, 0.92};

constexpr double BYTE_ROUNDING = 1e-9; // of bytes
constexpr double LOWEST_DB = -20;
constexpr double HIGHEST_DB = 40;
constexpr double THRESHOLD_STEP_DB = 1e-3;

/// A spectrum for LteMiErrorModel, for which its frequencies don't matter.
Ptr<SpectrumModel>
SomeSpectrum(uint32_t blocks)
{
    std::vector<double> centres;
    for (uint32_t block = 0; block < blocks; ++block)
    {
        centres.push_back(BLOCK_HZ * (block + 1));
    }
    return Create<SpectrumModel>(centres);
}

} // namespace

OfdmaCodes::OfdmaCodes(double targetBler, double ttiSeconds)
    : m_sinr(SomeSpectrum(MOST_BLOCKS))
{
    const auto amc = CreateObject<LteAmc>();
    for (uint32_t blocks = 1; blocks <= MOST_BLOCKS; ++blocks)
    {
        m_maps[blocks].resize(blocks);
        std::iota(m_maps[blocks].begin(), m_maps[blocks].end(), 0);
    }
    for (uint32_t mcs = 0; mcs < MCS_COUNT; ++mcs)
    {
        for (uint32_t blocks = MOST_BLOCKS; blocks > 0; --blocks)
        {
            const auto bits = amc->GetUlTbSizeFromMcs(mcs, blocks);
            const auto bytes = bits * ttiSeconds / TTI_S / 8;
            m_bytes[mcs][blocks] = static_cast<uint32_t>(bytes + BYTE_ROUNDING);
            // A block without room after its headers is never sent, and the model has no such
            // block.
            m_thresholdDb[mcs][blocks] = Payload(mcs, blocks) > 0
                                             ? Threshold(mcs, blocks, targetBler)
                                             : m_thresholdDb[mcs][blocks + 1];
        }
    }
}

double
OfdmaCodes::Threshold(uint32_t mcs, uint32_t blocks, double targetBler)
{
    std::array<double, MOST_BLOCKS> sinr;
    double low = LOWEST_DB;
    double high = HIGHEST_DB;
    while (high - low > THRESHOLD_STEP_DB)
    {
        const auto middle = (low + high) / 2;
        sinr.fill(std::pow(10, middle / 10));
        (ErrorRate(sinr.data(), blocks, mcs, {}).first > targetBler ? low : high) = middle;
    }
    return high;
}

uint32_t
OfdmaCodes::BestMcs(double sinrDb, uint32_t blocks) const
{
    uint32_t mcs = MCS_COUNT - 1;
    // Some have the same size as the one below, but need more SINR.
    while (mcs > 0 && (m_thresholdDb[mcs][blocks] > sinrDb ||
                       m_bytes[mcs][blocks] == m_bytes[mcs - 1][blocks]))
    {
        --mcs;
    }
    return mcs;
}

std::pair<double, double>
OfdmaCodes::ErrorRate(const double* sinr,
                      uint32_t blocks,
                      uint32_t mcs,
                      const HarqProcessInfoList_t& history)
{
    if (mcs >= MCS_COUNT || blocks > MOST_BLOCKS)
    {
        throw std::out_of_range("a transport block has an MCS below " + std::to_string(MCS_COUNT) +
                                " and at most " + std::to_string(MOST_BLOCKS) +
                                " resource blocks, not MCS " + std::to_string(mcs) + " and " +
                                std::to_string(blocks));
    }
    std::copy(sinr, sinr + blocks, m_sinr.ValuesBegin());
    const auto stats = LteMiErrorModel::GetTbDecodificationStats(m_sinr,
                                                                 m_maps[blocks],
                                                                 m_bytes[mcs][blocks],
                                                                 mcs,
                                                                 history);
    return {stats.tbler, stats.mi};
}

HarqProcessInfoElement_t
OfdmaCodes::Remembered(uint32_t mcs, uint32_t blocks, double information) const
{
    const auto bits = 8 * m_bytes[mcs][blocks];
    HarqProcessInfoElement_t element{};
    element.m_mi = information;
    element.m_infoBits = bits;
    element.m_codeBits = static_cast<uint16_t>(bits / CODE_RATE[mcs]);
    return element;
}

} // namespace collapipe
