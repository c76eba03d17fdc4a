#include "ofdma-radio.h"

#include "numerology.h"

#include "ns3/double.h"
#include "ns3/simulator.h"
#include "ns3/uinteger.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(OfdmaRadio);

namespace
{

constexpr double BOLTZMANN = 1.380649e-23; // J/K
constexpr double KELVIN = 290;             // at which noise figures are defined
constexpr double LIGHT = 299792458;        // m/s

double
Linear(double db)
{
    return std::pow(10, db / 10);
}

} // namespace

TypeId
OfdmaRadio::GetTypeId()
{
    static TypeId tid =
        TypeId("collapipe::OfdmaRadio")
            .SetParent<Object>()
            .SetGroupName("Collapipe")
            .AddConstructor<OfdmaRadio>()
            .AddAttribute("Tti",
                          "Length of a transmission time interval.",
                          TimeValue(Seconds(TTI_S)),
                          MakeTimeAccessor(&OfdmaRadio::m_tti),
                          MakeTimeChecker(MicroSeconds(125), Seconds(TTI_S)))
            .AddAttribute("TargetBler",
                          "Target error rate of first transmissions in the outer loop.",
                          DoubleValue(0.1),
                          MakeDoubleAccessor(&OfdmaRadio::m_targetBler),
                          MakeDoubleChecker<double>(1e-4, 0.9))
            .AddAttribute("MaxTransmissions",
                          "Transmissions of a transport block before HARQ gives up; 1: no HARQ.",
                          UintegerValue(4),
                          MakeUintegerAccessor(&OfdmaRadio::m_mostTransmissions),
                          MakeUintegerChecker<uint32_t>(1, OfdmaCodes::MOST_TRANSMISSIONS))
            .AddAttribute("HarqProcesses",
                          "Transport blocks of a link that may wait for feedback, for every 20 "
                          "resource blocks of the band.",
                          UintegerValue(8),
                          MakeUintegerAccessor(&OfdmaRadio::m_harqProcesses),
                          MakeUintegerChecker<uint32_t>(1, 32))
            .AddAttribute("HarqRtt",
                          "TTIs from a transmission to the first in which its feedback is known "
                          "to the sender (TS 36.213, 8: 8 with frequency division duplex).",
                          UintegerValue(8),
                          MakeUintegerAccessor(&OfdmaRadio::m_harqRtt),
                          MakeUintegerChecker<uint32_t>(1, 64))
            .AddAttribute("MaxRetx",
                          "How often an acknowledged link resends bytes on which HARQ gave up, "
                          "before their transfer or packet is lost (maxRetxThreshold, TS 36.331).",
                          UintegerValue(32),
                          MakeUintegerAccessor(&OfdmaRadio::m_mostTries),
                          MakeUintegerChecker<uint32_t>(1, 1024))
            .AddAttribute("OuterLoopStep",
                          "Reduction of the SINR that link adaptation assumes, after a TTI in "
                          "which every first transmission failed, over 1 - TargetBler [dB].",
                          DoubleValue(0.1),
                          MakeDoubleAccessor(&OfdmaRadio::m_outerLoopStepDb),
                          MakeDoubleChecker<double>(0, 10))
            .AddAttribute("EwmaWeight",
                          "Weight of a new measurement in the moving averages of gain and "
                          "interference, and in that of link adaptation.",
                          DoubleValue(0.1),
                          MakeDoubleAccessor(&OfdmaRadio::m_ewmaWeight),
                          MakeDoubleChecker<double>(1e-6, 1))
            .AddAttribute("GainUpdatePeriod",
                          "Interval at which the gains of nodes that have moved are evaluated "
                          "again; 0: every TTI.",
                          TimeValue(MilliSeconds(10)),
                          MakeTimeAccessor(&OfdmaRadio::m_gainUpdatePeriod),
                          MakeTimeChecker(Time(0)))
            .AddTraceSource("Transmission",
                            "The transmissions of a link in a TTI that begins.",
                            MakeTraceSourceAccessor(&OfdmaRadio::m_transmissionTrace),
                            "collapipe::OfdmaTransmission")
            .AddTraceSource("Reception",
                            "A transport block in a TTI that has ended.",
                            MakeTraceSourceAccessor(&OfdmaRadio::m_receptionTrace),
                            "collapipe::OfdmaReception")
            .AddTraceSource("PhyState",
                            "A node that is busy in a band, as a TTI begins: its number, whether "
                            "it sends (else it receives), for how long, at how many watts.",
                            MakeTraceSourceAccessor(&OfdmaRadio::m_phyStateTrace),
                            "(uint32_t, bool, ns3::Time, double)");
    return tid;
}

OfdmaRadio::OfdmaRadio()
    : m_random(CreateObject<UniformRandomVariable>())
{
}

OfdmaRadio::~OfdmaRadio() = default;

void
OfdmaRadio::DoDispose()
{
    m_tick.Cancel();
    m_attend = nullptr;
    m_itemCallback = nullptr;
    m_soundingCallback = nullptr;
    m_links.clear();
    m_bands.clear();
    m_medium = nullptr;
    m_nodes.clear();
    Object::DoDispose();
}

void
OfdmaRadio::SetMedium(Ptr<OfdmaMedium> medium)
{
    m_medium = medium;
}

Ptr<OfdmaMedium>
OfdmaRadio::GetMedium() const
{
    return m_medium;
}

uint32_t
OfdmaRadio::AddNode(Ptr<MobilityModel> place,
                    uint32_t context,
                    double watts,
                    double noiseFigureDb,
                    double antennaGainDb)
{
    NS_ASSERT_MSG(m_bands.empty(), "add all nodes before the first band");
    const auto noise = BOLTZMANN * KELVIN * Linear(noiseFigureDb);
    m_nodes.push_back({place, context, watts, noise, Linear(antennaGainDb)});
    return m_nodes.size() - 1;
}

uint32_t
OfdmaRadio::AddBand(uint32_t blocks, double centreHz, Ptr<OfdmaGain> gain)
{
    if (m_bands.empty())
    {
        m_settings = {m_tti.GetSeconds(),
                      m_targetBler,
                      m_mostTransmissions,
                      m_harqProcesses,
                      m_harqRtt,
                      m_mostTries,
                      m_outerLoopStepDb,
                      m_ewmaWeight};
        m_codes = std::make_unique<OfdmaCodes>(m_targetBler, m_settings.ttiSeconds);
        if (!m_medium)
        {
            m_medium = CreateObject<OfdmaTtiMedium>();
        }
    }
    const auto number = static_cast<uint32_t>(m_bands.size());
    m_bands.emplace_back(number, blocks, centreHz, gain, m_nodes, m_settings);
    m_medium->AddBand(blocks, centreHz, m_bands.back().gains);
    return number;
}

uint32_t
OfdmaRadio::AddCell(uint32_t band)
{
    return m_bands.at(band).AddCell();
}

OfdmaLink&
OfdmaRadio::AddLink(uint32_t band, uint32_t cell, uint32_t from, uint32_t to, bool acknowledged)
{
    auto& within = m_bands.at(band);
    auto& link = m_links.emplace_back(m_links.size(),
                                      cell,
                                      from,
                                      to,
                                      within.blocks,
                                      acknowledged,
                                      m_nodes.at(from).watts,
                                      m_settings,
                                      *m_codes);
    m_bandOf.push_back(band);
    within.AddLink(link);
    Join(band, from, to);
    return link;
}

/// Makes nodes a sender and a receiver in a band.
void
OfdmaRadio::Join(uint32_t band, uint32_t from, uint32_t to)
{
    const auto& sender = m_nodes.at(from);
    const auto& receiver = m_nodes.at(to);
    auto& gains = m_bands.at(band).gains;
    gains.AddSender(from, sender.place, sender.antenna);
    gains.AddReceiver(to, receiver.place, receiver.antenna);
    m_medium->AddMember(band, from, sender.place, false);
    m_medium->AddMember(band, to, receiver.place, true);
    m_gainsDue = 0;
}

OfdmaLink&
OfdmaRadio::AddGroup(const std::vector<OfdmaLink*>& members)
{
    const auto band = m_bandOf[members.front()->number];
    auto& group = m_links.emplace_back(m_links.size(), members, m_settings, *m_codes);
    m_bandOf.push_back(band);
    m_bands[band].AddLink(group);
    return group;
}

double
OfdmaRadio::Radiates(uint32_t node) const
{
    return m_nodes.at(node).watts * m_nodes.at(node).antenna;
}

void
OfdmaRadio::AddEnds(const OfdmaLink& link, uint32_t from, uint32_t to)
{
    Join(m_bandOf[link.number], from, to);
}

void
OfdmaRadio::Move(OfdmaLink& link, uint32_t cell, uint32_t from, uint32_t to, bool forwards)
{
    for (auto* group : link.groups)
    {
        for (auto& part : group->PartWith(link))
        {
            link.queue.Resume(std::move(part));
        }
        Deliver(*group);
    }
    if (!forwards)
    {
        link.queue.LoseAll();
    }
    Deliver(link);
    link.Move(cell, from, to);
    Deliver(link);
}

void
OfdmaRadio::Attend(std::function<Time()> attend)
{
    m_attend = std::move(attend);
    m_attendDue = FirstTti(Simulator::Now());
    Wake();
}

void
OfdmaRadio::AddNoise(uint32_t band, uint32_t node, std::function<double(Time)> share)
{
    const auto& sender = m_nodes.at(node);
    m_bands.at(band).AddNoise(node, std::move(share));
    m_bands.at(band).gains.AddSender(node, sender.place, sender.antenna);
    m_medium->AddMember(band, node, sender.place, false);
    m_gainsDue = 0;
}

void
OfdmaRadio::Push(OfdmaLink& link, OfdmaItem item, uint64_t size)
{
    link.queue.Push(std::move(item), size);
    Wake();
}

void
OfdmaRadio::PushToGroup(OfdmaLink& group, const std::vector<uint64_t>& ids, uint64_t size)
{
    group.Push({}, ids, size);
    Wake();
}

bool
OfdmaRadio::Cut(OfdmaLink& link, uint64_t id, OfdmaItem& cut)
{
    const auto inFlight =
        std::find_if(link.arriving.begin(), link.arriving.end(), [id](const auto& other) {
            return !other.second.packet && other.second.id == id;
        });
    if (inFlight != link.arriving.end())
    {
        auto item = std::move(inFlight->second);
        link.arriving.erase(inFlight);
        m_itemCallback(link, item);
        return false;
    }
    bool found = link.queue.Cut(id, cut);
    for (auto group = link.groups.begin(); !found && group != link.groups.end(); ++group)
    {
        found = (*group)->CutFrom(link, id, cut);
        Deliver(**group);
    }
    Deliver(link); // items that waited for the bytes that are now lost
    return found;
}

void
OfdmaRadio::Sound(OfdmaLink& link, uint64_t id)
{
    m_bands[m_bandOf[link.number]].Sound(link, id);
    Wake();
}

void
OfdmaRadio::SetItemCallback(std::function<void(OfdmaLink&, OfdmaItem&)> callback)
{
    m_itemCallback = std::move(callback);
}

void
OfdmaRadio::SetSoundingCallback(std::function<void(const OfdmaSounding&)> callback)
{
    m_soundingCallback = std::move(callback);
}

int64_t
OfdmaRadio::AssignStreams(int64_t stream)
{
    m_random->SetStream(stream);
    return 1;
}

/// Schedules the simulation of the next TTI, as there is something to do.
void
OfdmaRadio::Wake()
{
    TickAt(std::max(FirstTti(Simulator::Now()), m_now + 1));
}

/// The first TTI that begins at this time or later.
int64_t
OfdmaRadio::FirstTti(Time from) const
{
    const auto tti = m_tti.GetTimeStep();
    return (from.GetTimeStep() + tti - 1) / tti;
}

void
OfdmaRadio::TickAt(int64_t tti)
{
    if (m_tick.IsPending())
    {
        if (m_tickTti <= tti)
        {
            return;
        }
        m_tick.Cancel();
    }
    m_tickTti = tti;
    m_tick = Simulator::Schedule(TimeStep(tti * m_tti.GetTimeStep()) - Simulator::Now(),
                                 &OfdmaRadio::Tick,
                                 this);
}

void
OfdmaRadio::Tick()
{
    m_now = m_tickTti;
    const OfdmaTraces traces{m_transmissionTrace,
                             m_receptionTrace,
                             m_phyStateTrace,
                             m_soundingCallback};
    for (auto& band : m_bands)
    {
        if (band.OnAir())
        {
            band.Receive(m_now, *m_medium, *m_random, traces);
        }
    }
    for (auto& link : m_links)
    {
        link.Feedback(m_now);
        Deliver(link);
    }
    if (m_attend && m_now >= m_attendDue)
    {
        m_attendDue = FirstTti(m_attend());
    }
    RefreshGains();
    for (auto& band : m_bands)
    {
        if (band.Wanted())
        {
            band.gains.StartTti();
            band.Send(m_now, *m_medium, traces);
        }
    }
    if (const auto next = NextTti(); next >= 0)
    {
        TickAt(next);
    }
}

/// The next TTI in which there is something to do, as far as is known; -1: none.
int64_t
OfdmaRadio::NextTti() const
{
    for (const auto& band : m_bands)
    {
        if (band.OnAir() || band.Wanted())
        {
            return m_now + 1;
        }
    }
    int64_t next = m_attend ? m_attendDue : -1;
    for (const auto& link : m_links)
    {
        const auto due = link.NextFeedback();
        if (due >= 0 && (next < 0 || due < next))
        {
            next = due;
        }
    }
    return next;
}

void
OfdmaRadio::RefreshGains()
{
    if (m_now < m_gainsDue)
    {
        return;
    }
    for (auto& band : m_bands)
    {
        band.gains.Refresh();
    }
    m_gainsDue = m_now + m_gainUpdatePeriod.GetTimeStep() / m_tti.GetTimeStep();
}

void
OfdmaRadio::Deliver(OfdmaLink& link)
{
    for (uint32_t receiver = 0; receiver < link.Receivers(); ++receiver)
    {
        DeliverFrom(link.Inbox(receiver), link.Receiver(receiver));
    }
    if (link.IsGroup())
    {
        link.queue.TakeEnded(); // a group's transfers are those to its members
    }
}

/// Sends the items that ended in an inbox on their way over a link.
void
OfdmaRadio::DeliverFrom(OfdmaQueue& inbox, OfdmaLink& link)
{
    if (!inbox.HasEnded())
    {
        return;
    }
    const auto& from = m_nodes[link.from];
    const auto& to = m_nodes[link.to];
    const auto flight = Seconds(from.place->GetDistanceFrom(to.place) / LIGHT);
    const auto arrival = Simulator::Now() + flight;
    for (auto& item : inbox.TakeEnded())
    {
        link.arriving.emplace_back(arrival, std::move(item));
    }
    Simulator::ScheduleWithContext(to.context,
                                   flight,
                                   &OfdmaRadio::Arrive,
                                   this,
                                   std::ref(link));
}

void
OfdmaRadio::Arrive(OfdmaLink& link)
{
    while (!link.arriving.empty() && link.arriving.front().first <= Simulator::Now())
    {
        auto item = std::move(link.arriving.front().second);
        link.arriving.pop_front();
        m_itemCallback(link, item);
    }
}

} // namespace collapipe
