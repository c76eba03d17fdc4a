#ifndef COLLAPIPE_RADIO_LINK_H
#define COLLAPIPE_RADIO_LINK_H

#include "cargo.h"

#include <cstdint>
#include <map>

namespace collapipe
{

/// What the PHY did for one transfer, or for a link since time 0; linear and SI.
struct Tally
{
    double airtime{0};      // s on the air
    double energy{0};       // J radiated
    double bandwidthTime{0}; // Hz·s on the air
    double sinrTime{0};     // SINR × s received
    double rxTime{0};       // s received

    void Sent(double seconds, double watts, double hertz)
    {
        airtime += seconds;
        energy += seconds * watts;
        bandwidthTime += seconds * hertz;
    }

    void Received(double seconds, double sinr)
    {
        rxTime += seconds;
        sinrTime += seconds * sinr;
    }

    void Add(const Tally& other)
    {
        airtime += other.airtime;
        energy += other.energy;
        bandwidthTime += other.bandwidthTime;
        sinrTime += other.sinrTime;
        rxTime += other.rxTime;
    }
};

/// What is counted for one transfer.
struct Account
{
    Tally tally{};
    uint32_t retransmissions{0};

    void Add(const Account& other)
    {
        tally.Add(other.tally);
        retransmissions += other.retransmissions;
    }
};

/// A directed link between two nodes over one radio, with its measurements.
///
/// What is sent counts for the transfers whose bytes it has, unless they have ended, and for the
/// link's total.
struct RadioLink
{
    uint32_t src;
    uint32_t dst;
    Tally total{};
    std::map<uint64_t, Account> underWay{}; // by transfer
    // Measurements: moving averages, and the settings of the latest measurement.
    double gain{0};         // received over sent power, antennas included
    double interference{0}; // W/Hz, including noise
    double sinr{0};         // at that power and bandwidth
    double txPower{0};      // W, over the bandwidth that was measured
    int64_t measured{-1};   // ns since time 0; negative: not yet
    // Counted by the streams.
    uint64_t deliveredBytes{0};
    uint64_t lostBytes{0};
    int64_t busy{0}; // ns with a current transfer

    /// Adds a measurement: gain, density (W/Hz), and its settings. The averages are over about ten
    /// measurements, as those of OfdmaRadio.
    void Measured(double newGain, double newInterference, double watts, double hertz, int64_t now)
    {
        const auto weight = measured < 0 ? 1.0 : 0.1;
        gain += weight * (newGain - gain);
        interference += weight * (newInterference - interference);
        txPower = watts;
        sinr = watts * gain / (hertz * interference);
        measured = now;
    }

    void Sent(double seconds, double watts, double hertz, const Cargo& cargo)
    {
        total.Sent(seconds, watts, hertz);
        ForEach(cargo, [&](Account& account, double share) {
            account.tally.Sent(share * seconds, watts, hertz);
        });
    }

    void Received(double seconds, double value, const Cargo& cargo)
    {
        total.Received(seconds, value);
        ForEach(cargo, [&](Account& account, double share) {
            account.tally.Received(share * seconds, value);
        });
    }

    /// All of these bytes were sent before.
    void SentAgain(const Cargo& cargo)
    {
        ForEach(cargo, [](Account& account, double) { ++account.retransmissions; });
    }

    template <typename Action>
    void ForEach(const Cargo& cargo, Action action)
    {
        for (const auto& part : cargo.Parts())
        {
            if (const auto found = underWay.find(part.transfer); found != underWay.end())
            {
                action(found->second, cargo.Share(part));
            }
        }
    }
};

/// The use of a node's radios since time 0.
struct RadioUsage
{
    double txAirtime{0}; // s
    double rxAirtime{0};
    double txEnergy{0}; // J
};

} // namespace collapipe

#endif
