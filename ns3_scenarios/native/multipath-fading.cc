#include "multipath-fading.h"

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
constexpr double STEP_TURNS = 0.01; // of the environment's Doppler shift
constexpr std::size_t COSINES = 4096;

/// cos(2πn / COSINES), with one more value for interpolation. The error of linear interpolation is
/// at most (2π / COSINES)² / 8 = 3e-7.
const std::array<double, COSINES + 1>&
Cosines()
{
    static const auto table = [] {
        std::array<double, COSINES + 1> cosines;
        for (std::size_t n = 0; n <= COSINES; ++n)
        {
            cosines[n] = std::cos(2 * M_PI * n / COSINES);
        }
        return cosines;
    }();
    return table;
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
    const auto part = [](double value) { return static_cast<float>(value); };
    for (std::size_t tap = 0; tap < m_line->Taps().size(); ++tap)
    {
        const auto alpha = Stratified(*random, count);
        const auto beta = Stratified(*random, count);
        const auto gamma = Stratified(*random, count);
        for (std::size_t n = 0; n < count; ++n)
        {
            const auto a = 2 * M_PI * alpha[n];
            const auto b = 2 * M_PI * beta[n];
            const auto shift = std::cos(2 * M_PI * gamma[n]);
            const auto phase = random->GetValue(0, 1);
            m_waves.push_back({part(std::cos(a)),
                               part(std::sin(a)),
                               part(std::cos(b)),
                               part(std::sin(b)),
                               part(shift),
                               part(phase)});
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
                          std::vector<std::complex<double>>& coefficients) const
{
    const auto& cosines = Cosines();
    const auto ax = a.x * m_turnsPerMetre;
    const auto ay = a.y * m_turnsPerMetre;
    const auto bx = b.x * m_turnsPerMetre;
    const auto by = b.y * m_turnsPerMetre;
    const auto shifts = m_doppler * (instant * 1e-9);
    const auto& taps = m_line->Taps();
    const auto count = m_waves.size() / taps.size();
    coefficients.resize(taps.size());
    auto wave = m_waves.begin();
    for (std::size_t tap = 0; tap < taps.size(); ++tap)
    {
        double real = 0;
        double imaginary = 0;
        for (std::size_t n = 0; n < count; ++n, ++wave)
        {
            const auto turns = wave->ax * ax + wave->ay * ay + wave->bx * bx + wave->by * by +
                               wave->shift * shifts + wave->phase;
            const auto whole = static_cast<double>(static_cast<int64_t>(turns));
            const auto rest = turns - whole + (turns < whole); // 0 to 1
            const auto place = rest * COSINES;
            const auto index = static_cast<std::size_t>(place);
            const auto beyond = place - index;
            const auto at = index % COSINES; // a rest that was rounded up to 1 is 0
            const auto quarter = (index + 3 * COSINES / 4) % COSINES;
            real += cosines[at] + beyond * (cosines[at + 1] - cosines[at]);
            imaginary += cosines[quarter] + beyond * (cosines[quarter + 1] - cosines[quarter]);
        }
        const auto amplitude = std::sqrt(taps[tap].power / count);
        coefficients[tap] = {amplitude * real, amplitude * imaginary};
    }
}

} // namespace collapipe
