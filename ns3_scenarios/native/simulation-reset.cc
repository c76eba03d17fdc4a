#include "simulation-reset.h"

#include "ns3/config.h"
#include "ns3/ipv4-address-generator.h"
#include "ns3/mac48-address.h"
#include "ns3/rng-seed-manager.h"
#include "ns3/simulator.h"

namespace collapipe
{

void
ResetSimulation(uint32_t seed, uint64_t run)
{
    ns3::Simulator::Destroy();
    ns3::Config::Reset(); // otherwise attribute defaults are kept
    ns3::RngSeedManager::SetSeed(seed);
    ns3::RngSeedManager::SetRun(run);
    // Otherwise stream numbers continue from the last simulation, and runs don't repeat.
    ns3::RngSeedManager::ResetNextStreamIndex();
    ns3::Ipv4AddressGenerator::Reset();
    ns3::Mac48Address::ResetAllocationIndex();
}

} // namespace collapipe
