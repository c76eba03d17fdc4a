#ifndef COLLAPIPE_SIMULATION_RESET_H
#define COLLAPIPE_SIMULATION_RESET_H

#include <cstdint>

namespace collapipe
{

/// Ends any simulation and takes everything that ns-3 keeps beyond one back to the start:
/// defaults, random streams, addresses. One call, as each that Python makes costs a wrapper.
void ResetSimulation(uint32_t seed, uint64_t run);

} // namespace collapipe

#endif
