#ifndef COLLAPIPE_OFDMA_HANDOVER_H
#define COLLAPIPE_OFDMA_HANDOVER_H

#include "ofdma-radio.h"
#include "pair-channel.h"

#include "ns3/mobility-model.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// When terminals change their cell, and what becomes of their transfers then. Times in ns.
struct HandoverSettings
{
    double offsetDb{0};
    double hysteresisDb{0};
    int64_t timeToTrigger{0};
    int64_t interruption{0}; // without signals to or from the terminal
    int64_t period{1};       // of measurements
    bool forwards{true};     // transfers under way go on; otherwise they are lost
};

/// The cell of a terminal, and how close it is to a change. Times are the run's, in ns.
struct Attachment
{
    uint32_t node{0};
    uint32_t serving{0};          // station, by its number
    std::vector<int64_t> since{}; // by station: since when it has been better; -1: it isn't
    int64_t next{0};              // time of the next measurement
    int64_t resumes{0};           // end of the latest interruption

    /// Takes the powers (dB, of one reference) of all stations at a time; whether to change to
    /// `target`.
    ///
    /// Event A3 (TS 38.331, 5.5.4.4, with cells' own offsets of 0 dB): a neighbour triggers it once
    /// the entry condition, its power - hysteresis > serving cell's power + offset, has held at all
    /// measurements of the time to trigger (5.5.4.1). Of several the one with the most power is the
    /// target. The leaving condition is for reports that are already sent, of which a handover is
    /// the result at once.
    bool Measured(const HandoverSettings& settings,
                  int64_t time,
                  const std::vector<double>& powersDb,
                  uint32_t& target);
};

/// A terminal that changed its cell: the numbers of its node and of the stations' nodes, and the
/// time since the episode began (ns).
struct CellChange
{
    uint32_t node;
    uint32_t source;
    uint32_t target;
    int64_t at;
};

/// Measures the reference signals of all stations at the terminals of an OFDMA radio, and moves
/// their links from cell to cell. Station k serves the k-th cell of every band.
///
/// What is measured is the power at large scale: path loss and shadowing. Averaging over time and
/// the measurement bandwidth is assumed to remove fading, so that there is no filter of layer 3.
class OfdmaHandover
{
  public:
    OfdmaHandover(const HandoverSettings& settings,
                  ns3::Ptr<const PairChannel> channel,
                  OfdmaRadio& radio);

    /// `number` is the radio's, `watts` what it radiates, its antenna included.
    void AddStation(uint32_t node,
                    uint32_t number,
                    ns3::Ptr<ns3::MobilityModel> place,
                    double watts);
    void AddTerminal(const Attachment& attachment,
                     ns3::Ptr<ns3::MobilityModel> place,
                     OfdmaLink& up,
                     OfdmaLink& down);
    /// The radio's numbers of the stations.
    std::vector<uint32_t> StationNumbers() const;

    /// Does what is due at the run's time `now`, which is the episode's `sinceStart`; returns the
    /// next time of the run at which something is.
    int64_t Attend(int64_t now, int64_t sinceStart);

    const std::vector<CellChange>& Changes() const
    {
        return m_changes;
    }

    std::vector<Attachment> Attachments() const;

  private:
    struct Station
    {
        uint32_t node;
        uint32_t number; // in the radio
        ns3::Ptr<ns3::MobilityModel> place;
        double powerDb;
    };

    struct Terminal
    {
        Attachment attachment;
        ns3::Ptr<ns3::MobilityModel> place;
        OfdmaLink* up;
        OfdmaLink* down;
    };

    std::vector<double> PowersDb(const Terminal& terminal) const;
    void Move(Terminal& terminal, uint32_t target, int64_t now, int64_t sinceStart);

    HandoverSettings m_settings;
    ns3::Ptr<const PairChannel> m_channel;
    OfdmaRadio& m_radio;
    std::vector<Station> m_stations;
    std::vector<Terminal> m_terminals;
    std::vector<CellChange> m_changes;
};

} // namespace collapipe

#endif
