#ifndef COLLAPIPE_MULTIPATH_FADING_H
#define COLLAPIPE_MULTIPATH_FADING_H

#include "delay-line.h"

#include "ns3/vector.h"

#include <complex>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace collapipe
{

/// The small-scale fading between two nodes in one band, over time and frequency.
///
/// Each tap of the delay line is a sum of plane waves, which leave one end and arrive at the other
/// in directions that are drawn independently and uniformly in the plane (Clarke: A statistical
/// theory of mobile-radio reception, Bell System Technical Journal 1968; for two moving ends Akki,
/// Haber: A statistical model of mobile-to-mobile land communication channel, IEEE Trans. Vehicular
/// Technology 1986). A wave's phase depends on where the ends are: it is 2π∫f dt of the wave's
/// Doppler shift f along the way to there, whatever the speed. The environment may add Doppler
/// shifts of its own, cos(γ) times its maximum with γ drawn uniformly, as if a third end moved on a
/// straight line. If the ends have moved by d1 and d2 wavelengths in a time τ, the autocorrelation
/// of a tap, over all draws, is J0(2π d1) J0(2π d2) J0(2π f τ).
///
/// Directions are stratified: each of N equal sectors has one (Zheng, Xiao: Simulation models with
/// correct statistical properties for Rayleigh fading channels, IEEE Trans. Communications 2003),
/// and those of the ends are combined at random. The expected autocorrelation is exact for any N.
///
/// It is a function of the two positions and the run's time alone.
class MultipathFading
{
  public:
    /// Draws the waves from the stream of this name in one of ns-3's runs. `doppler`: the maximum
    /// Doppler shift (Hz) due to the environment.
    MultipathFading(std::shared_ptr<const DelayLine> line,
                    const std::string& name,
                    uint64_t run,
                    double doppler);

    const DelayLine& Line() const
    {
        return *m_line;
    }

    /// The time (ns) at which the channel is evaluated for this time of the run: the latest multiple
    /// of 1 % of the period of the environment's Doppler shift.
    int64_t Instant(int64_t time) const;

    /// Sets the coefficients of the taps for two positions (m) and an Instant() (ns).
    void Evaluate(const ns3::Vector& a,
                  const ns3::Vector& b,
                  int64_t instant,
                  std::vector<std::complex<float>>& coefficients) const;

  private:
    std::shared_ptr<const DelayLine> m_line;
    double m_doppler;
    int64_t m_step; // ns; 0: the environment stands still
    double m_turnsPerMetre;
    std::size_t m_wavesPerTap;
    // By four waves: four values each of the direction's x and y at one end and at the other, of the
    // environment's shift as a share of its maximum, and of the phase in turns. Single precision
    // suffices, as a rounded direction is as random as another.
    std::vector<float> m_waves;
};

} // namespace collapipe

#endif
