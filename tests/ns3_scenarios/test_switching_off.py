"""Nodes that are switched off and on again: Wi-Fi radios are silent meanwhile."""

from __future__ import annotations

from contextlib import closing

import pytest
import radio_lab as lab

from bridge.loop import sleep_ns

MILLISECOND = 1_000_000
PAIR = ("c0.d0", "c0.d1")


def test_a_wifi_radio_that_is_off_neither_sends_nor_receives() -> None:
    with closing(lab.network.build(lab.scenario(devices=2))) as net:

        async def main() -> None:
            await net.transfer(*PAIR, 100_000)
            sending = net.transfer(*PAIR, 10_000_000)
            await sleep_ns(20 * MILLISECOND)
            sending.cancel()
            net.switch("c0.d0", False)
            await sleep_ns(10 * MILLISECOND)  # of a frame that was on the air
            before = net.usage()["c0.d0"]
            beside = await net.transfer("c0.cu", "c0.d1", 100_000)
            assert beside.outcome == "delivered"
            after = net.usage()["c0.d0"]
            assert (after.tx_airtime_s, after.rx_airtime_s) == (
                before.tx_airtime_s,
                before.rx_airtime_s,
            )
            net.switch("c0.d0", True)
            net.switch("c0.d0", True)
            back = await net.transfer(*PAIR, 100_000)
            assert back.outcome == "delivered"
            assert net.usage()["c0.d0"].tx_airtime_s > after.tx_airtime_s

        lab.run(net, main())


@pytest.mark.parametrize("pair", [("c0.d0", "c0.cu"), ("c0.cu", "bs"), ("bs", "c0.cu")])
def test_other_radios_go_on_when_all_transfers_are_cut(pair: tuple[str, str]) -> None:
    with closing(lab.network.build(lab.ofdma())) as net:

        async def main() -> None:
            sending = net.transfer(*pair, 10_000_000)
            await sleep_ns(20 * MILLISECOND)
            sending.cancel()
            for node in pair:
                net.switch(node, False)
            await sleep_ns(100 * MILLISECOND)  # until no block is repeated any more
            before = {name: each.tx_airtime_s for name, each in net.usage().items()}
            await sleep_ns(100 * MILLISECOND)
            assert {name: each.tx_airtime_s for name, each in net.usage().items()} == before
            for node in pair:
                net.switch(node, True)
            assert (await net.transfer(*pair, 100_000)).outcome == "delivered"

        lab.run(net, main())


def test_only_nodes_that_there_are_can_be_switched() -> None:
    known = pytest.raises(ValueError, match=r"no node 'x'; there are bs, c0\.cu")
    with closing(lab.network.build(lab.scenario())) as net, known:
        net.switch("x", False)
