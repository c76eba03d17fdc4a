#ifndef COLLAPIPE_PROGRESS_H
#define COLLAPIPE_PROGRESS_H

#include "byte-range.h"
#include "radio-link.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// How far the transfer under way has come.
struct Progress
{
    uint64_t id{0};         // 0: there is none
    uint64_t passed{0};     // bytes that are done with, counted from wherever the stream likes
    uint64_t unsent{0};     // bytes that have not been given to whatever carries them
    uint64_t lost{0};       // bytes, for good
    uint64_t lostRuns{0};   // in so many ranges
    uint64_t unit{1};       // bytes that get lost together at least
    Account account{};
};

/// What a transfer does in a time that is skipped.
struct Extrapolated
{
    uint64_t bytes{0};
    Account account{};
    std::vector<ByteRange> lost{}; // of the bytes, counted from their first one
};

} // namespace collapipe

#endif
