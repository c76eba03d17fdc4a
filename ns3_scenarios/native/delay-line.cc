#include "delay-line.h"

#include "lanes.h"
#include "numerology.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace collapipe
{

namespace
{

/// A tap as TR 38.901 has it: its delay in units of the delay spread, and its power in dB.
struct NormalTap
{
    double delay;
    double db;
};

using NormalTaps = std::vector<NormalTap>;

// TR 38.901, table 7.7.2-1.
const NormalTaps TDL_A{
    {0.0000, -13.4}, {0.3819, 0.0},   {0.4025, -2.2},  {0.5868, -4.0},  {0.4610, -6.0},
    {0.5375, -8.2},  {0.6708, -9.9},  {0.5750, -10.5}, {0.7618, -7.5},  {1.5375, -15.9},
    {1.8978, -6.6},  {2.2242, -16.7}, {2.1718, -12.4}, {2.4942, -15.2}, {2.5119, -10.8},
    {3.0582, -11.3}, {4.0810, -12.7}, {4.4579, -16.2}, {4.5695, -18.3}, {4.7966, -18.9},
    {5.0066, -16.6}, {5.3043, -19.9}, {9.6586, -29.7},
};

// TR 38.901, table 7.7.2-2.
const NormalTaps TDL_B{
    {0.0000, 0.0},   {0.1072, -2.2}, {0.2155, -4.0}, {0.2095, -3.2},  {0.2870, -9.8},
    {0.2986, -1.2},  {0.3752, -3.4}, {0.5055, -5.2}, {0.3681, -7.6},  {0.3697, -3.0},
    {0.5700, -8.9},  {0.5283, -9.0}, {1.1021, -4.8}, {1.2756, -5.7},  {1.5474, -7.5},
    {1.7842, -1.9},  {2.0169, -7.6}, {2.8294, -12.2}, {3.0219, -9.8}, {3.6187, -11.4},
    {4.1067, -14.9}, {4.2790, -9.2}, {4.7834, -11.3},
};

// TR 38.901, table 7.7.2-3.
const NormalTaps TDL_C{
    {0.0000, -4.4},  {0.2099, -1.2},  {0.2219, -3.5},  {0.2329, -5.2},  {0.2176, -2.5},
    {0.6366, 0.0},   {0.6448, -2.2},  {0.6560, -3.9},  {0.6584, -7.4},  {0.7935, -7.1},
    {0.8213, -10.7}, {0.9336, -11.1}, {1.2285, -5.1},  {1.3083, -6.8},  {2.1704, -8.7},
    {2.7105, -13.2}, {4.2589, -13.9}, {4.6003, -13.9}, {5.4902, -15.8}, {5.6077, -17.1},
    {6.3065, -16.0}, {6.6374, -15.7}, {7.0427, -21.6}, {8.6523, -22.8},
};

const NormalTaps SINGLE{{0.0, 0.0}};

const NormalTaps&
NormalTapsOf(const std::string& name)
{
    if (name == "clarke")
    {
        return SINGLE;
    }
    if (name == "tdl-a")
    {
        return TDL_A;
    }
    if (name == "tdl-b")
    {
        return TDL_B;
    }
    if (name == "tdl-c")
    {
        return TDL_C;
    }
    throw std::invalid_argument("no delay profile " + name);
}

} // namespace

std::vector<Tap>
DelayProfile(const std::string& name, double delaySpread)
{
    std::vector<Tap> taps;
    double total = 0;
    for (const auto& normal : NormalTapsOf(name))
    {
        const auto power = std::pow(10, normal.db / 10);
        taps.push_back({normal.delay * delaySpread, power});
        total += power;
    }
    for (auto& tap : taps)
    {
        tap.power /= total;
    }
    return taps;
}

DelayLine::DelayLine(std::vector<Tap> taps, double centre, uint32_t blocks)
    : m_taps(std::move(taps)),
      m_centre(centre)
{
    for (uint32_t first = 0; first < blocks; first += LANES)
    {
        for (const auto& tap : m_taps)
        {
            const auto add = [&](auto part) {
                for (auto block = first; block < first + LANES; ++block)
                {
                    const auto hertz = (block + 0.5 - blocks / 2.0) * BLOCK_HZ;
                    m_phasors.push_back(part(-2 * M_PI * hertz * tap.delay));
                }
            };
            add([](double angle) { return static_cast<float>(std::cos(angle)); });
            add([](double angle) { return static_cast<float>(std::sin(angle)); });
        }
    }
}

void
DelayLine::PowerGains(const std::vector<std::complex<float>>& coefficients,
                      uint32_t first,
                      uint32_t count,
                      double* gains) const
{
    const auto end = first + count;
    for (auto block = first; block < end;)
    {
        const auto* phasors = m_phasors.data() + block / LANES * m_taps.size() * 2 * LANES;
        FloatLanes real{};
        FloatLanes imaginary{};
        for (const auto& c : coefficients)
        {
            const auto cosine = LoadLanes(phasors);
            const auto sine = LoadLanes(phasors + LANES);
            real += c.real() * cosine - c.imag() * sine;
            imaginary += c.real() * sine + c.imag() * cosine;
            phasors += 2 * LANES;
        }
        const FloatLanes powers = real * real + imaginary * imaginary;
        do
        {
            gains[block - first] = powers[block % LANES];
            ++block;
        } while (block < end && block % LANES != 0);
    }
}

} // namespace collapipe
