#ifndef COLLAPIPE_OFDMA_CODES_H
#define COLLAPIPE_OFDMA_CODES_H

#include "ns3/lte-harq-phy.h"
#include "ns3/spectrum-value.h"

#include <array>
#include <cstdint>
#include <vector>

namespace collapipe
{

/// Modulation and coding: the sizes of transport blocks, and their error rates.
///
/// Sizes are those of ns-3's LteAmc (TS 36.213, tables 8.6.1-1 and 7.1.7.2.1-1), error rates those
/// of its LteMiErrorModel (mutual information per coded bit, incremental redundancy).
class OfdmaCodes
{
  public:
    static constexpr uint32_t MCS_COUNT = 29;
    /// The most resource blocks of one transport block, so that LteMiErrorModel's sum over four
    /// transmissions fits its 16 bits (4 × 16 053 code bits at MCS 18). A wider allocation carries
    /// several transport blocks.
    static constexpr uint32_t MOST_BLOCKS = 20;
    /// Transmissions of a transport block that can be combined.
    static constexpr uint32_t MOST_TRANSMISSIONS = 4;

    /// MAC subheader with a 15-bit length (TS 36.321, 6.1.2) and RLC header (TS 36.322, 6.2.1).
    static constexpr uint32_t HEADER_BYTES = 3 + 2;

    /// `targetBler`: the error rate of a first transmission at the thresholds. Blocks of a TTI
    /// shorter than TTI_S are smaller in proportion, as it has fewer symbols.
    OfdmaCodes(double targetBler, double ttiSeconds);

    /// Bytes after the headers of a transport block of 1 to MOST_BLOCKS resource blocks.
    uint32_t Payload(uint32_t mcs, uint32_t blocks) const
    {
        const auto bytes = m_bytes[mcs][blocks];
        return bytes > HEADER_BYTES ? bytes - HEADER_BYTES : 0;
    }

    /// The SINR in dB at which a block of this size has the target error rate.
    double ThresholdDb(uint32_t mcs, uint32_t blocks) const
    {
        return m_thresholdDb[mcs][blocks];
    }

    /// The largest MCS, by size, whose threshold this SINR reaches; 0 if it reaches none.
    uint32_t BestMcs(double sinrDb, uint32_t blocks) const;

    /// The probability that the block can't be decoded. `sinr`: linear, one value per resource
    /// block; `history`: its earlier transmissions, oldest first.
    /// Throws std::out_of_range beyond MCS_COUNT and MOST_BLOCKS.
    /// @return the error rate, and the mutual information of this transmission alone
    std::pair<double, double> ErrorRate(const double* sinr,
                                        uint32_t blocks,
                                        uint32_t mcs,
                                        const ns3::HarqProcessInfoList_t& history);

    /// What later transmissions need to know of one that failed.
    ns3::HarqProcessInfoElement_t Remembered(uint32_t mcs,
                                             uint32_t blocks,
                                             double information) const;

  private:
    using Table = std::array<std::array<double, MOST_BLOCKS + 1>, MCS_COUNT>;

    double Threshold(uint32_t mcs, uint32_t blocks, double targetBler);

    std::array<std::array<uint32_t, MOST_BLOCKS + 1>, MCS_COUNT> m_bytes{};
    Table m_thresholdDb{};
    ns3::SpectrumValue m_sinr;
    std::array<std::vector<int>, MOST_BLOCKS + 1> m_maps; // of the first n resource blocks
};

} // namespace collapipe

#endif
