#ifndef COLLAPIPE_PROGRESS_H
#define COLLAPIPE_PROGRESS_H

#include "byte-range.h"
#include "radio-link.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// The progress of the current transfer of a stream.
struct Progress
{
    uint64_t id{0};         // 0: no transfer
    uint64_t passed{0};     // bytes that were delivered or lost, from a constant offset
    uint64_t unsent{0};     // bytes that have not been passed to the transport
    uint64_t lost{0};       // bytes that are lost
    uint64_t lostRuns{0};   // number of lost ranges
    uint64_t unit{1};       // bytes that are lost together at least
    Account account{};
};

/// What a transfer does in the time that is skipped.
struct Extrapolated
{
    uint64_t bytes{0};
    Account account{};
    std::vector<ByteRange> lost{}; // counted from the transfer's first skipped byte
};

} // namespace collapipe

#endif
