#ifndef COLLAPIPE_SIMULATION_RESET_H
#define COLLAPIPE_SIMULATION_RESET_H

#include <cstdint>

namespace collapipe
{

/// Ends any simulation and resets everything that ns-3 keeps after it: defaults, random streams,
/// addresses. One function, as each call from Python needs a wrapper.
void ResetSimulation(uint32_t seed, uint64_t run);

} // namespace collapipe

#endif
