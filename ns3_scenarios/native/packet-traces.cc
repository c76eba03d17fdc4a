#include "packet-traces.h"

#include "ns3/ipv4-header.h"
#include "ns3/ipv4-l3-protocol.h"
#include "ns3/packet.h"
#include "ns3/pcap-file-wrapper.h"
#include "ns3/simulator.h"
#include "ns3/tcp-header.h"
#include "ns3/tcp-l4-protocol.h"
#include "ns3/trace-helper.h"
#include "ns3/udp-header.h"
#include "ns3/udp-l4-protocol.h"

#include <deque>
#include <fstream>
#include <map>

namespace collapipe
{

using namespace ns3;

struct PacketTraces::Sinks
{
    struct Capture
    {
        uint32_t interface;
        Ptr<PcapFileWrapper> file;
        Ptr<Ipv4> ipv4;

        void Write(Ptr<const Packet> packet, Ptr<Ipv4>, uint32_t where)
        {
            if (where == interface)
            {
                file->Write(Simulator::Now(), packet);
            }
        }
    };

    struct Text
    {
        std::string name;
        std::ofstream& file;
        Ptr<Ipv4> ipv4;

        void Sent(Ptr<const Packet> packet, Ptr<Ipv4>, uint32_t interface)
        {
            Line('t', packet->Copy(), interface);
        }

        void Received(Ptr<const Packet> packet, Ptr<Ipv4>, uint32_t interface)
        {
            Line('r', packet->Copy(), interface);
        }

        void Dropped(const Ipv4Header& header,
                     Ptr<const Packet> packet,
                     Ipv4L3Protocol::DropReason,
                     Ptr<Ipv4>,
                     uint32_t interface)
        {
            const auto whole = packet->Copy();
            whole->AddHeader(header);
            Line('d', whole, interface);
        }

        void Line(char event, Ptr<Packet> packet, uint32_t interface)
        {
            Ipv4Header ip;
            packet->RemoveHeader(ip);
            file << event << ' ' << Simulator::Now().GetSeconds() << ' ' << name << '(' << interface
                 << ") ns3::Ipv4Header (" << ip << ')';
            if (ip.GetFragmentOffset() == 0 && ip.GetProtocol() == TcpL4Protocol::PROT_NUMBER)
            {
                TcpHeader tcp;
                packet->RemoveHeader(tcp);
                file << " ns3::TcpHeader (" << tcp << ')';
            }
            else if (ip.GetFragmentOffset() == 0 && ip.GetProtocol() == UdpL4Protocol::PROT_NUMBER)
            {
                UdpHeader udp;
                packet->RemoveHeader(udp);
                file << " ns3::UdpHeader (" << udp << ')';
            }
            file << " Payload (size=" << packet->GetSize() << ")\n";
        }
    };

    std::deque<Capture> captures{}; // a deque keeps addresses valid
    std::deque<Text> texts{};
    std::map<std::string, std::ofstream> files{};
};

PacketTraces::PacketTraces()
    : m_sinks(std::make_unique<Sinks>())
{
}

PacketTraces::~PacketTraces()
{
    for (auto& capture : m_sinks->captures)
    {
        for (const auto* source : {"Tx", "Rx"})
        {
            capture.ipv4->TraceDisconnectWithoutContext(
                source,
                MakeCallback(&Sinks::Capture::Write, &capture));
        }
    }
    for (auto& text : m_sinks->texts)
    {
        text.ipv4->TraceDisconnectWithoutContext("Tx", MakeCallback(&Sinks::Text::Sent, &text));
        text.ipv4->TraceDisconnectWithoutContext("Rx", MakeCallback(&Sinks::Text::Received, &text));
        text.ipv4->TraceDisconnectWithoutContext("Drop", MakeCallback(&Sinks::Text::Dropped, &text));
    }
}

void
PacketTraces::Pcap(Ptr<Node> node, uint32_t interface, const std::string& file)
{
    PcapHelper helper;
    auto& capture = m_sinks->captures.emplace_back(
        Sinks::Capture{interface,
                       helper.CreateFile(file, std::ios::out, PcapHelper::DLT_RAW),
                       node->GetObject<Ipv4>()});
    for (const auto* source : {"Tx", "Rx"})
    {
        capture.ipv4->TraceConnectWithoutContext(source,
                                                 MakeCallback(&Sinks::Capture::Write, &capture));
    }
}

void
PacketTraces::Ascii(Ptr<Node> node, const std::string& name, const std::string& file)
{
    const auto opened = m_sinks->files.try_emplace(file, file).first;
    opened->second.precision(12);
    auto& text =
        m_sinks->texts.emplace_back(Sinks::Text{name, opened->second, node->GetObject<Ipv4>()});
    text.ipv4->TraceConnectWithoutContext("Tx", MakeCallback(&Sinks::Text::Sent, &text));
    text.ipv4->TraceConnectWithoutContext("Rx", MakeCallback(&Sinks::Text::Received, &text));
    text.ipv4->TraceConnectWithoutContext("Drop", MakeCallback(&Sinks::Text::Dropped, &text));
}

} // namespace collapipe
