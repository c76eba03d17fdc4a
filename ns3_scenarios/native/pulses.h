#ifndef COLLAPIPE_PULSES_H
#define COLLAPIPE_PULSES_H

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace collapipe
{

/// When something is on, in the run's time (ns): between `on` and `off`, for the first `width` of
/// each period; periods start at `on`.
struct Pulses
{
    static constexpr int64_t NEVER = std::numeric_limits<int64_t>::max();

    int64_t on{0};
    int64_t off{NEVER};
    int64_t period{1};
    int64_t width{1};

    /// The rest of the pulse that is on at this time, or else the next pulse: its begin and end;
    /// both are NEVER if there is none.
    std::pair<int64_t, int64_t> From(int64_t time) const
    {
        auto begin = std::max(time, on);
        auto end = off;
        if (width < period)
        {
            const auto since = (begin - on) % period;
            begin += since < width ? 0 : period - since;
            end = begin - (begin - on) % period + width;
        }
        return begin < off ? std::pair(begin, std::min(end, off)) : std::pair(NEVER, NEVER);
    }

    /// The share of the time from `begin` to `end` for which it is on.
    double Share(int64_t begin, int64_t end) const
    {
        return static_cast<double>(Before(end) - Before(begin)) / static_cast<double>(end - begin);
    }

  private:
    /// How long it has been on before this time.
    int64_t Before(int64_t time) const
    {
        const auto since = std::min(time, off) - on;
        return since <= 0 ? 0 : since / period * width + std::min(since % period, width);
    }
};

} // namespace collapipe

#endif
