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
    ns3::Config::Reset(); // the defaults that were set live on otherwise
    ns3::RngSeedManager::SetSeed(seed);
    ns3::RngSeedManager::SetRun(run);
    // Without this the streams number on from the last simulation's, and runs don't repeat.
    ns3::RngSeedManager::ResetNextStreamIndex();
    ns3::Ipv4AddressGenerator::Reset();
    ns3::Mac48Address::ResetAllocationIndex();
}

} // namespace collapipe
