#ifndef COLLAPIPE_DELAY_LINE_H
#define COLLAPIPE_DELAY_LINE_H

#include <complex>
#include <cstdint>
#include <string>
#include <vector>

namespace collapipe
{

/// A tap of a delay profile: its delay in seconds, and its share of the power.
struct Tap
{
    double delay;
    double power;
};

/// The taps of a profile, whose powers add up to 1: "clarke" has one, without delay; "tdl-a",
/// "tdl-b" and "tdl-c" have those of TR 38.901, tables 7.7.2-1 to 7.7.2-3, with delays scaled to
/// the delay spread (s) by 7.7.3. Throws std::invalid_argument for another name.
std::vector<Tap> DelayProfile(const std::string& name, double delaySpread);

/// A delay profile in a band of resource blocks: how the coefficients of its taps make up the gain
/// of each block.
class DelayLine
{
  public:
    /// `centre`: the band's centre frequency (Hz), at which all Doppler shifts are calculated.
    DelayLine(std::vector<Tap> taps, double centre, uint32_t blocks);

    const std::vector<Tap>& Taps() const
    {
        return m_taps;
    }

    double Centre() const
    {
        return m_centre;
    }

    /// Whether the gain is the same for all blocks.
    bool IsFlat() const
    {
        return m_taps.size() == 1;
    }

    /// The power gains |H|² of `count` blocks from `first` on, H(f) = Σ c exp(-j2πfτ) at the middle
    /// of each block, for the tap coefficients c. The frequency is relative to the band's centre.
    /// They are calculated in single precision, and each block's doesn't depend on the others.
    void PowerGains(const std::vector<std::complex<float>>& coefficients,
                    uint32_t first,
                    uint32_t count,
                    double* gains) const;

  private:
    std::vector<Tap> m_taps;
    double m_centre;
    // exp(-j2πfτ) by four blocks, by tap: four real parts, four imaginary parts.
    std::vector<float> m_phasors;
};

} // namespace collapipe

#endif
