#ifndef COLLAPIPE_LOSS_RUNS_H
#define COLLAPIPE_LOSS_RUNS_H

#include "byte-range.h"

#include "ns3/random-variable-stream.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// Which of `bytes` bytes are lost. Lost and other ranges alternate; their lengths are geometric in
/// whole units, as in a two-state Markov chain (Gilbert, Bell System Technical Journal 1960). On
/// average `share` of all bytes is lost, `run` bytes in a row.
std::vector<ByteRange> LossRuns(uint64_t bytes,
                                double share,
                                double run,
                                uint64_t unit,
                                ns3::RandomVariableStream& random);

} // namespace collapipe

#endif
