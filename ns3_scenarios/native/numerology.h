#ifndef COLLAPIPE_NUMEROLOGY_H
#define COLLAPIPE_NUMEROLOGY_H

namespace collapipe
{

/// Width of a resource block: 12 subcarriers of 15 kHz (TS 36.211, 5.2.3).
constexpr double BLOCK_HZ = 180e3;

/// Length of a TTI, a subframe, for which ns-3's tables of transport block sizes hold (TS 36.213,
/// 7.1.7.2).
constexpr double TTI_S = 1e-3;

} // namespace collapipe

#endif
