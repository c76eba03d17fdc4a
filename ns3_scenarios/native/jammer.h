#ifndef COLLAPIPE_JAMMER_H
#define COLLAPIPE_JAMMER_H

#include "pulses.h"
#include "sim-clock.h"

#include "ns3/event-id.h"
#include "ns3/node.h"
#include "ns3/ptr.h"

#include <cstdint>

namespace ns3
{
class SpectrumChannel;
class SpectrumValue;
class WaveformGenerator;
} // namespace ns3

namespace collapipe
{

/// Noise on a spectrum channel of ns-3, flat over a band, in pulses.
///
/// The device is ns-3's WaveformGenerator. The pulses are timed here, as the generator can't start
/// in the middle of a pulse, and an episode may. Long pulses are sent in pieces, each with the
/// gains at its beginning, so that motion is followed.
class Jammer
{
  public:
    Jammer(ns3::Ptr<ns3::Node> node,
           ns3::Ptr<ns3::SpectrumChannel> channel,
           double lowHz,
           double highHz,
           double watts,
           Pulses pulses);
    ~Jammer();

    /// Starts at the run's time `runTime`.
    void Start(int64_t runTime);

  private:
    void Send(int64_t time, int64_t end);
    void Next(int64_t time);

    ns3::Ptr<ns3::WaveformGenerator> m_generator;
    ns3::Ptr<ns3::SpectrumChannel> m_channel;
    ns3::Ptr<ns3::SpectrumValue> m_density;
    Pulses m_pulses;
    ns3::EventId m_next;
};

} // namespace collapipe

#endif
