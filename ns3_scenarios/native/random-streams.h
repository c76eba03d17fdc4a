#ifndef COLLAPIPE_RANDOM_STREAMS_H
#define COLLAPIPE_RANDOM_STREAMS_H

#include "ns3/hash.h"
#include "ns3/rng-seed-manager.h"

#include <cstdint>
#include <string>

namespace collapipe
{

/// The number of a random stream with a name, for RandomVariableStream::SetStream(). With named
/// streams, draws for one purpose don't depend on other draws or their order.
inline int64_t
StreamNumber(const std::string& name)
{
    return static_cast<int64_t>(ns3::Hash64(name) >> 1);
}

/// While this object exists, SetStream() uses another run number of ns-3. It is for draws that stay
/// the same in all episodes, as only the usual run number differs between these.
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
