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

/// Noise on a spectrum channel of ns-3's, flat over a band, in pulses.
///
/// The device is ns-3's WaveformGenerator. Its own timing can't begin in the middle of a pulse, as
/// an episode may, so that the pulses are timed here. Long ones go out in pieces, each over the
/// gains of its beginning: what moves is followed.
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

    /// From now on, when the run's own time is `runTime`.
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
