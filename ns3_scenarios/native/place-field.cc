#include "place-field.h"

#include "random-streams.h"

#include "ns3/random-variable-stream.h"

#include <cmath>

namespace collapipe
{

using namespace ns3;

namespace
{
constexpr std::size_t WAVES = 200; // the sum's kurtosis is 3 - 1.5 / WAVES
} // namespace

PlaceField::PlaceField(const std::string& name, uint64_t run)
{
    const auto uniform = CreateObject<UniformRandomVariable>();
    {
        const RunScope scope(run);
        uniform->SetStream(StreamNumber(name));
    }
    // exp(-r) has the spectrum 1 / (2π (1 + k²)^1.5) in the plane; this inverts the distribution of
    // its radius.
    const auto radius = [&uniform] {
        const auto left = 1 - uniform->GetValue(0, 1);
        return std::sqrt(1 / (left * left) - 1);
    };
    for (std::size_t i = 0; i < WAVES; ++i)
    {
        const auto a = radius();
        const auto towards = uniform->GetValue(0, 2 * M_PI);
        const auto b = radius();
        const auto andTowards = uniform->GetValue(0, 2 * M_PI);
        const auto phase = uniform->GetValue(0, 2 * M_PI);
        m_waves.push_back({a * std::cos(towards),
                           a * std::sin(towards),
                           b * std::cos(andTowards),
                           b * std::sin(andTowards),
                           phase});
    }
}

double
PlaceField::At(const Vector& a, const Vector& b, double distance) const
{
    double sum = 0;
    for (const auto& wave : m_waves)
    {
        const auto turns = wave.ax * a.x + wave.ay * a.y + wave.bx * b.x + wave.by * b.y;
        sum += std::cos(turns / distance + wave.phase);
    }
    return sum * std::sqrt(2.0 / m_waves.size());
}

} // namespace collapipe
