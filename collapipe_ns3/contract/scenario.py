"""The checks of a scenario: it has the study's nodes and links, and is repeatable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bridge import loop as simulated
from bridge.network import Multicast, Network
from collapipe_ns3.contract import Step, Violation
from collapipe_ns3.contract.settings import expect_settings
from collapipe_ns3.contract.study import NEAR, cpu_run, differences, rounds, tiny
from collapipe_ns3.nodes import SERVER, control_unit, device
from collapipe_ns3.run.records import RoundRecord
from collapipe_ns3.topology import layout
from collapipe_ns3.topology.own_scenario import OwnScenario, round_pairs
from ns3_scenarios import runtime
from ns3_scenarios.scenario import ScenarioSpec

#: More bytes than a segment has, so that a transfer takes several packets.
_BYTES = 5000

_CLUSTERS = (NEAR, ("jetson-nano",))


@dataclass(frozen=True, slots=True)
class ScenarioContract:
    """The checks of a scenario function with its default settings; `name` is `module:function`."""

    name: str
    function: Callable[..., Any]

    def stages(self) -> Iterator[list[Step]]:
        """The checks in stages; each stage needs the earlier ones to pass."""
        yield [("settings have types and defaults", self._settings)]
        yield [("builds a network that carries data on every link", self._carries)]
        yield [
            ("begins at time 0", self._begins),
            ("refuses unknown nodes", self._refuses),
            ("sends multicasts as one transmission, or has none", self._multicasts),
            ("builds the same network for the same seed", self._repeats),
            ("can be closed twice", self._closes),
        ]
        yield [("runs rounds with the same results twice", self._runs)]

    def _settings(self) -> None:
        expect_settings(self.function, skip=1)

    def _spec(self) -> ScenarioSpec:
        config = tiny(_CLUSTERS)
        return layout.scenario(config, config.seed, 0)

    def _network(self, *, tried: bool = True) -> Network:
        return OwnScenario(self.name, {}).build(self._spec(), tried=tried)

    def _carries(self) -> None:
        with runtime.alone():
            self._network(tried=False).close()

    def _begins(self) -> None:
        with runtime.alone():
            network = self._network()
            now_ns, sent = network.now_ns(), len(network.deliveries)
            network.close()
        if now_ns or sent:
            raise Violation(
                f"expected time 0 and nothing sent, not {now_ns} ns and {sent} transfers"
            )

    def _refuses(self) -> None:
        async def send(network: Network) -> None:
            network.transfer(SERVER, "nobody", _BYTES)

        with runtime.alone():
            network = self._network()
            try:
                simulated.run(network, send(network))
            except ValueError:
                return
            finally:
                network.close()
        raise Violation(
            "expected a transfer to a node that is not in the study to raise ValueError"
        )

    def _multicasts(self) -> None:
        receivers = [device(0, number) for number in range(len(_CLUSTERS[0]))]

        async def sent(network: Multicast) -> bool:
            try:
                await asyncio.gather(*network.multicast(control_unit(0), receivers, _BYTES))
            except ValueError:  # which a network may raise where it can't send to all at once
                return False
            return True

        with runtime.alone():
            network = self._network()
            try:
                if not isinstance(network, Multicast) or not simulated.run(network, sent(network)):
                    return
                found = {each.dst: each.group for each in network.deliveries}
            finally:
                network.close()
        if sorted(found) != receivers or len({*found.values()}) > 1 or 0 in found.values():
            raise Violation(
                f"expected a delivery to each of {', '.join(receivers)} with one number of a group "
                f"above 0, not the groups {found}"
            )

    def _sent(self) -> list[tuple[object, ...]]:
        """The results of simultaneous transfers, one on every link that a round uses."""
        spec = self._spec()

        async def sent() -> None:
            pairs = round_pairs(spec)
            await asyncio.gather(*(network.transfer(*pair, _BYTES) for pair in pairs))

        with runtime.alone():
            network = self._network()
            try:
                simulated.run(network, sent())
                return [
                    (each.src, each.dst, each.start_ns, each.end_ns, each.outcome)
                    for each in network.deliveries
                ]
            finally:
                network.close()

    def _repeats(self) -> None:
        for one, other in zip(self._sent(), self._sent(), strict=True):
            if one != other:
                raise Violation(f"the same transfers went differently: {one} and {other}")

    def _closes(self) -> None:
        with runtime.alone():
            network = self._network()
            network.close()
            network.close()

    def _runs(self) -> None:
        first, again = self._rounds(), self._rounds()
        if found := list(differences(first, again)):
            raise Violation(f"two runs of one study differ: {'; '.join(found[:3])}")
        for record in first:
            if abandoned := record.outcome.abandoned:
                raise Violation(f"round {record.plan.round}: {next(iter(abandoned.values()))}")

    def _rounds(self) -> list[RoundRecord]:
        return rounds(lambda: cpu_run(tiny(_CLUSTERS, scenario=self.name, scheme="pipeline")))
