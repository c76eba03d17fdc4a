#ifndef COLLAPIPE_LANES_H
#define COLLAPIPE_LANES_H

#include <cstddef>
#include <cstring>

namespace collapipe
{

/// Numbers that are calculated at once, by the vector extensions of GCC and Clang. Each is rounded
/// by itself, so results don't depend on the processor's vectors.
constexpr std::size_t LANES = 4;
using FloatLanes = float __attribute__((vector_size(LANES * sizeof(float))));

inline FloatLanes
LoadLanes(const float* from)
{
    FloatLanes lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

} // namespace collapipe

#endif
