"""Sampling begins anew where an outage cuts a transfer: it ends as with every packet simulated."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import lab
import pytest
import radio_lab

from bridge import loop as simulated
from bridge.compute import TorchThread
from collapipe_ns3.engine.presence import Presence
from collapipe_ns3.engine.site import Site
from collapipe_ns3.faults import Faults
from ns3_scenarios.scenario import Fidelity

SECOND = 1_000_000_000


def end_ns(fidelity: Fidelity, src: str, dst: str) -> int:
    """When 30 MB have arrived over a link that is out from 0.4 s to 0.9 s."""
    spec = replace(radio_lab.ofdma(), fidelity=fidelity)
    faults = Faults(links={(src, dst): lab.away((4 * SECOND // 10, 9 * SECOND // 10))})
    with TorchThread() as thread, closing(radio_lab.network.build(spec)) as network:
        site = Site(network, {}, thread, Presence(faults))
        simulated.run(network, site.send((src, dst), 30_000_000, "model"))
        first, second = network.deliveries
        assert [first.outcome, second.outcome] == ["cut", "delivered"]
        assert first.end_ns == 4 * SECOND // 10
        assert second.start_ns == 9 * SECOND // 10
        assert radio_lab.arrived(first) + second.size_bytes == 30_000_000
        assert (second.extrapolated_bytes > 0) == (fidelity == "sampled")
        return second.end_ns


@pytest.mark.slow
@pytest.mark.parametrize(("src", "dst"), [("bs", "c0.cu"), ("c0.cu", "bs"), ("c0.d0", "c0.d1")])
def test_it_ends_within_a_hundredth(src: str, dst: str) -> None:
    assert end_ns("sampled", src, dst) == pytest.approx(end_ns("packet", src, dst), rel=0.01)
