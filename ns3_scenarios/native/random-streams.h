#ifndef COLLAPIPE_RANDOM_STREAMS_H
#define COLLAPIPE_RANDOM_STREAMS_H

#include "ns3/hash.h"
#include "ns3/rng-seed-manager.h"

#include <cstdint>
#include <string>

namespace collapipe
{

/// The number of a random stream that has a name, as RandomVariableStream::SetStream() takes it.
/// So what is drawn for one purpose doesn't depend on what else is drawn, or when.
inline int64_t
StreamNumber(const std::string& name)
{
    return static_cast<int64_t>(ns3::Hash64(name) >> 1);
}

/// While it lives, streams that are set are those of another of ns-3's runs: what outlasts an
/// episode is drawn from a run of its own, and not from the episode's.
class RunScope
{
  public:
    explicit RunScope(uint64_t run)
        : m_before(ns3::RngSeedManager::GetRun())
    {
        ns3::RngSeedManager::SetRun(run);
    }

    ~RunScope()
    {
        ns3::RngSeedManager::SetRun(m_before);
    }

    RunScope(const RunScope&) = delete;
    RunScope& operator=(const RunScope&) = delete;

  private:
    uint64_t m_before;
};

} // namespace collapipe

#endif
