#include "loss-runs.h"

#include <algorithm>
#include <cmath>

namespace collapipe
{

using namespace ns3;

namespace
{

/// A geometric length of at least one unit, with this mean; in bytes.
uint64_t
Geometric(double mean, uint64_t unit, RandomVariableStream& random)
{
    const auto stays = 1 - 1 / std::max(mean / static_cast<double>(unit), 1.0);
    const auto drawn = 1 - random.GetValue(); // in (0, 1]
    const auto more = stays > 0 ? std::floor(std::log(drawn) / std::log(stays)) : 0;
    return unit * (1 + static_cast<uint64_t>(std::min(more, 1e15)));
}

} // namespace

std::vector<ByteRange>
LossRuns(uint64_t bytes, double share, double run, uint64_t unit, RandomVariableStream& random)
{
    std::vector<ByteRange> lost;
    if (share >= 1)
    {
        return {{0, bytes}};
    }
    // The state in which the chain starts is drawn by the states' shares.
    bool losing = random.GetValue() < share;
    for (uint64_t position = 0; position < bytes; losing = !losing)
    {
        const auto mean = losing ? run : run * (1 - share) / share;
        const auto end = std::min(position + Geometric(mean, unit, random), bytes);
        if (losing)
        {
            lost.push_back({position, end});
        }
        position = end;
    }
    return lost;
}

} // namespace collapipe
