#ifndef COLLAPIPE_RECORDS_H
#define COLLAPIPE_RECORDS_H

#include "radio-link.h"
#include "sim-clock.h"
#include "stream.h"

#include <deque>
#include <vector>

namespace collapipe
{

/// An episode's clock, and what all of its radios record by it.
struct Records
{
    SimClock clock{};
    std::deque<RadioLink> links{}; // a deque keeps their addresses
    std::vector<RadioUsage> usage{}; // by node
    EndedTransfers ended{};
};

} // namespace collapipe

#endif
