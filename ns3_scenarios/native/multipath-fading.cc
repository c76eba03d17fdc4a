#include "multipath-fading.h"

#include "lanes.h"
#include "random-streams.h"

#include "ns3/random-variable-stream.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace collapipe
{

using namespace ns3;

namespace
{

constexpr double LIGHT_M_S = 299792458;
// The kurtosis of a tap is 2 - 1 / waves. A sum of many taps needs fewer for each.
constexpr std::size_t WAVES_OF_SINGLE = 32;
constexpr std::size_t WAVES_OF_TAP = 12;
static_assert(WAVES_OF_SINGLE % LANES == 0 && WAVES_OF_TAP % LANES == 0);
constexpr std::size_t WAVE_VALUES = 6;
constexpr double STEP_TURNS = 0.01; // of the environment's Doppler shift
// Adding and subtracting it rounds a number below 2^51 to the nearest integer.
constexpr double TO_INTEGERS = 6755399441055744.0; // 1.5 * 2^52

using DoubleLanes = double __attribute__((vector_size(LANES * sizeof(double))));

struct Cisoids
{
    FloatLanes cosine;
    FloatLanes sine;
};

/// The cosine and sine of -0.5 to 0.5 turns, by the Taylor series of half the angle, whose error is
/// less than 1e-7.
Cisoids
CisoidsOf(const FloatLanes& turns)
{
    const FloatLanes x = turns * static_cast<float>(M_PI);
    const FloatLanes y = x * x;
    const FloatLanes sine =
        x * (1 + y * (-1.F / 6 +
                      y * (1.F / 120 +
                           y * (-1.F / 5040 + y * (1.F / 362880 + y * (-1.F / 39916800))))));
    const FloatLanes cosine =
        1 + y * (-1.F / 2 +
                 y * (1.F / 24 +
                      y * (-1.F / 720 +
                           y * (1.F / 40320 + y * (-1.F / 3628800 + y * (1.F / 479001600))))));
    return {1 - 2 * sine * sine, 2 * sine * cosine};
}

std::vector<double>
Stratified(UniformRandomVariable& random, std::size_t count)
{
    std::vector<double> turns(count);
    for (std::size_t n = 0; n < count; ++n)
    {
        turns[n] = (n + random.GetValue(0, 1)) / count;
    }
    for (auto left = count; left > 1; --left) // Fisher-Yates
    {
        std::swap(turns[left - 1], turns[random.GetInteger(0, left - 1)]);
    }
    return turns;
}

} // namespace

MultipathFading::MultipathFading(std::shared_ptr<const DelayLine> line,
                                 const std::string& name,
                                 uint64_t run,
                                 double doppler)
    : m_line(std::move(line)),
      m_doppler(doppler),
      m_step(doppler > 0 ? std::max<int64_t>(std::llround(STEP_TURNS / doppler * 1e9), 1) : 0),
      m_turnsPerMetre(m_line->Centre() / LIGHT_M_S)
{
    const auto random = CreateObject<UniformRandomVariable>();
    {
        const RunScope scope(run);
        random->SetStream(StreamNumber(name));
    }
    const auto count = m_line->IsFlat() ? WAVES_OF_SINGLE : WAVES_OF_TAP;
    m_wavesPerTap = count;
    m_waves.resize(m_line->Taps().size() * count * WAVE_VALUES);
    for (std::size_t tap = 0; tap < m_line->Taps().size(); ++tap)
    {
        const auto alpha = Stratified(*random, count);
        const auto beta = Stratified(*random, count);
        const auto gamma = Stratified(*random, count);
        for (std::size_t n = 0; n < count; ++n)
        {
            const auto wave = tap * count + n;
            auto* to = m_waves.data() + wave / LANES * WAVE_VALUES * LANES + wave % LANES;
            for (const auto value : {std::cos(2 * M_PI * alpha[n]),
                                     std::sin(2 * M_PI * alpha[n]),
                                     std::cos(2 * M_PI * beta[n]),
                                     std::sin(2 * M_PI * beta[n]),
                                     std::cos(2 * M_PI * gamma[n]),
                                     random->GetValue(0, 1)})
            {
                *to = static_cast<float>(value);
                to += LANES;
            }
        }
    }
}

int64_t
MultipathFading::Instant(int64_t time) const
{
    return m_step > 0 ? time - time % m_step : 0;
}

void
MultipathFading::Evaluate(const Vector& a,
                          const Vector& b,
                          int64_t instant,
                          std::vector<std::complex<float>>& coefficients) const
{
    const std::array<double, WAVE_VALUES> factors{a.x * m_turnsPerMetre,
                                                  a.y * m_turnsPerMetre,
                                                  b.x * m_turnsPerMetre,
                                                  b.y * m_turnsPerMetre,
                                                  m_doppler * (instant * 1e-9),
                                                  1};
    const auto& taps = m_line->Taps();
    coefficients.resize(taps.size());
    const auto* waves = m_waves.data();
    for (std::size_t tap = 0; tap < taps.size(); ++tap)
    {
        FloatLanes real{};
        FloatLanes imaginary{};
        for (std::size_t n = 0; n < m_wavesPerTap; n += LANES)
        {
            DoubleLanes turns{};
            for (const auto factor : factors)
            {
                turns += factor * __builtin_convertvector(LoadLanes(waves), DoubleLanes);
                waves += LANES;
            }
            const DoubleLanes whole = (turns + TO_INTEGERS) - TO_INTEGERS;
            const DoubleLanes rest = turns - whole;
            const auto cisoids = CisoidsOf(__builtin_convertvector(rest, FloatLanes));
            real += cisoids.cosine;
            imaginary += cisoids.sine;
        }
        const auto amplitude = static_cast<float>(std::sqrt(taps[tap].power / m_wavesPerTap));
        coefficients[tap] = {amplitude * ((real[0] + real[1]) + (real[2] + real[3])),
                             amplitude * ((imaginary[0] + imaginary[1]) +
                                          (imaginary[2] + imaginary[3]))};
    }
}

} // namespace collapipe
