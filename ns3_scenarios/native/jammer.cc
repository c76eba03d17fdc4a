#include "jammer.h"

#include "ns3/mobility-model.h"
#include "ns3/non-communicating-net-device.h"
#include "ns3/simulator.h"
#include "ns3/spectrum-channel.h"
#include "ns3/spectrum-signal-parameters.h"
#include "ns3/spectrum-value.h"
#include "ns3/waveform-generator.h"

#include <algorithm>

namespace collapipe
{

using namespace ns3;

namespace
{
// Short, as a Wi-Fi station of ns-3 that couldn't decode a frame, and receives more than its
// carrier sense threshold, waits until the end of the longest signal that it receives.
constexpr int64_t LONGEST_PIECE_NS = 1'000'000;
} // namespace

Jammer::Jammer(Ptr<Node> node,
               Ptr<SpectrumChannel> channel,
               double lowHz,
               double highHz,
               double watts,
               Pulses pulses)
    : m_generator(CreateObject<WaveformGenerator>()),
      m_channel(channel),
      m_pulses(pulses)
{
    const auto device = CreateObject<NonCommunicatingNetDevice>();
    node->AddDevice(device);
    device->SetPhy(m_generator);
    m_generator->SetDevice(device);
    m_generator->SetMobility(node->GetObject<MobilityModel>());
    m_generator->SetChannel(channel);
    const auto model = Create<SpectrumModel>(Bands{{lowHz, (lowHz + highHz) / 2, highHz}});
    m_density = Create<SpectrumValue>(model);
    *m_density = watts / (highHz - lowHz);
}

Jammer::~Jammer()
{
    m_next.Cancel();
}

void
Jammer::Start(int64_t runTime)
{
    Next(runTime);
}

void
Jammer::Next(int64_t time)
{
    const auto [begin, end] = m_pulses.From(time);
    if (begin != Pulses::NEVER)
    {
        m_next = Simulator::Schedule(NanoSeconds(begin - time), &Jammer::Send, this, begin, end);
    }
}

void
Jammer::Send(int64_t time, int64_t end)
{
    const auto piece = std::min(end - time, LONGEST_PIECE_NS);
    const auto signal = Create<SpectrumSignalParameters>();
    signal->txPhy = m_generator;
    signal->duration = NanoSeconds(piece);
    signal->psd = m_density;
    m_channel->StartTx(signal);
    m_next = Simulator::Schedule(NanoSeconds(piece), &Jammer::Next, this, time + piece);
}

} // namespace collapipe
