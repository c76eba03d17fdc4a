"""What ns-3's spectrum channels carry, heard beside all that the project itself measures."""

from __future__ import annotations

from typing import Any

from ns3_scenarios import runtime
from ns3_scenarios.runtime.loader import interpreter

_CODE = """
#include "ns3/channel-list.h"
#include "ns3/lte-spectrum-signal-parameters.h"
#include "ns3/spectrum-channel.h"
#include "ns3/spectrum-phy.h"
namespace collapipe_test {
struct AirLog {
  // By the sender's place: joules and seconds on the air.
  std::map<std::array<double, 3>, std::pair<double, double>> sent;
  void Signal(ns3::Ptr<ns3::SpectrumSignalParameters> signal) {
    using namespace ns3;
    const bool data = !!DynamicCast<LteSpectrumSignalParametersDataFrame>(signal);
    const bool lte = data || DynamicCast<LteSpectrumSignalParametersDlCtrlFrame>(signal) ||
                     DynamicCast<LteSpectrumSignalParametersUlSrsFrame>(signal);
    if (lte && (!data || !DynamicCast<LteSpectrumSignalParametersDataFrame>(signal)->packetBurst)) {
      return; // reference signals and control, which the records leave out
    }
    const auto at = signal->txPhy->GetMobility()->GetPosition();
    auto& entry = sent[{at.x, at.y, at.z}];
    entry.first += Integral(*signal->psd) * signal->duration.GetSeconds();
    entry.second += signal->duration.GetSeconds();
  }
  void Listen() {
    using namespace ns3;
    for (auto each = ChannelList::Begin(); each != ChannelList::End(); ++each) {
      if (DynamicCast<SpectrumChannel>(*each)) {
        (*each)->TraceConnectWithoutContext("TxSigParams", MakeCallback(&AirLog::Signal, this));
      }
    }
  }
  std::vector<double> Rows() const {
    std::vector<double> rows;
    for (const auto& [at, total] : sent) {
      rows.insert(rows.end(), {at[0], at[1], at[2], total.first, total.second});
    }
    return rows;
  }
};
}
"""


class AirLog:
    """Energy (J) and airtime (s) that each place's radios put on the air from now on.

    Of LTE's signals those with data in them.
    """

    def __init__(self) -> None:
        runtime.native()
        space: Any = interpreter().gbl
        if not hasattr(space, "collapipe_test"):
            interpreter().cppdef(_CODE)
        self._log = space.collapipe_test.AirLog()
        self._log.Listen()

    def sent(self) -> dict[tuple[float, float, float], tuple[float, float]]:
        """By position."""
        rows = list(self._log.Rows())
        found = {}
        for at in range(0, len(rows), 5):
            x, y, z, joules, seconds = rows[at : at + 5]
            found[x, y, z] = (joules, seconds)
        return found
